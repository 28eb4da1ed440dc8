-- A database as the second version wrote it: a run whose process was killed, and its budgets. Never changed.
pragma application_id = 1583407105;
pragma user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE accounts (
    no integer primary key, kind text not null, name text not null, period text not null, currency text not null,
    spent_nano integer not null default 0, held_nano integer not null default 0,
    estimated_nano integer not null default 0, limit_nano integer,
    check (typeof(spent_nano) = 'integer' and typeof(held_nano) = 'integer' and held_nano >= 0
        and typeof(estimated_nano) = 'integer' and estimated_nano between 0 and spent_nano)
);
INSERT INTO "accounts" VALUES(1,'run','old','','USD',30,50,0,500);
INSERT INTO "accounts" VALUES(2,'tenant','acme','2026-11','USD',30,50,0,1000);
CREATE TABLE blobs (no integer primary key, hash blob not null unique, size integer not null, data blob, file text);
CREATE TABLE events (
    pos integer primary key, run integer not null, seq integer not null, epoch integer not null, at real not null,
    type text not null, version integer not null, key text, attempt integer, seen integer, began real,
    body blob, args blob, value blob
);
INSERT INTO "events" VALUES(1,1,1,1,1.79547954941909050944e+09,'run.accepted',1,NULL,NULL,NULL,NULL,X'7B22666C6F77223A2274657374732E64757261626C652E666C6F77733A7761697473222C2276657273696F6E223A312C2273656564223A2237346236633036356662383432633462227D',X'7B227374657073223A322C2273697A65223A34307D',NULL);
INSERT INTO "events" VALUES(2,1,2,1,1.79547954941909050944e+09,'run.started',1,NULL,NULL,NULL,NULL,X'7B226F776E6572223A22343235382D6538663237656433222C227265766973696F6E223A2266616163383063623765633732623030227D',NULL,NULL);
INSERT INTO "events" VALUES(3,1,3,1,1.79547954942324209217e+09,'step.completed',1,'noise[a4009c2004d7]#1',1,0,1.795479549423211813e+09,NULL,X'7B2269223A302C2273697A65223A34307D',X'226364303732636438626536663966363261633463303963323832303665376533353539346161366222');
INSERT INTO "events" VALUES(4,1,4,1,1.79547954942392683024e+09,'step.completed',1,'noise[5b0e9e3d7d7a]#1',1,3,1.79547954942390179632e+09,NULL,X'7B2269223A312C2273697A65223A34307D',X'226635623136353232346135386237393164663661663164383330336536316364633462623836633322');
INSERT INTO "events" VALUES(5,1,5,1,1.79547955042543053629e+09,'run.parked',1,NULL,NULL,NULL,NULL,X'7B2277616974735F6F6E223A5B7B227369676E616C223A22776F7264222C226B6579223A22776169745B776F72645D2331227D5D7D',NULL,NULL);
INSERT INTO "events" VALUES(6,1,6,2,1795387490.0,'run.started',1,NULL,NULL,NULL,NULL,X'7B226F776E6572223A22343235382D6263643132336165222C227265766973696F6E223A22227D',NULL,NULL);
INSERT INTO "events" VALUES(7,1,7,2,1795387491.0,'usage.reserved',1,'ask#1',1,NULL,NULL,X'7B226964223A2261222C22616D6F756E745F6E616E6F223A3130302C2273636F706573223A5B7B226B696E64223A2272756E222C226E616D65223A226F6C64222C226C696D69745F6E616E6F223A3530307D2C7B226B696E64223A2274656E616E74222C226E616D65223A2261636D65222C226C696D69745F6E616E6F223A313030302C22706572696F64223A22323032362D3131227D5D7D',NULL,NULL);
INSERT INTO "events" VALUES(8,1,8,2,1795387492.0,'usage.reserved',1,'ask#1',2,NULL,NULL,X'7B226964223A2262222C22616D6F756E745F6E616E6F223A35302C2273636F706573223A5B7B226B696E64223A2272756E222C226E616D65223A226F6C64222C226C696D69745F6E616E6F223A3530307D2C7B226B696E64223A2274656E616E74222C226E616D65223A2261636D65222C226C696D69745F6E616E6F223A313030302C22706572696F64223A22323032362D3131227D5D7D',NULL,NULL);
INSERT INTO "events" VALUES(9,1,9,2,1795387493.0,'usage.settled',1,'ask#1',3,NULL,NULL,X'7B22736574746C6573223A2261222C22616D6F756E745F6E616E6F223A33307D',NULL,NULL);
CREATE TABLE inbox (
    no integer primary key, run text not null, kind text not null, id text not null, name text not null,
    at real not null, value blob, body blob, consumed integer
);
CREATE TABLE refs (run integer not null, hash blob not null, primary key (run, hash)) without rowid;
CREATE TABLE reservations (
    run integer not null, id text not null, seq integer not null, epoch integer not null, amount_nano integer not null,
    currency text not null, accounts text not null, settled_nano integer,
    estimated integer not null default 0, corrected integer not null default 0, primary key (run, id)
) without rowid;
INSERT INTO "reservations" VALUES(1,'a',7,2,100,'USD','[1, 2]',30,0,0);
INSERT INTO "reservations" VALUES(1,'b',8,2,50,'USD','[1, 2]',NULL,0,0);
CREATE TABLE runs (
    no integer primary key, id text not null unique, tenant text not null, flow text not null, origin text,
    version integer not null, input_hash text not null, seed text not null, state text not null,
    detail text not null default '{}', owner text, epoch integer not null default 0, wake_at real,
    paused integer not null default 0, parent text, parent_key text,
    memo_run integer, memo_seq integer not null default 0,
    replaced text not null default '{}', created_at real not null, updated_at real not null
);
INSERT INTO "runs" VALUES(1,'old','default','tests.durable.flows:waits','/project/tests/durable/flows.py',1,'0d84305cb01cd5341a57aac9ea44861d','74b6c065fb842c4b','running','{"waits_on":[{"signal":"word","key":"wait[word]#1"}]}','4258-bcd123ae',2,NULL,0,NULL,NULL,NULL,0,'{}',1.79547954941909050944e+09,1795387490.0);
ANALYZE "sqlite_master";
INSERT INTO "sqlite_stat1" VALUES('events','events_seq','5 5 1');
INSERT INTO "sqlite_stat1" VALUES('reservations','reservations_open','1 1');
INSERT INTO "sqlite_stat1" VALUES('reservations','reservations','2 2 1');
CREATE TABLE switches (name text primary key, at real not null, by text not null, why text not null) without rowid;
CREATE TABLE tombstones (
    id text primary key, state text not null, ended_at real not null, remains integer
) without rowid;
CREATE INDEX runs_ready on runs (state, owner) where state in ('queued', 'running');
CREATE INDEX runs_wake on runs (wake_at) where wake_at is not null;
CREATE INDEX runs_memo on runs (memo_run) where memo_run is not null;
CREATE INDEX runs_parent on runs (parent) where parent is not null;
CREATE UNIQUE INDEX events_seq on events (run, seq);
CREATE TRIGGER events_in_order before insert on events begin
    select case
        when new.epoch < (select epoch from runs where no = new.run) then raise(abort, 'stale owner')
        when new.seq is not
            coalesce(
                (select max(seq) from events where run = new.run), (select memo_seq from runs where no = new.run)
            ) + 1 then raise(abort, 'out of order')
    end;
end;
CREATE UNIQUE INDEX inbox_id on inbox (run, id);
CREATE INDEX inbox_open on inbox (run) where consumed is null;
CREATE INDEX refs_hash on refs (hash);
CREATE INDEX tombstones_remains on tombstones (remains) where remains is not null;
CREATE UNIQUE INDEX accounts_name on accounts (name, kind, period, currency);
CREATE INDEX reservations_open on reservations (run) where settled_nano is null;
COMMIT;

-- A database as the first version wrote it: one parked run. Never changed.
pragma application_id = 1583407105;
pragma user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE blobs (no integer primary key, hash blob not null unique, size integer not null, data blob, file text);
CREATE TABLE events (
    pos integer primary key, run integer not null, seq integer not null, epoch integer not null, at real not null,
    type text not null, version integer not null, key text, attempt integer, seen integer, began real,
    body blob, args blob, value blob
);
INSERT INTO "events" VALUES(1,1,1,1,1.79538748450055766102e+09,'run.accepted',1,NULL,NULL,NULL,NULL,X'7B22666C6F77223A2274657374732E64757261626C652E666C6F77733A7761697473222C2276657273696F6E223A312C2273656564223A2233636134643662323031616633323063227D',X'7B227374657073223A322C2273697A65223A34307D',NULL);
INSERT INTO "events" VALUES(2,1,2,1,1.79538748450055766102e+09,'run.started',1,NULL,NULL,NULL,NULL,X'7B226F776E6572223A22313534332D6431363438303236222C227265766973696F6E223A2266616163383063623765633732623030227D',NULL,NULL);
INSERT INTO "events" VALUES(3,1,3,1,1.79538748450246858599e+09,'step.completed',1,'noise[a4009c2004d7]#1',1,0,1.79538748450242567058e+09,NULL,X'7B2269223A302C2273697A65223A34307D',X'226364303732636438626536663966363261633463303963323832303665376533353539346161366222');
INSERT INTO "events" VALUES(4,1,4,1,1.79538748450312900546e+09,'step.completed',1,'noise[5b0e9e3d7d7a]#1',1,3,1.79538748450310063362e+09,NULL,X'7B2269223A312C2273697A65223A34307D',X'226635623136353232346135386237393164663661663164383330336536316364633462623836633322');
INSERT INTO "events" VALUES(5,1,5,1,1.79538748451402282719e+09,'run.parked',1,NULL,NULL,NULL,NULL,X'7B2277616974735F6F6E223A5B7B227369676E616C223A22776F7264222C226B6579223A22776169745B776F72645D2331227D5D7D',NULL,NULL);
CREATE TABLE inbox (
    no integer primary key, run text not null, kind text not null, id text not null, name text not null,
    at real not null, value blob, body blob, consumed integer
);
CREATE TABLE refs (run integer not null, hash blob not null, primary key (run, hash)) without rowid;
CREATE TABLE runs (
    no integer primary key, id text not null unique, tenant text not null, flow text not null, origin text,
    version integer not null, input_hash text not null, seed text not null, state text not null,
    detail text not null default '{}', owner text, epoch integer not null default 0, wake_at real,
    paused integer not null default 0, parent text, parent_key text,
    memo_run integer, memo_seq integer not null default 0,
    replaced text not null default '{}', created_at real not null, updated_at real not null
);
INSERT INTO "runs" VALUES(1,'old','default','tests.durable.flows:waits','/project/tests/durable/flows.py',1,'0d84305cb01cd5341a57aac9ea44861d','3ca4d6b201af320c','parked','{"waits_on":[{"signal":"word","key":"wait[word]#1"}]}',NULL,1,NULL,0,NULL,NULL,NULL,0,'{}',1.79538748450055766102e+09,1.79538748451396346092e+09);
CREATE TABLE switches (name text primary key, at real not null, by text not null, why text not null) without rowid;
CREATE TABLE tombstones (
    id text primary key, state text not null, ended_at real not null, remains integer
) without rowid;
CREATE INDEX runs_ready on runs (state, owner) where state in ('queued', 'running');
CREATE INDEX runs_wake on runs (wake_at) where wake_at is not null;
CREATE INDEX runs_memo on runs (memo_run) where memo_run is not null;
CREATE INDEX runs_parent on runs (parent) where parent is not null;
CREATE UNIQUE INDEX events_seq on events (run, seq);
CREATE UNIQUE INDEX inbox_id on inbox (run, id);
CREATE INDEX inbox_open on inbox (run) where consumed is null;
CREATE INDEX refs_hash on refs (hash);
CREATE INDEX tombstones_remains on tombstones (remains) where remains is not null;
CREATE TRIGGER events_in_order before insert on events begin
    select case
        when new.epoch < (select epoch from runs where no = new.run) then raise(abort, 'stale owner')
        when new.seq is not
            coalesce(
                (select max(seq) from events where run = new.run), (select memo_seq from runs where no = new.run)
            ) + 1 then raise(abort, 'out of order')
    end;
end;
COMMIT;

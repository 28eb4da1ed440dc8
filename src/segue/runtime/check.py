"""Would the code as it is now replay the runs that are open? Nothing is carried out, nothing is written.

A replay runs the flow's own code up to the end of its journal, with the recorded outcomes; no step, timer or child is
started. What it comes to is a `Verdict`.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from ..core.codec import codec, decode_arguments, loads, misfit, roundtrip
from ..core.commands import Wait
from ..core.events import Event, EventType
from ..core.faults import Fault, classify
from ..core.lifecycle import ENDED
from ..core.replay import Memory
from ..core.secret import using
from ..core.shell import command
from ..errors import ReplayMismatch, SecretError, SegueError, StoreCorrupt, Suspended, Undecodable, UnknownFlow
from ..journal import RunRow
from ..journal.keyring import FolderKeyring, Keyring, MemoryKeyring
from ..journal.reading import Reader
from ..journal.vault import Vault
from . import registry, words
from .deadlock import deadlock
from .drive import Drive
from .flow import Flow
from .repeats import applies_once


class Finding(StrEnum):
    """What a replay comes to."""

    OK = "ok"
    """The run would go on."""
    ORPHANED = "orphaned"
    """The run would go on; some recorded outcomes are no longer asked for."""
    UNSURE = "unsure"
    """The run would go on with a new call, and what comes after it depends on its result."""
    MISMATCH = "mismatch"
    """The run would be set aside: the code makes other calls than the journal holds."""
    UNDECODABLE = "undecodable"
    """The run would be set aside: a stored value does not fit today's type."""
    FAILS = "fails"
    """The run would end with an error at once."""
    UNKNOWN_FLOW = "unknown flow"
    """The flow, or its version, is not in the code."""


GOES_ON = frozenset({Finding.OK, Finding.ORPHANED, Finding.UNSURE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the replay of one run came to.

    `orphans` are keys of outcomes that the code no longer asks for, `next` those that the run would wait for or make.
    Where a new call comes first, `later` are keys of outcomes that the code may still ask for after it; `effects` those
    of them that are `effect="once"`: asked for with other arguments, they set the run aside. Of `orphans` they are
    those that were begun, and of which nobody knows what came of them.
    `message`, `key` and `remedy` say what is wrong, None where nothing is; `asks` is the call in whose way the effect
    of `key` stands. What people have said of such calls counts, also while it is in the inbox.
    """

    run: str
    flow: str
    state: str
    finding: Finding
    message: str | None = None
    key: str | None = None
    remedy: str | None = None
    orphans: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    asks: str | None = None


def check(journal: Reader, *, flow: str | None = None, keyring: Keyring | None = None) -> Iterator[Verdict]:
    """Replay every open run, oldest first; `flow` is a name, with or without its module.

    Imports the modules of the flows. `keyring` opens secrets, by default the one beside the database.
    Raises StoreError.
    """
    marks = ", ".join("?" * len(ENDED))
    for (no,) in journal.query(f"select no from runs where state not in ({marks}) order by no", sorted(ENDED)):
        try:
            row = journal.get(no)
        except StoreCorrupt as error:
            yield _damaged(no, error)
            continue
        if flow is None or flow in (row.flow, row.flow.rpartition(":")[2]):
            yield check_one(journal, row, keyring)


def check_one(journal: Reader, row: RunRow, keyring: Keyring | None = None) -> Verdict:
    """Replay one run, with the code that its flow's name leads to."""
    try:
        newest = registry.find(row.flow, row.origin)
    except UnknownFlow as error:
        return _verdict(row, Finding.UNKNOWN_FLOW, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a user's module may raise anything when it is imported
        unknown = UnknownFlow(
            f"importing the module of {row.flow} raised {type(error).__name__}: {error}",
            remedy="import it in Python to see the whole traceback",
        )
        return _verdict(row, Finding.UNKNOWN_FLOW, unknown)
    flow = registry.for_run(row.flow, row.version)
    if flow is None:
        gone = UnknownFlow(
            f"the run is of version {row.version}, and the code has version {newest.version}",
            remedy=f"keep the old function as @flow(name=..., version={row.version}), or declare migrate= on the new",
        )
        return _verdict(row, Finding.UNKNOWN_FLOW, gone)
    try:
        with journal.reads(row):
            keys = keyring or keys_beside(journal.path)
            once = partial(applies_once, journal, row)
            events = words.heard(journal.past(row), words.waiting(journal.items_of(row.no), row.detail))
            verdict = replayed(row, events, flow, keys, journal.threads_of(row), child_applies_once=once)
    except StoreCorrupt as error:
        return _verdict(row, Finding.UNDECODABLE, error)
    if verdict.finding is Finding.FAILS:
        _let_go()
    damaged = journal.damage(row) if verdict.finding is Finding.UNDECODABLE else _lost_child(journal, row, verdict)
    return verdict if damaged is None else _verdict(row, Finding.UNDECODABLE, damaged)


def _let_go() -> None:
    """Free what a flow that failed has left, such as coroutines that it never awaited: Python complains of each where
    it is freed, at a later collection in whatever runs then. The verdict says what is wrong.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()


def _lost_child(journal: Reader, row: RunRow, verdict: Verdict) -> StoreCorrupt | None:
    """That a child which the run waits for is gone from the database, and was not collected."""
    for event in journal.of_run(row.no, (EventType.CHILD_STARTED,)) if verdict.next else ():
        child = loads(event.body)["run"]
        known = "select 1 from runs where id = ?1 union all select 1 from tombstones where id = ?1"
        if event.key in verdict.next and not journal.query(known, (child,)):
            say = command("override", row.id, event.key, "--result", "JSON")
            return StoreCorrupt(
                f"{journal.path}: the run waits for its child {child}, which is gone from the database", run=row.id,
                key=event.key, remedy=f"restore the database from a copy, or say what came of the child: {say}",
            )  # fmt: skip
    return None


def replayed(
    row: RunRow, events: Iterable[Event], flow: Flow[..., Any], keyring: Keyring, threads: Sequence[str] = (),
    *, child_applies_once: Callable[[str], bool] | None = None,
) -> Verdict:  # fmt: skip
    """Replay a journal with this flow: pure but for the flow's own code, and the keys of its secrets.

    `threads` are the one that the run is a turn of, and those that this has left. `child_applies_once` says whether the
    child of a key on record, or one below it, has begun a once-effect; None: none has.
    """
    events = list(events)
    once = frozenset(e.key for e in events if e.type == EventType.ATTEMPT_STARTED and b'"once"' in (e.body or b""))
    ended = next((Fault.read(loads(e.body)["fault"]) for e in events if e.type == EventType.RUN_FAILED), None)
    memory = Memory.of(events, {key: value.encode() for key, value in row.replaced.items()})
    same_code = memory.revisions <= {flow.revision} and row.version == flow.version
    strict = same_code and not (memory.edited or row.replaced)
    drive = Drive(row.id, memory, strict=strict, threads=threads)
    drive.claims.applies_once = child_applies_once or drive.claims.applies_once
    vault = Vault(keyring, row.tenant)
    try:
        with using(vault):
            values = input_of(row, flow, memory.args)
            drive.bind = flow.bind
            drive.begin(flow.body(values), memory.first_at, vault.with_refusal(partial(_refused, drive)))
            drive.replay(memory)
            return _judge(row, flow, drive, memory, once=once, ended=ended)
    except SegueError as error:
        return _verdict(row, Finding.UNDECODABLE if isinstance(error, Undecodable) else Finding.FAILS, error)
    finally:
        drive.suspend()


def keys_beside(path: str) -> Keyring:
    """The keys of a database. Where it has none yet, none are made."""
    folder = Path(f"{path}-keys")
    return FolderKeyring(folder) if folder.is_dir() else MemoryKeyring()


def _refused(drive: Drive, error: SecretError) -> BaseException:
    drive.stuck = Undecodable(f"the flow reveals a secret that it cannot have: {error.message}", remedy=error.remedy)
    return Suspended()


def _judge(
    row: RunRow, flow: Flow[..., Any], drive: Drive, memory: Memory, *, once: frozenset[str | None], ended: Fault | None
) -> Verdict:
    """What a replay came to. `once` are the once-effects on record, `ended` is the fault that the run failed with."""
    if drive.stuck is not None:
        found = Finding.UNDECODABLE if isinstance(drive.stuck, Undecodable) else Finding.MISMATCH
        return _verdict(row, found, drive.stuck)
    if drive.idle:
        return _verdict(row, Finding.FAILS, deadlock(row.id))
    orphans, once = tuple(drive.orphans), once - memory.placed.let_go
    error = _error(flow, drive) if drive.done else None
    if error is not None and not _same(ended, error):
        failed = SegueError(classify(error).message or type(error).__name__)
        failed.message = f"the flow would raise {type(error).__name__}: {failed.message}"
        return _verdict(row, Finding.FAILS, failed, orphans)
    new = [] if drive.done else _new(drive, memory)
    effects = tuple(sorted({k for k in orphans if k in once}.union(drive.claims.at_risk))) if new else ()
    if new and (orphans or effects):
        return Verdict(
            run=row.id, flow=row.flow, state=row.state, finding=Finding.UNSURE,
            later=tuple(sorted({*orphans, *effects})), effects=effects,
            message=f"checked up to {new[0]}, a new call: what comes after it depends on its result",
            next=tuple(sorted(drive.waiting)),
        )  # fmt: skip
    return Verdict(
        run=row.id, flow=row.flow, state=row.state, finding=Finding.ORPHANED if orphans else Finding.OK,
        orphans=orphans, next=tuple(sorted(drive.waiting)), effects=tuple(k for k in orphans if k in memory.effects),
    )  # fmt: skip


def _same(ended: Fault | None, error: BaseException) -> bool:
    """Whether this is the error that the run has failed with."""
    now = classify(error)
    return ended is not None and (ended.error, ended.message) == (now.error, now.message)


def _new(drive: Drive, memory: Memory) -> list[str]:
    """The calls that the run would make now and that are not on record as begun. Waits for signals never are."""
    begun = memory.attempts.keys() | memory.timers.keys() | memory.children.keys() | memory.open_args.keys()
    return [k for k, (command, _) in drive.waiting.items() if not isinstance(command, Wait) and k not in begun]


def _error(flow: Flow[..., Any], drive: Drive) -> BaseException | None:
    """What the flow has ended with, if not with a result or a cancel that was asked for."""
    try:
        roundtrip(flow.signature.result, drive.result())
    except asyncio.CancelledError as error:
        return None if drive.cancelling else error
    except BaseException as error:  # noqa: BLE001  whatever the flow raised is its end
        return error
    return None


def input_of(row: RunRow, flow: Flow[..., Any], args: bytes) -> dict[str, Any]:
    """The stored input as today's types. Raises Undecodable."""
    try:
        if callable(flow.migrate) and row.version != flow.version:
            args = flow.migrated(args)
        return decode_arguments(flow.signature.codecs, args)
    except Exception as error:  # pydantic's, or whatever the user's migrate= raises
        private = next((of for of in flow.signature.codecs.values() if of.private), codec(Any))
        raise Undecodable(
            f"the stored input does not fit today's signature: {misfit(private, error)}",
            run=row.id,
            remedy="restore the types, or give @flow(version=..., migrate=function)",
        ) from error


def _damaged(no: int, error: StoreCorrupt) -> Verdict:
    return Verdict(
        run=error.run or f"number {no}", flow="", state="", finding=Finding.UNDECODABLE, message=error.message,
        remedy=error.remedy,
    )  # fmt: skip


def _verdict(row: RunRow, finding: Finding, error: SegueError, orphans: tuple[str, ...] = ()) -> Verdict:
    return Verdict(
        run=row.id, flow=row.flow, state=row.state, finding=finding, message=error.message, key=error.key,
        remedy=error.remedy, orphans=orphans, asks=error.asks if isinstance(error, ReplayMismatch) else None,
    )  # fmt: skip

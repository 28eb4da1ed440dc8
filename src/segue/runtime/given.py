"""What people say came of a call, held against what the flow takes: before it is on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from ..core.asked import is_question, ticket
from ..core.codec import Codec, as_stored, describe, misfit
from ..core.commands import Command, RunStep, StartChild, Timer, Wait
from ..core.events import OUTCOMES, Event
from ..core.keys import family, name_of
from ..core.lifecycle import ENDED, RunState
from ..core.placed import IN_PLACE_OF
from ..core.questions import open_questions
from ..core.replay import Memory
from ..core.secret import using
from ..core.shell import command as shell
from ..core.short import is_whole, resolve
from ..errors import InputError, ReplayMismatch, RunEnded, SegueError, Undecodable
from ..journal import Reader, RunRow
from ..journal.keyring import Keyring
from ..journal.vault import Vault
from . import registry, words
from .check import input_of
from .drive import Drive, Future
from .flow import Flow
from .repeats import applies_once
from .step import read


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls that a run makes, by their keys on record; `open` are the keys of those that have no outcome, `today`
    the other keys that calls have by now, or had. `memory` is what is on record, `points` the last `seq` that a fork at
    a wait keeps: no event has its key.
    """

    made: Mapping[str, Command]
    open: frozenset[str]
    today: Mapping[str, str] = field(default_factory=dict[str, str])
    memory: Memory = field(default_factory=Memory)
    points: Mapping[str, int] = field(default_factory=dict[str, int])
    blocked: Mapping[str, str] = field(default_factory=dict[str, str])
    words: Sequence[words.Word] = ()

    def on_record(self, key: str) -> str:
        """A key on record, also of a call that is named by the key that it has today, if no other goes by that."""
        here = key in self.made or key in self.open or self.memory.holds(key)
        return key if here else self.today.get(key, key)

    def like(self, key: str) -> Command | None:
        """The call of this key or, for one that was not made, a call of the same name, if all such give one type: each
        question has a type of its own.
        """
        if (key := self.on_record(key)) in self.made:
            return self.made[key]
        same = [c for k, c in self.made.items() if family(k) == family(key) and not gives(c)] if "#" in key else []
        return same[0] if len({of.annotation for of in map(_result, same) if of is not None}) == 1 else None

    def in_place_of(self, key: str, detail: Mapping[str, Any]) -> str | None:
        """What stands in the way of this call: as somebody has said, by today's code, or as the row says."""
        said = next((one.said[IN_PLACE_OF] for one in self.words if one.key == key), None)
        if said is not None or self.memory.holds(key):
            return said
        stated = detail.get("key") if detail.get("asks") == key else None
        return self.blocked.get(key) or stated or min(self.memory.placed.through.get(key, ()), default=None)

    def body_of(self, key: str, other: str) -> dict[str, Any]:
        """What goes with a word on such a call, for whoever takes it under other code."""
        command = self.made.get(key)
        args = {words.ARGS: command.args.decode()} if isinstance(command, RunStep | StartChild) else {}
        return {IN_PLACE_OF: other, **args}


class _Noting(Drive):
    """A drive that notes what the flow asks for."""

    def __init__(self, run: str, memory: Memory, threads: Sequence[str]):
        super().__init__(run, memory, strict=False, threads=threads)
        self.noted: dict[str, Command] = {}
        self._asked: list[tuple[Wait, Future]] = []

    def request(self, command: RunStep | Wait | Timer | StartChild) -> Future:
        future = super().request(command)
        self.noted[command.key] = command
        if isinstance(command, Wait):
            self._asked.append((command, future))
        return future

    def calls(self, open_: frozenset[str], said: Sequence[words.Word], blocked: Mapping[str, str]) -> Calls:
        """What it has noted."""
        made = {self.claims.recorded(key): command for key, command in self.noted.items()}
        today = {c.key: key for key, c in made.items() if c.key != key}
        points = {self.claims.recorded(wait.key): _point(wait, future) for wait, future in self._asked}
        known = {**self.claims.memory.rekeyed, **today}
        return Calls(made, open_, known, self.claims.memory, points, blocked, said)

    def blocked(self) -> dict[str, str]:
        """What stands in the way of the calls that it waits for, of each and not the first one alone."""
        if self.stuck is not None and not (isinstance(self.stuck, ReplayMismatch) and self.stuck.asks):
            return {}
        begun = self.claims.memory.open_args
        found = {k: self.claims.in_place_of(c) for k, (c, _) in self.waiting.items() if k not in begun}
        return {key: event.key or "" for key, event in found.items() if event is not None}


def _point(wait: Wait, future: Future) -> int:
    """What a wait had seen, and nothing from the signal on that it took: it may have come early."""
    taken = future.done() and not future.cancelled() and future.exception() is None
    return max(min(wait.seen, future.result().seq - 1) if taken else wait.seen, 1)


async def calls_of(reader: Reader, keyring: Keyring, row: RunRow) -> Calls:
    """The calls that a run makes, by a replay. It is no part of a task: Python 3.14 does not let tasks nest."""
    loop, flow = asyncio.get_running_loop(), registry.for_run(row.flow, row.version)
    future: asyncio.Future[Calls] = loop.create_future()
    said, once = words.waiting(reader.items_of(row.no), row.detail), partial(applies_once, reader, row)
    events, vault, threads = words.heard(reader.past(row), said), Vault(keyring, row.tenant), reader.threads_of(row)

    def replay() -> None:
        try:
            with reader.reads(row):
                future.set_result(calls(row, events, flow, vault, threads, said=said, once=once))
        except Exception as error:  # noqa: BLE001  it is raised where it is awaited
            future.set_exception(error)

    loop.call_soon(replay)
    return await future


def calls(
    row: RunRow, events: Iterable[Event], flow: Flow[..., Any] | None, vault: Vault, threads: Sequence[str] = (),
    *, said: Sequence[words.Word] = (), once: Callable[[str], bool] = lambda _: False,
) -> Calls:  # fmt: skip
    """The calls of a run up to the end of its journal, by a replay: nothing is carried out, nothing is written.

    Where the flow is not in this process, or cannot be replayed, they are as many as are found. `said` are words in its
    inbox, `once` tells whether the child of a key has begun a once-effect.
    """
    memory = Memory.of(events, {key: value.encode() for key, value in row.replaced.items()})
    begun = frozenset(memory.attempts) | memory.effects | memory.anew | memory.timers.keys() | memory.children.keys()
    if flow is None:
        return Calls({}, begun, memory.rekeyed, memory, words=said)
    drive = _Noting(row.id, memory, threads)
    drive.claims.applies_once = once
    try:
        with using(vault):
            values = input_of(row, flow, memory.args)
            drive.bind = flow.bind
            drive.begin(flow.body(values), memory.first_at, vault)
            drive.replay(memory)
            return drive.calls(begun | drive.waiting.keys() | drive.left.keys(), said, drive.blocked())
    except SegueError:
        return drive.calls(begun, said, {})
    finally:
        drive.suspend()


async def fork_point(reader: Reader, keyring: Keyring, row: RunRow, at: str | int | None) -> int:
    """The last `seq` that a fork at a step, event or wait keeps. Raises InputError when the run has none such."""
    try:
        return reader.fork_point(row, at)
    except InputError as error:
        if not isinstance(at, str):
            raise
        known = await calls_of(reader, keyring, row)
        meant = at if is_whole(at) else resolve(at, known.points, what="wait", run=row.id) or at
        point = known.points.get(known.on_record(meant))
        if point is not None:
            return point
        if name_of(at) == "wait" and not known.made:
            error.message = (
                f"nothing tells where {at} is: a wait has no event of its own, and the flow is not known here"
            )
            error.remedy = f"import the flow {row.flow}, or give the seq of the event before the signal that it took"
        raise


def fit(run: str, key: str, command: Command | None, data: bytes) -> bytes:
    """`data` as the journal holds it: by the names of fields, its secrets sealed. Raises InputError when it is not what
    the call returns.
    """
    of = _result(command)
    if of is None:
        return data
    try:
        return as_stored(of, read(of, data, command.options.upcast if isinstance(command, RunStep) else None), data)
    except ValueError as error:
        wanted = gives(command) or describe(of.annotation)
        what = f"is no {wanted}: {misfit(of, error)}"
        raise InputError(
            f"the result given for {key} {what}",
            run=run,
            key=key,
            remedy=f"the call returns {wanted}: give a value of that type",
        ) from (None if of.private else error)


def check_replaced(run: str, key: str, known: Calls) -> None:
    """Raises InputError for what has no result that a fork could be given: a wait, a timer, a scope of calls."""
    command = known.like(key)
    within = [k for k in known.made if command is None and k.startswith(f"{key}/")]
    if within:
        command = known.made[within[0]]
        if not (isinstance(command, Wait) and is_question(command.name)):
            raise InputError(
                f"{key} is made of calls of its own: a fork is given the result of one of those", run=run, key=key,
                remedy=f"name one: {', '.join(within[:3])}",
            )  # fmt: skip
    if isinstance(command, Timer):
        raise InputError(
            f"{key} is a timer: it has no result that a fork could be given", run=run, key=key,
            remedy=f"fork behind it, or end it in the fork: {shell('override', 'FORK', key, '--result', 'null')}",
        )  # fmt: skip
    if isinstance(command, Wait):
        asks = is_question(command.name)
        what = "a question to a person" if asks else "a wait for a signal"
        ended = shell("override", "FORK", key, "--result", "JSON")
        then = f"{shell('inbox')} lists it" if asks else f"{ended}, or a signal"
        raise InputError(
            f"{key} is {what}: a fork takes it from its journal or waits anew, and is given no result for it",
            run=run, key=key, remedy=f"fork at it, then answer in the fork: {then}",
        )  # fmt: skip


def check_reached(row: RunRow, keys: Collection[str], known: Calls) -> None:
    """Raises InputError for results of calls that the run has not made, where others of their names are on record: a
    fork of a run that has ended makes the same calls, if nothing else is changed.
    """
    if row.state not in ENDED or any(known.on_record(k) in known.made or known.memory.holds(k) for k in keys):
        return
    for key in keys:
        near = sorted(k for k in known.made if family(k) == family(key))
        if near:
            raise InputError(
                f"fork(results=...): the run has made no call {key!r}, and the fork would make none", run=row.id,
                key=key, remedy=f"name one that it has made: {', '.join(near[:5])}",
            )  # fmt: skip


def gives(command: Command | None) -> str | None:
    """What people call the result of a call, where that is not the name of its type."""
    return command.options.gives if isinstance(command, RunStep) else None


def result_of(row: RunRow, of: Codec, data: bytes, error: ValueError) -> Any:
    """A result that does not fit `of`: the run may have moved to another version of its flow meanwhile, or its own is
    not here; then it is what JSON makes of it. Raises Undecodable.
    """
    flow = registry.known(row.flow, row.version)
    if flow is None:
        return json.loads(data)
    if flow.signature.result is not of:
        of = flow.signature.result
        try:
            return of.decode(data)
        except ValueError as now:
            error = now
    raise Undecodable(
        f"the stored result does not fit today's type: {misfit(of, error)}", run=row.id,
        remedy=f"put the type back, or read it as JSON: {shell('show', row.id, '--json')}",
    ) from (None if of.private else error)  # fmt: skip


def check_override(row: RunRow, key: str, command: Command | None, *, retry: bool) -> None:
    """Raises InputError for what nothing would come of: a retry of what is no step, a result as a person's answer."""
    run = row.id
    if isinstance(command, Wait) and is_question(command.name):
        raise _a_person_is_asked(run, key, command.name)
    if retry and command is not None and not isinstance(command, RunStep):
        child = isinstance(command, StartChild)
        what = "a child" if child else "a timer" if isinstance(command, Timer) else "a wait for a signal"
        raise InputError(
            f"only a step can be made again, and this is {what}", run=run, key=key,
            remedy=f"say what came of it: {shell('override', run, key, '--result', 'JSON')}, or --skip",
        )  # fmt: skip


def _a_person_is_asked(run: str, key: str, question: str) -> InputError:
    return InputError(
        "the call waits for a person's answer", run=run, key=key,
        remedy=f"look at what is asked, and how to answer it: {shell('inbox', ticket(run, question))}",
    )  # fmt: skip


def not_open(row: RunRow, key: str, known: Calls) -> InputError:
    """The error of an override that names no open step."""
    below = (known.made.get(one) for one in sorted(known.open) if one.startswith(f"{key}/"))
    asked = next((one.name for one in below if isinstance(one, Wait) and is_question(one.name)), None)
    if asked is not None:
        return _a_person_is_asked(row.id, key, asked)
    if key in known.made or key in known.memory.ended:
        return InputError(
            "the step has an outcome already",
            run=row.id,
            key=key,
            remedy=f"make it again in a fork: run.fork(at=key), {shell('fork', row.id, '--at', key)}",
        )
    waits: list[dict[str, Any]] = row.detail.get("waits_on", [])
    near = sorted(known.open | {str(one["key"]) for one in waits if one.get("key")})[:5]  # also without the flow's code
    what = f"; open: {', '.join(near)}" if near else ""
    remedy = f"list its keys: {shell('show', row.id)}"
    if row.state == RunState.STUCK and "asks" in row.detail:
        remedy = f"let the run say anew what stands in whose way: {shell('resume', row.id)}; then {remedy}"
    return InputError(f"the run has no open step {key!r}{what}", run=row.id, remedy=remedy)


def not_asked(row: RunRow, key: str, reader: Reader) -> SegueError:
    """The error of a word that nobody has asked for: it names what is asked, and the form that fits."""
    events = list(reader.events(row))
    if row.state in ENDED:
        return RunEnded(
            f"the run has ended ({row.state}): nobody is asked any more", run=row.id,
            remedy=f"make the step again in a fork: {shell('fork', row.id, '--at', key)}",
        )  # fmt: skip
    asked = sorted(open_questions(events))
    done = any(e.key == key and e.type in OUTCOMES for e in events)
    what = f"; asked about: {', '.join(asked[:5])}" if asked else ""
    if done:
        remedy = f"it has an outcome; make it again in a fork: {shell('fork', row.id, '--at', key)}"
    else:
        remedy = f"name one of those, or say what came of an open step: {shell('override', row.id, key)}"
    return InputError(f"nobody is asked about {key}{what}", run=row.id, key=key, remedy=remedy)


def _result(command: Command | None) -> Codec | None:
    """What a call returns; None for one whose outcome has no type."""
    if isinstance(command, RunStep):
        return command.result
    if isinstance(command, Wait):
        return command.payload or command.takes
    if isinstance(command, StartChild) and not command.detached:
        return cast("Flow[..., Any]", command.flow).signature.result
    return None

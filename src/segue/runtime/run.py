"""A handle on one run: ask it, tell it, fork it. Works from any process that has the database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import uuid4

from ..config import database_words
from ..core.codec import Codec, codec, dumps, loads, roundtrip
from ..core.events import Event, EventType
from ..core.faults import Fault, rebuild
from ..core.lifecycle import ENDED, RunState
from ..core.questions import Question, open_questions
from ..core.redaction import envelope_of
from ..core.secret import Secret
from ..core.shell import command
from ..core.streams import StreamEvent
from ..errors import InputError, RunCancelled, RunFailed, SegueError, WrongAnswer
from ..journal import NewRun, Post, RunRow
from ..journal.threads import ahead_of
from . import forking, given, named, opinions
from .companions import candidates
from .ending import asked_to_end
from .exits import raised_by
from .repeats import begun_later, repeated
from .status import RunStatus, status_of, stuck_error
from .streams import follow

if TYPE_CHECKING:
    from .engine import Engine
    from .lacking import Lacking

R = TypeVar("R")

MISSING: Any = ...
"""Not given: None is a result too."""


class Run(Generic[R]):
    """One execution of a flow. Handles are cheap: make as many as you like with `engine.get(id)`."""

    __slots__ = ("_engine", "_no", "_result", "_tenant", "id", "thread")

    def __init__(self, engine: Engine, row: RunRow, result: Codec | None = None):
        self._engine, self._no, self.id, self._tenant, self._result = engine, row.no, row.id, row.tenant, result
        self.thread = row.thread
        """The thread that it is a turn of."""

    async def result(self) -> R:
        """Wait for the end and give what the flow returned.

        Raises RunFailed (its cause is the flow's error), RunCancelled, or a RunStuck when the run is set aside.
        """
        while True:
            if self._no not in self._engine.host.executions:
                row = self._row()
                if row.state in ENDED:
                    return self._ended(self._engine.journal.end(row))
                if row.state == RunState.STUCK and not self._engine.host.wakes(self._no):
                    raise stuck_error(row)
                if self._no in self._engine.host.damaged:
                    raise self._engine.host.damaged[self._no]
            end = await self._engine.host.watch(self._no)
            if end is not None:
                return self._ended(end)
            self._engine.journal.check_file()

    async def status(self) -> RunStatus:
        """Where it stands, what it waits for, and what to do when it is stuck."""
        return seen(self._engine, self._row(), self._engine.lacking())

    async def events(self, after: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """Its journal, and with `follow` what comes, up to its end."""
        while True:
            row = self._row()
            for event in self._engine.journal.events(row, after):
                after = event.seq
                yield event
            if row.state in ENDED or not follow:
                return
            self._engine.journal.check_file()
            await asyncio.sleep(0.05)

    def stream(self, key: str | None = None) -> AsyncGenerator[StreamEvent, None]:
        """What its steps say while they say it: `Piece`, `Retracted`, `Ended` (`segue.streams`), up to its end.

        `key` is the only call that is followed. Whoever comes late gets what the attempts that are open have said so
        far, and of calls with an outcome the text that is on disk, once. Any number may follow at once; a slow one gets
        larger pieces, and holds nobody up. It ends too when the run is set aside. Raises EngineClosed.
        """
        return follow(self._engine, self._no, self.id, key)

    async def signal(self, name: str, payload: Any = None, *, id: str | None = None, by: str = "") -> bool:
        """Send a signal, before or after the flow waits for it. The same `id` again is no new signal: gives False.

        Raises RunEnded, InputError for a name or an id that is no text and for an empty name, and UnserialisableResult
        for a payload that is no JSON.
        """
        for what, text in (("name", name), ("id", "" if id is None else id)):
            if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
                raise InputError(f"signal {what} {text!r} is no text", run=self.id, remedy=f"give the {what} as a text")
        if not name.strip():
            raise InputError(
                f"signal name {name!r} is empty", run=self.id, remedy="give the name that the flow waits for"
            )
        value = self._encode(payload)
        return await self._post("signal", name, id or str(uuid4()), value, {"by": by})

    async def cancel(self, *, by: str = "", why: str = "") -> None:
        """Ask it to end. The flow sees asyncio.CancelledError, and may clean up durably.

        Asked again, it is cancelled again: that interrupts a cleanup that waits, and ends a run that is set aside.
        """
        await self._post("cancel", "", str(uuid4()), None, {"by": by, "why": why})

    async def pause(self, *, by: str = "", why: str = "") -> None:
        """Start no new work; what runs ends."""
        await self._post("pause", "", str(uuid4()), None, {"by": by, "why": why})

    async def resume(self, *, by: str = "", why: str = "") -> None:
        """Go on after a pause, or try again after the run was set aside."""
        await self._post("resume", "", str(uuid4()), None, {"by": by, "why": why})

    async def override(
        self, key: str, result: Any = None, *, retry: bool = False, skip: bool = False, by: str = "", why: str = ""
    ) -> None:
        """Say what came of an open step: its `result`, `skip` it (the result is None), or `retry` it from the start.
        A once-effect that is on its way is left to end; it is made again by a `retry` that is said once its doubt is on
        record, when the run has parked or is set aside.

        Raises InputError when the run has no such step open, or when the step returns another type, as far as the flow
        is known in this process; RunEnded after its end.
        """
        act = "retry" if retry else "skip" if skip else "result"
        value = None if retry else self._encode(None if skip else result)
        key, value, more = await self._checked_override(self._whole(key), value)
        await self._post("override", key, str(uuid4()), value, {"act": act, "by": by, "why": why, **more})

    async def decide(
        self, key: str, *, retry: bool = False, result: Any = MISSING, use: str | None = None, fail: bool = False,
        by: str = "", why: str = "",
    ) -> bool:  # fmt: skip
        """Answer the question that a step's Recovery has put to a person: `retry`, this `result`, `use` this candidate,
        or `fail`. False when somebody else, or time, has answered it.

        Raises InputError when nobody is asked about this step, for a candidate of a question that is unknown or cannot
        answer it, and for a result of another type (WrongAnswer, of an escalated question), as far as the flow is known
        in this process; RunEnded after its end, and once the run was asked to end.
        """
        if retry + (result is not MISSING) + (use is not None) + fail != 1:
            raise InputError("decide: one of retry=True, result=, use= and fail=True", run=self.id, key=key)
        word = "retry" if retry else "use" if use is not None else "fail" if fail else "result"
        row, journal, key = self._row(), self._engine.journal, self._whole(key)
        with journal.reads(row):
            asked = open_questions(journal.events(row)).get(key)
            if asked is not None and use is not None:
                named.expect_candidate(journal.events(row), asked, use, row, candidates(self._engine.surroundings))
        if asked is None:
            raise given.not_asked(row, key, journal)
        value = self._encode(result) if word == "result" else None
        if value is not None and not asked.service:
            value = await self._held(asked, value)
        at = self._engine.clock.now()
        if asked.over(at):  # also while no process has come to see it
            return False
        said = {"word": word, "candidate": use, "by": by, "why": why}
        return await self._post("decide", key, asked.id, value, said, at=at)

    async def feedback(self, score: float, *, key: str | None = None, by: str = "", note: str = "") -> None:
        """Record how good the result was, from 0 to 1; also after the end. `key` names a step, else the run.

        Raises InputError for another score, and where the run has no such step.
        """
        if not isinstance(score, int | float) or not 0 <= score <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise InputError(
                f"feedback {score!r} is not between 0 and 1", run=self.id, key=key, remedy="give a number from 0 to 1"
            )
        body = {"score": score, "by": by, "note": note}
        of = named.of_step(self._engine.journal, self._row(), key) if key else ""
        await self._post("feedback", of, str(uuid4()), None, body)

    async def prefer(
        self, key: str, over: str | None = None, *, model: str | None = None, over_model: str | None = None,
        over_run: str | None = None, tied: bool = False, strength: float | None = None, by: str = "", note: str = "",
    ) -> None:  # fmt: skip
        """Record that the answer of step `key` is better than that of step `over`; also after the end.

        `over` is a step of this run, or of `over_run`; without it the same step is meant, and `over_model` says whose
        answer there: of one that was asked on the side, or turned down. `model` likewise for the better one. `tied`:
        neither is better. `strength`, 0 to 1, says by how much. Keys are also taken as `segue show` shortens them.
        Raises InputError for an answer that there is not, and for one that is compared with itself.
        """
        if over is None and over_model is None and model is None:
            raise InputError("preferred to what?", run=self.id, key=key, remedy="give over=, over_model= or model=")
        row, journal = self._row(), self._engine.journal
        other = row if over_run is None else journal.get(over_run)
        key, worse = named.of_step(journal, row, key), named.of_step(journal, other, over or key)
        about, one = opinions.answer_of(journal.events(row), self.id, key, model)
        than, two = opinions.answer_of(journal.events(other), other.id, worse, over_model)
        if (self.id, key, one) == (other.id, worse, two):
            remedy = "name another answer: over= another step, or over_model= another model that was asked there"
            raise InputError("an answer is not compared with itself", run=self.id, key=key, remedy=remedy)
        than = than if over_run is None else replace(than, run=over_run)
        body = opinions.preference(about, than, tied=tied, strength=strength, by=by, note=note)
        await self._post("feedback", key, str(uuid4()), None, body)

    async def fork(
        self,
        at: str | int | None = None,
        *,
        results: Mapping[str, Any] | None = None,
        input: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> Run[R]:
        """A new run that goes on from a step of this one.

        `at` is the key of the call to make anew, also as `segue show` shortens it, or the `seq` of the last event to
        keep; None keeps all but the end. The new run knows the outcomes that the call had seen, and not the signal that
        a wait took. `results` replaces results by key (those of steps that are still to come are never made), `input`
        arguments by name. Raises InputError, before anything is recorded, for a point that the run does not have and
        for results and arguments of another type, as far as the flow is known in this process.
        """
        row, journal = self._row(), self._engine.journal
        at, results = named.of_fork(journal, row, at, results)
        forking.check_fork(self.id, at, results, input)
        with journal.reads(row):
            upto = await given.fork_point(journal, self._engine.keyring, row, at)
            first, start = journal.part_of(row, upto)
            began = loads(first.body)
            forking.check_part(self.id, results, began.get("part", 0))
            args, edited = first.args or b"{}", bool(began.get("edited")) or input is not None
            kept = forking.inherited(row, journal.events(row), at)
            version = began["version"]
        if input is not None:
            changed = {k: json.loads(self._encode(v, args, k)) for k, v in input.items()}
            with self._engine.sealing(self._tenant):
                args = forking.edited_input(row, args, changed)
        replaced, same = {k: self._encode(v).decode() for k, v in (results or {}).items()}, {k: k for k in kept}
        if replaced:
            replaced, known = await self._checked_results(row, replaced, alone=at is None and input is None)
            same |= known
        new = NewRun(
            id=id or f"{self.id}~{uuid4().hex[:8]}", tenant=row.tenant, flow=row.flow, origin=row.origin,
            version=version, args=args, at=self._engine.clock.now(), seed=self._engine.host.seed(),
            memo_run=self._no, memo_seq=upto, replaced={**kept, **replaced},
            body={
                "fork_of": self.id, "at": at, "edited": edited, "given": sorted(replaced),
                **begun_later(journal, row, upto, same)._asdict(),
            },
            continued_seq=start, thread=row.thread,
        )  # fmt: skip
        return await self._engine.accept(new, self._result)

    async def repeats(self) -> list[str]:
        """For a fork: the once-effects of its parent that it would apply again, its own by their keys and those of the
        children that it starts anew as `CHILDKEY/KEY`. None of those that it was given a result for.
        """
        row, journal = self._row(), self._engine.journal
        if row.memo_run is None:
            return []
        return [one.key for one in repeated(journal, journal.get(row.memo_run), row.memo_seq, row.replaced)]

    async def _checked_results(
        self, row: RunRow, replaced: Mapping[str, str], *, alone: bool
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The results by all keys that their calls go by; and those keys, each with the one on record."""
        calls = await self._calls(row)
        if alone:
            given.check_reached(row, replaced, calls)
        for key in replaced:
            given.check_replaced(self.id, key, calls)
        with self._engine.sealing(self._tenant):
            fits = {k: given.fit(self.id, k, calls.like(k), v.encode()).decode() for k, v in replaced.items()}
        on_record = {calls.on_record(k): v for k, v in fits.items()}
        today = {today: k for today, k in calls.today.items() if calls.on_record(today) == k}
        given_as = {today: fits[k] for today, k in today.items() if k in fits} | on_record | fits
        return given_as, {k: today.get(k, calls.on_record(k)) for k in given_as}

    async def _held(self, asked: Question, value: bytes) -> bytes | None:
        """A person's answer, held against what the step returns. One that the step judges is sent as it was given, and
        held against that only where it is asked for in that form: else it may be anything.
        """
        if asked.escalated and asked.form is None:
            return value
        try:
            _, fitting, _ = await self._checked_override(asked.key, value)
        except InputError as error:
            if not asked.escalated:
                raise
            remedy = f"see what is asked for: {command('inbox', self.id)}"
            raise WrongAnswer(error.message, run=self.id, key=asked.key, remedy=remedy) from error.__cause__
        return value if asked.escalated else fitting

    async def _checked_override(self, key: str, value: bytes | None) -> tuple[str, bytes | None, dict[str, Any]]:
        """The key on record of an open call, what it returns as the journal holds it, and what else goes with the word:
        which recorded call stands in its way. Raises InputError.
        """
        row, execution, more = self._row(), self._engine.host.executions.get(self._no), dict[str, Any]()
        if row.state in ENDED:
            return key, value, more
        key = key if execution is None else execution.drive.on_record(key)
        command = None if execution is None else execution.drive.open_call(key)
        if command is None:
            calls = await self._calls(row)
            key = calls.on_record(key)
            command = calls.made.get(key)
            if (other := calls.in_place_of(key, row.detail)) is not None:
                command, more = calls.like(key), calls.body_of(key, other)
            elif key not in calls.open and not self._may_be_open(row, key, known=bool(calls.made)):
                raise given.not_open(row, key, calls)
        given.check_override(row, key, command, retry=value is None and not more)
        if value is None:
            return key, None, more
        with self._engine.sealing(self._tenant):
            return key, given.fit(self.id, key, command, value), more

    def _may_be_open(self, row: RunRow, key: str, *, known: bool) -> bool:
        """Without the flow's code: a call that another process has just begun may not be on record yet."""
        journal = self._engine.journal
        noted = [w.get("key") for w in row.detail.get("waits_on", [])]
        return not known and (key in noted or ("#" in key and row.owner is not None and journal.alive(row.owner)))

    async def _calls(self, row: RunRow) -> given.Calls:
        return await given.calls_of(self._engine.journal, self._engine.keyring, row)

    def _whole(self, key: str) -> str:
        return named.whole(self._engine.journal, self._row(), key)

    def _row(self) -> RunRow:
        return self._engine.journal.get(self._no)

    async def _post(
        self, kind: str, name: str, id: str, value: bytes | None, body: dict[str, Any], *, at: float | None = None
    ) -> bool:
        at = self._engine.clock.now() if at is None else at
        body = {k: v for k, v in body.items() if v not in ("", None)}
        new = await self._engine.journal.post(Post(self.id, kind, id, name, at, value, dumps(body)))
        if kind in ("cancel", "resume"):
            self._engine.host.look()
        self._engine.host.scan_soon()
        return new

    def _ended(self, last: Event) -> R:
        if last.type == EventType.RUN_COMPLETED:
            return self._decode(last.value or b"null")
        if last.type == EventType.RUN_CANCELLED:
            raise RunCancelled("the run was cancelled", run=self.id)
        with self._engine.journal.reads(self._row()):
            body = loads(last.body)
            fault = Fault.read(body["fault"])
        look = f"look at it: {command('show', self.id, *database_words(self._engine.path))}"
        own = (fault.state or {}).get("remedy")
        failed = RunFailed(
            f"{fault.error.rpartition(':')[2]}: {fault.message}", run=self.id, key=raised_by(body, self.id),
            remedy=f"{own}; {look}" if own else look,
        )  # fmt: skip
        failed.error_type = fault.error
        raise failed from (self._engine.host.errors.pop(self._no, None) or rebuild(fault))

    def _decode(self, data: bytes) -> R:
        with self._engine.sealing(self._tenant):
            if self._result is None:
                return json.loads(data)
            try:
                return self._result.decode(data)
            except ValueError as error:
                of, row = self._result, self._row()
                return given.result_of(row, of, data, error)

    def _encode(self, value: Any, args: bytes = b"{}", name: str = "") -> bytes:
        """A value without a declared type. In the place of a secret argument it is sealed like that one."""
        if envelope_of(loads(args).get(name)) is not None and not isinstance(value, Secret):
            value = Secret(value)
        with self._engine.sealing(self._tenant):
            try:
                return roundtrip(codec(Any), value, marks=True)[0]
            except SegueError as error:
                error.run = error.run or self.id
                raise


def seen(engine: Engine, row: RunRow, lacking: Lacking) -> RunStatus:
    """Where a run stands, as this process sees it."""
    host, journal = engine.host, engine.journal
    ahead, ending = ahead_of(journal.query, row), asked_to_end(journal, row, attended=host.carries)
    waits_on = host.waits_on(row.no)
    trouble = None if waits_on is None else journal.trouble
    return status_of(row, waits_on, lacking(row), ahead, ending, trouble=trouble)

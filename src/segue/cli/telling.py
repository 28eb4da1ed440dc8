"""`segue signal`, `cancel`, `pause`, `override`, `feedback`: puts something into a run's inbox and rings its owner.

The process that carries the run out turns it into an event; when there is none, the next one does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from ..core.codec import loads
from ..core.events import EventType
from ..core.lifecycle import ENDED, RunState
from ..core.replay import UNDER_WAY
from ..core.shell import command
from ..core.short import fitting, resolve, short_key
from ..errors import InputError, RunEnded
from ..journal import RunRow
from ..runtime import named
from ..runtime.check import GOES_ON, Verdict, check_one
from ..runtime.run import Run
from . import bulk, inputs
from .advice import Standing
from .carrying import load_if_there
from .exits import Exit
from .left import NAMED_MAX
from .paint import Copyable, tell
from .shelf import acting, reading, standing_of
from .words import printable

TAKEN_WITHIN_S = 2.0
"""How long to look whether a living process has taken what was sent."""

Act = Callable[[Run[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends to the runs of one database."""

    db: str
    as_json: bool = False

    def look(self, run: str) -> Standing:
        """What is known of the run. Raises UnknownRun."""
        with reading(self.db, acts=True) as reader:
            return standing_of(reader, reader.get(run))

    def send(self, run: str, act: Act) -> Any:
        """Do one thing to a run, and give what it gives."""
        with redirect_stdout(sys.stderr):  # a replay runs the flow, which may print
            return asyncio.run(self._send(run, act))

    async def _send(self, run: str, act: Act) -> Any:
        async with acting(self.db) as engine:
            return await act(await engine.get(run))

    def taken(self, run: str) -> Standing:
        """Where the run stands, once a living process has taken what was sent; there may be none that does."""
        until = time.monotonic() + TAKEN_WITHIN_S
        standing = self.look(run)
        while standing.posts and standing.attended and not held_back(standing) and time.monotonic() < until:
            time.sleep(0.02)
            standing = self.look(run)
        return standing

    def sent(self, run: str, what: str, *, new: bool = True, about: dict[str, Any] | None = None) -> Exit:
        """Say what was sent, and who takes it; with `new=False` that it was sent before. `about` goes with the JSON."""
        standing = self.taken(run)
        row = standing.row
        if self.as_json:
            posts = {"taken": not standing.posts, "attended": standing.attended}
            body = {**(about or {}), "run": run, "state": row.state, "sent": new, **posts}
            print(json.dumps(body, ensure_ascii=False))
            return Exit.DONE
        tell(Text("✓ ", "green").append(what, "default") if new else Text(what, "dim"))
        if new and held_back(standing):
            tell(
                Text("The run is paused, and takes signals up when it goes on.", "dim"),
                Copyable(command("resume", run), "to let it go on"),
            )
        elif new and standing.posts and not standing.attended:
            tell(
                Text("No process carries the run out; the next one that does takes it.", "dim"),
                Copyable(command("resume", run), "to go on with it here"),
            )
        return Exit.DONE


def held_back(standing: Standing) -> bool:
    """Whether a pause is all that keeps it from what was sent."""
    return standing.state == "paused" and {post.kind for post in standing.posts} == {"signal"}


def signal(to: Sender, run: str, name: str, *, payload: str | None, id: str | None, by: str) -> Exit:
    """Send a signal."""
    value = None if payload is None else inputs.read_json(payload, "--payload")
    to.look(run)
    new = to.send(run, lambda r: r.signal(name, value, id=id, by=by))
    if not new:
        return to.sent(run, f"The run has had a signal with the id {id} already: nothing was sent.", new=False)
    return to.sent(run, f"signal {printable(name)} sent to {printable(run)}")


def cancel(to: Sender, run: str, by: str, why: str) -> Exit:
    """Ask a run to end."""
    to.look(run)
    to.send(run, lambda r: r.cancel(by=by, why=why))
    return to.sent(run, f"{printable(run)} is asked to end")


def pause(to: Sender, run: str, by: str, why: str) -> Exit:
    """Let a run start no new work."""
    to.look(run)
    to.send(run, lambda r: r.pause(by=by, why=why))
    return to.sent(run, f"{printable(run)} is asked to pause; {printable(command('resume', run))} lets it go on")


def override(
    to: Sender, run: str, given: str, result: str | None, *, retry: bool, skip: bool, by: str, why: str
) -> Exit:
    """Say what came of an open step."""
    if (result is not None) + retry + skip != 1:
        raise InputError("override needs one of --result JSON, --skip and --retry", run=run)
    value = None if result is None else inputs.read_json(result, "--result")
    standing = to.look(run)
    if standing.row.state in ENDED:
        raise RunEnded(f"the run has ended ({standing.row.state})", run=run, remedy=_anew(given, standing))
    key = _open_key(given, standing, to)
    load_if_there(standing.row, as_json=to.as_json)
    to.send(run, lambda r: r.override(key, value, retry=retry, skip=skip, by=by, why=why))
    what = "is made again" if retry else "is skipped" if skip else "has its result"
    taken = to.taken(run) if retry else standing
    if retry and (not taken.posts or held_back(taken)) and _left(to, run, key):
        what = "is an effect on its way: it is left to end, and what came of it is found out first"
    return to.sent(run, f"{printable(short_key(key))} {what}")


def _left(to: Sender, run: str, key: str) -> bool:
    """Whether the last word on a step changed nothing, since what came of the step is still to be found out."""
    with reading(to.db) as reader:
        said = reader.query(
            "select body from events where run = ? and type = ? and key = ? order by seq desc limit 1",
            (reader.get(run).no, EventType.OPERATOR_ACTED, key),
        )
    return bool(said) and loads(said[0][0]).get("details") == UNDER_WAY


def override_all(to: Sender, how: bulk.Bulk, given: str | None, result: str | None, *, retry: bool, skip: bool) -> Exit:
    """Say the same of a step that is open in many runs."""
    if (result is not None) + retry + skip != 1:
        raise InputError("override needs one of --result JSON, --skip and --retry")
    value = None if result is None else inputs.read_json(result, "--result")
    found: dict[str, str] = {}

    def fits(row: RunRow) -> bool:
        if row.state in ENDED:
            return False
        key = _stops(to, row) if given is None else _found(to, row.id, given)
        if key:
            found[row.id] = key
            load_if_there(row, as_json=to.as_json)
        return bool(key)

    async def act(run: Run[Any]) -> None:
        await run.override(found[run.id], value, retry=retry, skip=skip, by=how.by, why=how.why)

    return bulk.act(how, "override", "told what came of the step", act, fits)


def _stops(to: Sender, row: RunRow) -> str:
    """The step that a run was set aside for: where an effect stands in the way of a call, by today's code, if that is
    here. Empty where that code goes on.
    """
    key = str(row.detail.get("key") or "")
    if "asks" not in row.detail:
        return key
    verdict = _today(to, row)
    return "" if verdict.finding in GOES_ON else verdict.asks or str(row.detail["asks"])


def _anew(given: str, standing: Standing) -> str:
    """How a step of a run that has ended is made again: by its whole key, and where several may be meant by each."""
    run, steps = standing.row.id, [c.key for c in standing.story.calls.values() if c.kind != "signal"]
    fits = fitting(given, steps)
    if not fits:
        return f"it has no step {given!r}: list its keys, and make one again in a fork: {command('show', run)}"
    each = ", or ".join(command("fork", run, "--at", key) for key in fits[:NAMED_MAX])
    more = f"; {len(fits) - NAMED_MAX} more: {command('show', run)}" if len(fits) > NAMED_MAX else ""
    return f"make the step again in a fork: {each}{more}"


def _today(to: Sender, row: RunRow) -> Verdict:
    """What a replay of the run comes to, with today's code."""
    with reading(to.db) as reader, redirect_stdout(sys.stderr):
        return check_one(reader, row)


def _found(to: Sender, run: str, given: str) -> str:
    """The open step of this run that is meant; empty where it has none."""
    try:
        return _open_key(given, to.look(run), to)
    except InputError:
        return ""


def _open_key(given: str, standing: Standing, to: Sender) -> str:
    """The open step that is meant. Raises InputError for one that has an outcome, or that the run does not know."""
    row, calls, say = standing.row, standing.story.calls, command
    known = [str(row.detail.get("asks") or row.detail.get("key") or "")] if row.state == RunState.STUCK else []
    known += [str(w.get("key", "")) for w in standing.waits] + [c.key for c in calls.values() if c.open]
    known = [k for k in known if k]
    key = resolve(given, known, what="open step", run=row.id)
    if key is None and (asks := _today(to, row).asks) is not None:  # changed code asks for it, and not the journal
        known.append(asks)
        key = resolve(given, [asks], what="open step", run=row.id)
    if key is not None:
        return key
    done = resolve(given, [c.key for c in calls.values() if not c.open], what="step", run=row.id)
    if done is not None:
        raise InputError(
            f"the step has an outcome already ({calls[done].stand})",
            run=row.id,
            key=done,
            remedy=f"fork the run to make it again: {say('fork', row.id, '--at', done)}",
        )
    if "#" in given and (standing.owned or standing.posts or row.state == RunState.STUCK):
        return given  # not in the journal: its process has just begun it, or somebody has spoken of it
    what = f"; open: {', '.join(dict.fromkeys(known[:5]))}" if known else ""
    remedy = f"list its keys: {say('show', row.id)}"
    raise InputError(f"the run has no open step {given!r}{what}", run=row.id, remedy=remedy)


def feedback(to: Sender, run: str, score: float, *, key: str | None, by: str, note: str) -> Exit:
    """Record how good a result was."""
    with reading(to.db, acts=True) as reader:
        row = reader.get(run)
        found = None if key is None else named.of_step(reader, row, key)
    to.send(run, lambda r: r.feedback(score, key=found, by=by, note=note))
    return to.sent(run, f"feedback {score:g} for {printable(short_key(found)) if found else printable(run)}")

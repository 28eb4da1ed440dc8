"""`segue run` and `segue fork`: begin a run, and carry it out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, cast

from rich.text import Text

from ..core.shell import command
from ..core.short import resolve
from ..errors import InputError
from ..journal import Reader, RunRow
from ..runtime.check import keys_beside
from ..runtime.engine import Engine
from ..runtime.forking import inherited
from ..runtime.given import calls_of
from ..runtime.repeats import Repeat, repeated
from ..runtime.run import Run
from . import inputs
from .carrying import Carrying, carry, finished, load, load_if_there
from .exits import Exit
from .paint import Copyable, tell
from .shelf import acting, reading
from .story import Stand, Story
from .words import printable


def run(how: Carrying, target: str, given: str | None, id: str | None, *, only_record: bool = False) -> Exit:
    """Start a flow, or go on with the run of this id, and wait for its end."""

    async def make(engine: Engine) -> Run[Any]:
        return await engine.begin(flow, (), values, id=id)

    with redirect_stdout(sys.stderr):
        flow = load(target)
        values = {} if given is None else inputs.arguments(flow, inputs.read_json(given, "--input"))
        code, row = asyncio.run(_record(how, make) if only_record else carry(how, make))
    return _recorded(how, row) if only_record else finished(how, code, row)


def fork(
    how: Carrying, run: str, *, at: str | None, results: list[str], given: str | None, id: str | None,
    repeat: bool, only_record: bool,
) -> Exit:  # fmt: skip
    """Record a new run that goes on from a step of this one, and carry it out."""
    with reading(how.db, acts=True) as reader:
        row = reader.get(run)
        story = Story.of(reader.events(row), row)
        point = _point(at, story, reader, row, as_json=how.as_json)
        replaced = {_key(k, story, run): v for k, v in inputs.read_pairs(results, "--result").items()}
        upto = reader.fork_point(row, point)
        if not repeat:
            given_already = inherited(row, reader.events(row), point)
            _refuse_repeats(repeated(reader, row, upto, {**given_already, **replaced}), run)
    changed = _object(given)

    async def make(engine: Engine) -> Run[Any]:
        return await (await engine.get(run)).fork(point, results=replaced, input=changed, id=id)

    if only_record:
        load_if_there(row, as_json=how.as_json)
        with redirect_stdout(sys.stderr):
            _, made = asyncio.run(_record(how, make))
        return _recorded(how, made)
    with redirect_stdout(sys.stderr):
        load(row.flow, row.origin)
        code, made = asyncio.run(carry(how, make))
    return finished(how, code, made)


async def _record(how: Carrying, make: Any) -> tuple[Exit, RunRow]:
    """Record a run in an engine that carries none out."""
    async with acting(how.db) as engine:
        return Exit.DONE, engine.journal.get((await make(engine)).id)


def _recorded(how: Carrying, row: RunRow) -> Exit:
    if how.as_json:
        print(json.dumps({"run": row.id, "state": row.state}, ensure_ascii=False))
        return Exit.DONE
    print(row.id)
    resume = Copyable(command("resume", row.id), "to carry it out")
    tell(Text("It is recorded, and not yet carried out here.", "dim"), resume)
    return Exit.DONE


def _point(at: str | None, story: Story, reader: Reader, row: RunRow, *, as_json: bool) -> str | int | None:
    """A step's key or the number of an event: of a wait or a signal that of the last event to keep. Raises InputError
    for neither.
    """
    if at is None or at.isdecimal():
        return None if at is None else int(at)
    found = _step(at, story, row.id)
    return _wait(at, story, reader, row, as_json=as_json) if found is None else found


def _wait(at: str, story: Story, reader: Reader, row: RunRow, *, as_json: bool) -> int:
    """Where a fork at a wait begins: its key is no event's, so the flow is replayed. A signal may be named as well."""
    load_if_there(row, as_json=as_json)
    points = asyncio.run(calls_of(reader, keys_beside(reader.path), row)).points
    found = resolve(at, points, what="wait", run=row.id)
    if found is not None:
        return points[found]
    signals = {n: call for n, call in story.calls.items() if call.kind == "signal" and call.stand is not Stand.FAILED}
    came = [name for name, call in signals.items() if at in (name, call.key)]
    if len(came) == 1:
        return int(came[0].rpartition("@")[2]) - 1
    if came:
        several = f"{at!r} has come {len(came)} times: {printable(', '.join(came[:5]))}"
        raise InputError(several, run=row.id, remedy="name one of them in full")
    raise _no_step(at, row.id)


def _key(given: str, story: Story, run: str) -> str:
    found = _step(given, story, run)
    if found is None:
        raise _no_step(given, run)
    return found


def _step(given: str, story: Story, run: str) -> str | None:
    return resolve(given, [c.key for c in story.calls.values() if c.kind != "signal"], what="step", run=run)


def _no_step(given: str, run: str) -> InputError:
    return InputError(f"the run has no step {given!r}", run=run, remedy=f"list its keys: {command('show', run)}")


def _object(given: str | None) -> dict[str, Any] | None:
    changed = None if given is None else inputs.read_json(given, "--input")
    if changed is not None and not isinstance(changed, dict):
        raise InputError("--input of a fork names the arguments to change", remedy="write --input '{\"NAME\": VALUE}'")
    return cast("dict[str, Any] | None", changed)


def _refuse_repeats(once: Sequence[Repeat], run: str) -> None:
    """Raise InputError when the fork would apply an effect again that must not happen twice."""
    if not once:
        return
    told = [f"{one.key} (in the child {one.run})" if one.child else " = ".join((one.key, *one.others)) for one in once]
    child = once[0].child
    which = "it" if child is None else f"the child {printable(child)}"
    raise InputError(
        f"the fork would apply again what must not happen twice: {printable(', '.join(told))}",
        run=run,
        key=once[0].key,
        remedy=f"give {which} its result with --result 'KEY=JSON', or allow it with --repeat",
    )

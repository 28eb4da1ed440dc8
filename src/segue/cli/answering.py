"""`segue approve`, `deny`, `answer`, `reassign`: a person's word on a question of the inbox."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import redirect_stdout
from typing import Any

from ..core.asked import Asked, distinct, person
from ..core.shell import command
from ..errors import InputError, WrongAnswer
from ..runtime.questions import Found, closed, find, of_run
from . import inputs
from .carrying import load_if_there
from .exits import Exit
from .shelf import acting, reading
from .telling import TAKEN_WITHIN_S, Sender, held_back
from .words import first_line, printable


def approve(to: Sender, id: str, *, by: str, note: str) -> Exit:
    """Say yes."""
    found = _found(to, id)
    return _say(to, found, "approved", by, note, approved=True)


def deny(to: Sender, id: str, *, by: str, note: str) -> Exit:
    """Say no, or decline."""
    found = _found(to, id)
    return _say(to, found, "denied" if found.asked.kind == "approval" else "declined", by, note, approved=False)


def answer(to: Sender, id: str, given: str, *, by: str, note: str) -> Exit:
    """Answer a form."""
    found = _found(to, id)
    value = _value(given, found.asked.form or {})
    load_if_there(found.row, as_json=to.as_json)
    return _say(to, found, "answered", by, note, answer=value)


def reassign(to: Sender, id: str, names: list[str], *, by: str, note: str) -> Exit:
    """Ask somebody else."""
    if not any(name.strip() for name in names):
        raise InputError("reassign: --to names nobody", remedy="name who is to be asked instead: --to ada")
    found = _found(to, id)
    return _say(to, found, f"asks {', '.join(distinct(names))} instead", by, note, to=tuple(names))


def _found(to: Sender, id: str) -> Found:
    with reading(to.db, acts=True) as reader:
        return find(reader, id)


def _value(given: str, form: dict[str, Any]) -> Any:
    """What was typed, as JSON; where a text is asked for, as it stands."""
    try:
        return inputs.read_json(given, "--value")
    except InputError:
        if form.get("type") == "string" and not given.startswith(("@", "-", '"')):
            return given
        raise


def _say(sender: Sender, found: Found, done: str, by: str, note: str, **word: Any) -> Exit:
    """Send it, and look whether the run has taken it. Raises WrongAnswer where the run itself has refused it, and
    RunEnded where it had given the question up.
    """
    asked, run = found.asked, found.row.id
    with redirect_stdout(sys.stderr):  # a replay runs the flow, which may print
        asyncio.run(_send(sender, found, by=by, note=note, **word))
    now = _heard(sender, found)
    if now.end is not None and now.end.verdict == "withdrawn":  # it was given up while the word was on its way
        raise closed(found._replace(asked=now))
    if now.refused > asked.refused:
        why = next(s.note for s in reversed(now.said) if s.verdict == "refused")
        raise WrongAnswer(
            f"the run has refused it: {why}", run=run, key=asked.key, remedy=f"see {command('inbox', found.id)}"
        )
    if asked.quorum > 1 and now.word is None and now.end is None:
        done = f"{done} by {by}, and {asked.quorum} people must agree"
    whom = (
        f" (asked of {', '.join(asked.asked_of)})"
        if asked.asked_of and person(by) not in map(person, asked.asked_of) and "to" not in word
        else ""
    )
    said = f"{printable(done)}: {first_line(asked.question, 80)}{printable(whom)}"
    return sender.sent(run, said, about={"id": found.id, "key": asked.key, "done": done, "by": by})


def _heard(sender: Sender, found: Found) -> Asked:
    """The question, once a living run that has taken a word has said what became of it."""
    standing, until = sender.taken(found.row.id), time.monotonic() + TAKEN_WITHIN_S
    while True:
        with reading(sender.db) as reader:
            asked = next((f.asked for f in of_run(reader, reader.get(found.row.id)) if f.id == found.id), found.asked)
        if (
            len(asked.said) > len(found.asked.said)
            or not standing.attended
            or held_back(standing)
            or time.monotonic() > until
        ):
            return asked
        time.sleep(0.02)


async def _send(sender: Sender, found: Found, **word: Any) -> None:
    async with acting(sender.db) as engine:
        await engine.decide(found.id, bound=found.asked.bound, via="cli", **word)

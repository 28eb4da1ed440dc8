"""`segue decide`: answers what a step's Recovery has asked a person."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..core.lifecycle import ENDED
from ..core.questions import Question, open_questions
from ..core.shell import command
from ..core.short import resolve, short_key
from ..errors import AlreadyDecided, InputError, RunEnded
from ..runtime.questions import of_run
from . import inputs
from .carrying import load_if_there
from .exits import Exit
from .shelf import reading
from .telling import Sender
from .words import printable


def decide(
    to: Sender, run: str, given: str | None, result: str | None, *, retry: bool, use: str | None, fail: bool,
    by: str, why: str,
) -> Exit:  # fmt: skip
    """Say what is to become of the step."""
    if (result is not None) + retry + (use is not None) + fail != 1:
        raise InputError("decide needs one of --retry, --result JSON, --use CANDIDATE and --fail", run=run)
    value = None if result is None else inputs.read_json(result, "--result")
    with reading(to.db, acts=True) as reader:
        row = reader.get(run)
        asked = open_questions(reader.events(row))
        own = [] if asked else [found for found in of_run(reader, row) if found.open]
    if row.state in ENDED:
        remedy = f"fork it: {command('fork', run)}"
        raise RunEnded(f"the run has ended ({row.state}): nobody is asked any more", run=run, remedy=remedy)
    if own:
        remedy = f"see how: {command('inbox', own[0].id)}"
        raise InputError(f"no step of it asks; the flow does: {own[0].asked.question!r}", run=run, remedy=remedy)
    key = _asked(to, run, given, asked)
    load_if_there(row, as_json=to.as_json)
    words: dict[str, Any] = {"result": value} if result is not None else {"retry": retry, "use": use, "fail": fail}
    new = to.send(run, lambda r: r.decide(key, by=by, why=why, **words))
    if not new:
        remedy = f"see what came of it: {command('show', run, key)}"
        why = "the time of {} is over" if asked[key].over(time.time()) else "{} was decided already"
        raise AlreadyDecided(f"{why.format(short_key(key))}: nothing was sent", run=run, key=key, remedy=remedy)
    what = "is tried again" if retry else f"goes to {use}" if use else "fails" if fail else "has its answer"
    return to.sent(run, f"{printable(short_key(key))} {printable(what)}")


def _asked(to: Sender, run: str, given: str | None, asked: Mapping[str, Question]) -> str:
    """The step that is meant: it may be left out where a person is asked about just one. Raises InputError."""
    if given is None and len(asked) == 1:
        return next(iter(asked))
    key = None if given is None else resolve(given, asked, what="question", run=run)
    if key is not None:
        return key
    names = ", ".join(short_key(k) for k in asked) or "nothing"
    who = "a person is asked" if given is None else f"nobody is asked about {given!r}, but"
    other = command("override", run, given or "KEY", "--retry")
    raise InputError(
        f"{who} about {names}", run=run, remedy=f"name one of them; of an open step that nobody is asked about: {other}"
    )

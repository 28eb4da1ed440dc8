"""The whole keys of calls that people name in short, as `segue show` prints them."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Mapping
from typing import Any, cast

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.keys import name_of
from ..core.lifecycle import ENDED
from ..core.questions import Question
from ..core.shell import command
from ..core.short import is_counted, is_whole, resolve, short_key
from ..errors import InputError
from ..journal import Reader, RunRow

_QUESTION = "ask"
"""The step whose candidates are models."""


def whole(reader: Reader, row: RunRow, given: str) -> str:
    """The key of the call that is meant; what is given, where no call on record fits. Raises InputError for several."""
    if not isinstance(given, str) or is_whole(given):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        return given
    return resolve(given, _keys(reader, row), what="call", run=row.id) or given


def of_step(reader: Reader, row: RunRow, given: str) -> str:
    """The whole key of a step on record, or of what steps were made for: a delegation. Of a run that a living process
    carries out it may be one that has just begun.

    Raises InputError where the run has no such step, naming those that are most like it.
    """
    keys, given = _keys(reader, row), str(given)
    above = {key[:at] for key in keys for at, sign in enumerate(key) if sign == "/"}
    keys += sorted(filter(is_counted, above.difference(keys)))
    key = given if is_whole(given) else resolve(given, keys, what="step", run=row.id) or given
    carried = row.state not in ENDED and row.owner is not None and reader.alive(row.owner)
    if key in keys or (carried and is_whole(key)):
        return key
    near = difflib.get_close_matches(given, dict.fromkeys(map(short_key, keys)), 5, 0.0)
    what = f"; its steps: {', '.join(near)}{', …' if len(keys) > len(near) else ''}" if near else "; it has none yet"
    remedy = f"list its keys: {command('show', row.id)}"
    raise InputError(f"the run has no step {given!r}{what}", run=row.id, key=given, remedy=remedy)


def of_fork(
    reader: Reader, row: RunRow, at: str | int | None, results: Mapping[str, Any] | None
) -> tuple[str | int | None, Mapping[str, Any] | None]:
    """The same for what a fork is given."""
    begins = whole(reader, row, at) if isinstance(at, str) else at
    if not isinstance(cast(object, results), Mapping):
        return begins, results
    return begins, {whole(reader, row, key): result for key, result in (results or {}).items()}


def expect_candidate(events: Iterable[Event], asked: Question, name: str, row: RunRow, known: Container[str]) -> None:
    """Of a question that models are asked. Raises InputError where whoever has this name lacks what it needs, and where
    nobody has it, also among those who are `known`: somebody else would be asked. A step of yours may
    have candidates of its own.
    """
    from ..core.candidates import obstacle  # noqa: PLC0415  records are not loaded where nobody is named

    if not (asked.escalated and name_of(asked.key) == _QUESTION):
        return
    decided = (e for e in events if e.key == asked.key and e.type == EventType.DECISION_MADE)
    why = obstacle((loads(e.body) for e in decided), name, known)
    if why is not None:
        remedy = f"name another one: {command('show', row.id, asked.key)} says who was considered, and why not"
        raise InputError(f"{name} cannot be asked: {why}", run=row.id, key=asked.key, remedy=remedy)


def _keys(reader: Reader, row: RunRow) -> list[str]:
    """The keys on record, in a fork also those that it has from its parent. A signal's is its name, and no call's."""
    found, of, upto = dict[str, None](), row, 1 << 62
    while True:
        rows = reader.query(
            "select key from events where run = ? and seq <= ? and key is not null and type not like 'signal.%'"
            " group by key order by min(seq)", (of.no, upto),
        )  # fmt: skip
        found |= dict.fromkeys(key for (key,) in rows)
        if of.memo_run is None:
            return [key for key in found if is_counted(key)]
        of, upto = reader.get(of.memo_run), min(upto, of.memo_seq)

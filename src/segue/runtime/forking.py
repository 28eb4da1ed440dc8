"""What a fork is given: where it begins, another input, other results. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ..core.codec import Codec, as_stored, dumps, loads
from ..core.events import Event, EventType
from ..core.keys import part_in
from ..core.shell import command as shell
from ..errors import InputError
from ..journal import RunRow
from . import registry


def check_fork(run: str, at: object, results: object, input: object) -> None:
    """Raises InputError for what cannot be meant: a fork's `at` is a key or a `seq`, the others are by key and name."""
    if isinstance(at, bool) or not (at is None or isinstance(at, str | int)):
        raise InputError(
            f"fork(at={at!r}): no key of a step and no seq", run=run, remedy=f"list its keys: {shell('show', run)}"
        )
    for what, given in (("results", results), ("input", input)):
        if given is not None and not isinstance(given, Mapping):
            raise InputError(
                f"fork({what}={given!r}): not a mapping", run=run,
                remedy="give {key: result}" if what == "results" else "give {parameter: value}",
            )  # fmt: skip
    wrong = [key for key in cast("Mapping[Any, Any]", results or {}) if "#" not in str(key)]
    if wrong:
        raise InputError(
            f"fork(results=...): {wrong[0]!r} is no key of a call", run=run,
            remedy=f"a key ends with its count, name[...]#1; list them: {shell('show', run)}",
        )  # fmt: skip


def check_part(run: str, results: Mapping[str, object] | None, part: int) -> None:
    """Raises InputError for results of calls that no part makes from here on: the fork begins in this part."""
    gone = [key for key in results or {} if part_in(key) < part]
    if gone:
        raise InputError(
            f"fork(results=...): {gone[0]!r} is a call of an earlier part of the run, which has gone on as new since",
            run=run, key=gone[0], remedy=f"fork it at that step, at={gone[0]!r}, or at one of the same part",
        )  # fmt: skip


def edited_input(row: RunRow, args: bytes, changed: Mapping[str, Any]) -> bytes:
    """An input with other arguments, as a start stores it, if the flow is known here. Raises InputError."""
    given = {**loads(args), **changed}
    flow = registry.known(row.flow, row.version)
    if flow is None:
        return dumps(given)
    flow.signature.stored(dumps(given), row.id)  # whether it fits
    codecs = flow.signature.codecs
    return dumps({n: _as_stored(codecs[n], value) if n in changed else value for n, value in given.items()})


def _as_stored(of: Codec, value: Any) -> Any:
    data = dumps(value)
    return loads(as_stored(of, of.decode(data), data))


def inherited(row: RunRow, events: Iterable[Event], at: str | int | None) -> dict[str, Any]:
    """The results that a run, a fork itself, was given; not that of the step which is to be made anew.

    Other keys of that step are those that changed code has called it by, where no other call is on record by them.
    """
    asked_as, others = set[str](), set[str | None]()
    for event in events if row.replaced else ():
        if event.type != EventType.CALL_REKEYED:
            others.add(event.key)
        elif event.key == at:
            asked_as.add(loads(event.body)["asked_as"])
    anew = (asked_as - others) | {at}
    return {key: given for key, given in row.replaced.items() if key not in anew}

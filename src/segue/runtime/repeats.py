"""Which once-effects a run, with all that it has started, has begun: what a fork or another call would apply again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..core.codec import loads
from ..core.events import DELIVERED, OUTCOMES, Event, EventType
from ..core.faults import FaultKind
from ..journal import Reader, RunRow

_STARTS = (EventType.CHILD_STARTED, EventType.CHILD_DETACHED)
_ENDS = (EventType.CHILD_ENDED, EventType.STEP_CANCELLED)
_TYPES = (
    EventType.ATTEMPT_STARTED, EventType.STEP_FAILED, EventType.OPERATOR_ACTED, EventType.RUN_CONTINUED, *_STARTS,
    *_ENDS,
)  # fmt: skip
_BEGUN = (EventType.ATTEMPT_STARTED, EventType.CHILD_STARTED)
_SAID = (EventType.STEP_COMPLETED,)
"""How it ends where somebody has said what came of it."""


Forked = tuple[RunRow, Mapping[str, list[str]]]
"""A fork, and the effects that it was given results for, each with its other keys."""


class Repeat(NamedTuple):
    """A once-effect that would be applied again."""

    key: str
    """Its key; of an effect of a child `CHILDKEY/KEY`, and so on with children in turn."""
    run: str
    """The run that has begun it."""
    child: str | None = None
    """The key of the run's child that it was begun in, or below; None: the run has begun it itself."""
    others: tuple[str, ...] = ()
    """Calls on record that a person has said to be the same effect."""


def repeated(
    reader: Reader, row: RunRow, upto: int, given: Collection[str], forked: Sequence[Forked] | None = None
) -> list[Repeat]:
    """What a fork that keeps this run's events up to `upto` would apply again: the run's own once-effects that were
    begun later, and all those of the children that the fork starts anew. Not those that it is `given` a result for, nor
    what raised: nothing was applied.

    Anew are the children whose end it does not keep, unless the run gave them up, and those detached later. A detached
    child with an id of its own is the same run again. `forked` is what `_forked` gives, for whoever has read it.
    """
    forked = _forked(reader, row) if forked is None else forked
    own = list(_given_before(reader, row, upto, given, forked))
    open_, later = list[tuple[str, str]](), list[tuple[str, str]]()
    settled = set(given)  # what need not be made again
    for of, event in _history(reader, row):
        key, kept = event.key or "", event.seq <= upto
        settled.update([key] if kept and event.type in _BEGUN else ())
        if event.type == EventType.ATTEMPT_STARTED:
            if not kept and _is_once(event) and key not in given:
                own.append(Repeat(key, of.id))
        elif event.type == EventType.OPERATOR_ACTED:
            if not kept and (other := _stood_for(event)) is not None:
                own, later = _one_effect(own, of, key, other, settled), [one for one in later if one[0] != other]
        elif event.type == EventType.STEP_FAILED:
            own = own if _may_be_applied(event) else [one for one in own if one.key != key]
        elif event.type in _STARTS:
            run = str(loads(event.body)["run"])
            if event.type == EventType.CHILD_STARTED:
                if key not in given:
                    (open_ if kept else later).append((key, run))
            elif not kept and run == _named_after(of, key):
                later.append((key, run))
        elif kept or (key in dict(open_) and _was_given_up(reader, row, upto, event)):
            open_ = [one for one in open_ if event.type in _ENDS and one[0] != key]  # a new part has no children yet
    said = {e.key for key, _ in open_ for _, e in _history(reader, row, key, _SAID) if e.seq <= upto}
    anew = (
        Repeat(f"{key}/{below}", of, key)
        for key, run in dict.fromkeys([*(one for one in open_ if one[0] not in said), *later])
        for below, of in _begun_by(reader, run)
    )
    return list({one.key: one for one in (*own, *anew)}.values())


def _one_effect(own: Sequence[Repeat], row: RunRow, key: str, other: str, settled: set[str]) -> list[Repeat]:
    """A run's effects, where somebody has said that one call is the same as another: one of them is enough."""
    same = (other, *(name for one in own if one.key == other for name in one.others))
    rest = [one for one in own if one.key != other]
    if settled.isdisjoint((key, *same)):
        return [*rest, Repeat(key, row.id, others=same)]
    settled.add(key)
    return rest


def _stood_for(event: Event) -> str | None:
    """The recorded call whose effect this word of a person says that another call stands for."""
    said = loads(event.body)
    return None if said.get("act") == "retry" else said.get("in_place_of")


def _forked(reader: Reader, row: RunRow) -> list[Forked]:
    """Of a fork, and those that it was forked from: the effects that each was given results for."""
    found = _history(reader, row, types=(EventType.RUN_FORKED,))
    return [(of, loads(event.body).get("begun", {})) for of, event in found]


def _given_before(
    reader: Reader, row: RunRow, upto: int, given: Collection[str], forked: Sequence[Forked]
) -> Iterator[Repeat]:
    """Effects that this run, a fork itself, was given results for, and that a fork of it asks for anew: it keeps none
    of these, and is not given them again.
    """
    for of, begun in forked:
        for key, others in begun.items():
            known = (key, *others)
            kept = any(e.seq <= upto for k in known for _, e in _history(reader, row, k, OUTCOMES))
            if not kept and not any(k in given for k in known):
                yield Repeat(key, of.id)


class Later(NamedTuple):
    """Of the once-effects, and the children with one, that were begun after the point where a fork begins."""

    begun: Mapping[str, list[str]]
    """Those that it is given results for, in this run or in one that it was forked from; each with its other keys."""
    again: list[str]
    """The others, which it makes anew, if it is given any."""


def begun_later(reader: Reader, row: RunRow, upto: int, given: Mapping[str, str]) -> Later:
    """What of it a fork is given, or makes anew. `given` are the keys of its results, each with that on record of the
    same call.
    """
    if not given:
        return Later({}, [])
    forked = _forked(reader, row)
    begun = {_given_as(one, given): list[str]() for one in repeated(reader, row, upto, (), forked)}
    for _, before in forked:
        begun |= before
    known = {key: sorted({*begun[key], *_others(key, given)}) for key in sorted(begun) if key in given}
    return Later(known, sorted(begun.keys() - known.keys()) if known else [])


def _given_as(one: Repeat, given: Collection[str]) -> str:
    """The key that a fork is given the effect's result by, if it is: of several calls of one effect any will do."""
    return next((key for key in (one.key, *one.others) if key in given), one.child or one.key)


def _others(key: str, given: Mapping[str, str]) -> set[str]:
    return {other for other, known in given.items() if known == key != other}


def applies_once(reader: Reader, row: RunRow, key: str) -> bool:
    """Whether the child of this key on record, or a run below it, has begun a once-effect, or stands for one that has
    done so.
    """
    if any(_stood_for(event) for _, event in _history(reader, row, key, (EventType.OPERATOR_ACTED,))):
        return True
    runs = [str(loads(e.body)["run"]) for _, e in _history(reader, row, key) if e.type in _STARTS]
    return any(True for run in runs for _ in _begun_by(reader, run))


def _begun_by(reader: Reader, run: str) -> Iterator[tuple[str, str]]:
    """The keys of the once-effects that a run and those below it have begun, each with the run that did; not of those
    that raised.
    """
    todo = [("", run)]
    while todo:
        path, run = todo.pop()
        row, below, own = reader.find(run), list[tuple[str, str]](), dict[str, str]()
        for of, event in () if row is None else _history(reader, row):
            key = event.key or ""
            if event.type == EventType.ATTEMPT_STARTED and _is_once(event):
                own[path + key] = of.id
            elif event.type == EventType.STEP_FAILED and not _may_be_applied(event):
                own.pop(path + key, None)
            elif event.type in _STARTS:
                child = str(loads(event.body)["run"])
                if event.type == EventType.CHILD_STARTED or child == _named_after(of, key):
                    below.append((f"{path}{key}/", child))
        yield from own.items()
        todo += reversed(below)


def _history(
    reader: Reader, row: RunRow, key: str | None = None, types: Collection[str] = _TYPES
) -> Iterator[tuple[RunRow, Event]]:
    """What tells of effects and children in a run's journal, those of the runs that it was forked from first."""
    chain, until = [(row, 1 << 62)], row.memo_seq
    while chain[-1][0].memo_run is not None:
        above = reader.get(chain[-1][0].memo_run)
        chain.append((above, until))
        until = min(until, above.memo_seq)
    for of, last in reversed(chain):
        with reader.reads(of):
            for event in reader.of_run(of.no, types, key):
                if event.seq <= last:
                    yield of, event


def _was_given_up(reader: Reader, row: RunRow, upto: int, event: Event) -> bool:
    """Whether a call was given up for what the flow had seen by then, though it is on record a little later."""
    later = reader.events(row, upto, event.seq)
    return event.type == EventType.STEP_CANCELLED and not any(e.type in DELIVERED for e in later)


def _may_be_applied(failed: Event) -> bool:
    """Whether a step failed because its process ended, and not by its own word."""
    return loads(failed.body).get("fault", {}).get("kind") == FaultKind.INTERRUPTED


def _is_once(event: Event) -> bool:
    return loads(event.body).get("effect") == "once"


def _named_after(row: RunRow, key: str) -> str:
    """The id of a child that was given none."""
    return f"{row.id}/{key}"

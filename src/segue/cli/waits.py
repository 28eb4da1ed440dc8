"""One thing that a run waits for, and the next thing to do about it, as a command to copy. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core.asked import is_question, ticket
from ..core.short import short_key
from ..runtime.status import NOTED_MAX
from .wheres import children
from .words import ago, clock, due, first_line, plural, printable

Say = Callable[..., str]
CHILDREN_MAX = 3
"""Of more children than these it is told how many they are."""

_BELLS = {
    "reminder": "They are reminded", "reassignment": "It goes on to somebody else", "limit": "Its time is over",
}  # fmt: skip
"""What a question's own timers bring."""


class Advice(NamedTuple):
    """One thing that holds a run up, and commands that help: `(command, what it is for)`."""

    says: str
    do: tuple[tuple[str, str], ...] = ()


def told_of(waits: Sequence[dict[str, Any]], children: int, *, below: bool) -> list[dict[str, Any]]:
    """What is told of what a run waits for: of many `children` the first three, and how many more they are; with
    `below`, where they are told of anyway, only how many they are.
    """
    named = [w for w in waits if "child" in w]
    children = max(children, len(named))
    if not named or children <= CHILDREN_MAX:
        return list(waits)
    some = [] if below else named[:CHILDREN_MAX]
    rest = {"children": children, "named": len(some), "below": below}
    at = waits.index(named[0])
    return [*waits[:at], *some, rest, *(w for w in waits[at:] if "child" not in w)]


def wait(waits: dict[str, Any], run: str, now: float, say: Say) -> Advice:
    """One thing that a run waits for."""
    if "children" in waits:
        return _many(waits, run, say)
    if is_question(str(waits.get("signal", ""))):
        return _waits_for_a_person(str(waits["signal"]), run, say)
    if "service" in waits:
        return _is_served(waits, run, now, say)
    return (_asks if "person" in waits else _waits_for)(waits, run, now, say)


def _waits_for(waits: dict[str, Any], run: str, now: float, say: Say) -> Advice:
    key = short_key(str(waits.get("key", "")))
    if "signal" in waits:
        name = str(waits["signal"])
        do = ((say("signal", run, name, "--payload", "JSON"), "to send it"),)
        return Advice(f"It waits for the signal {printable(name)!r}.", do)
    if "child" in waits or "turn" in waits:
        return _waits_for_a_run(waits, say)
    if "retry" in waits:
        return Advice(f"{key} failed and is tried again {due(waits['retry'] or now, now)}.")
    if "unknown" in waits:
        how = f"nobody knows whether it was applied ({first_line(str(waits['unknown']), 160)})"
        return Advice(f"{key}: {how}.", settles(run, str(waits["key"]), say))
    if "step" in waits:
        return Advice(f"{key} is running.")
    at = time_of(waits)
    return Advice(f"It waits for {key or waits}." if at is None else _timed(waits, at, now))


def _waits_for_a_run(waits: dict[str, Any], say: Say) -> Advice:
    if "child" in waits:
        child = str(waits["child"])
        return Advice(f"It waits for its child {printable(child)}.", ((say("show", child), "to look at it"),))
    turn = str(waits["turn"])
    said = f"It waits for the turn {printable(turn)}, which comes before it in its thread."
    return Advice(said, ((say("show", turn), "to see what that one waits for"),))


def _many(waits: dict[str, Any], run: str, say: Say) -> Advice:
    count = int(waits["children"]) - int(waits["named"])
    what = f"{'more ' if waits['named'] else ''}{'child' if count == 1 else 'children'}"
    do = () if waits["below"] else ((children(run, int(waits["children"]), say), "to see them all"),)
    return Advice(f"It waits for {count:,} {what}.", do)


def _timed(waits: dict[str, Any], at: float, now: float) -> str:
    """What comes in its time."""
    why = next(k for k in waits if k != "key")
    if why in _BELLS:
        return f"{_BELLS[why]} {due(at, now)}."
    runs_out = f"{short_key(str(waits.get('key', '')))} runs out {due(at, now)}."
    return f"It sleeps: {due(at, now)}." if why == "sleep" else runs_out


def _waits_for_a_person(name: str, run: str, say: Say) -> Advice:
    """A question of the flow's own."""
    id_ = ticket(run, name)
    call, _, rest = name.partition(":")
    do = [(say("inbox", id_), "to see what is asked")]
    if call == "approve":
        do += [(say("approve", id_), "yes"), (say("deny", id_), "no")]
    else:
        do.append((say("answer", id_, "--value", "JSON"), "to answer"))
    return Advice(f"It waits for a person: {printable(rest.rpartition('#')[0])!r}.", tuple(do))


def _asks(waits: dict[str, Any], run: str, now: float, say: Say) -> Advice:
    """A question to a person, and the words that they may say."""
    key, until = str(waits.get("key", "")), waits.get("due_at")
    limit = f", {due(until, now)} the default holds" if isinstance(until, int | float) else ""
    do = (
        (say("decide", run, key, "--retry"), "to try it again"),
        (say("decide", run, key, "--result", "JSON"), "to give its result"),
        (say("decide", run, key, "--use", "NAME"), "to try another model or candidate"),
        (say("decide", run, key, "--fail"), "to let it fail"),
    )
    return Advice(f"{short_key(key)} failed and waits for the word of {printable(str(waits['person']))}{limit}.", do)


def _is_served(waits: dict[str, Any], run: str, now: float, say: Say) -> Advice:
    """A batch, or whatever else takes its time."""
    key, until, far = str(waits.get("key", "")), waits.get("due_at"), waits.get("batch")
    limit = _without(until, now) if isinstance(until, int | float) else ""
    twice = ""
    if far is not None and (far["sent_at"] is not None or far["tried"]):
        twice = ", which is paid twice" if far["sent_at"] is not None else ", which may be paid twice"
    do = ((say("decide", run, key, "--retry"), f"to take it back and ask again{twice}"),)
    wrong = "" if far is None or not far["complaint"] else f" It met last: {first_line(far['complaint'], 160)}."
    says = f"{short_key(key)} waits for {printable(str(waits['service']))}{_far(far, now)}{limit}."
    return Advice(says + printable(wrong).replace("..", "."), do)


def _without(until: float, now: float) -> str:
    """When a batch is waited for no more."""
    return f"; it goes on without it {due(until, now)}" if until > now else f"; its time was over {ago(now - until)}"


def _far(batch: dict[str, Any] | None, now: float) -> str:
    """How far a batch is, where the outbox says so."""
    if batch is None:
        return ""
    if batch["sent_at"] is None and batch["tried"]:
        return ", which the provider may have, and has not said so"
    if batch["sent_at"] is None:
        vain = f", which was not taken yet ({plural(batch['tries'], 'attempt')})"
        return vain if batch["tries"] else ", which is still collected"
    return f", submitted {clock(batch['sent_at'], now)}, {batch['done']} of {batch['total']} done"


def brief(waits: Sequence[dict[str, Any]], now: float) -> str:
    """What a run waits for, in a few words: for a list."""
    words: list[str] = []
    for one in waits:
        at = time_of(one)
        if "signal" in one and is_question(one["signal"]):
            words.append(f"a person: {one['signal'].partition(':')[2].rpartition('#')[0]}")
        elif "signal" in one:
            words.append(f"signal {one['signal']}")
        elif "turn" in one:
            words.append(f"turn {one['turn']}")
        elif "child" in one:
            words.append(f"child {one['child']}")
        elif "person" in one:
            words.append(f"{one['person']}'s word on {short_key(str(one.get('key', '')))}")
        elif "service" in one:
            words.append(str(one["service"]))
        elif "retry" in one:
            words.append(f"retry of {short_key(str(one.get('key', '')))}")
        elif "step" in one:
            words.append(short_key(str(one["step"])))
        elif at is not None and next(iter(one)) in _BELLS:
            continue
        elif at is not None:
            words.append(f"time {due(at, now)}" if "sleep" in one else f"limit {due(at, now)}")
    more = " and more" if len(waits) >= NOTED_MAX else f" and {len(words) - 3} more" if len(words) > 3 else ""
    return printable(", ".join(words[:3]) + more)


def time_of(waits: dict[str, Any]) -> float | None:
    """When it comes by itself; None for what does not."""
    return next((v for k, v in waits.items() if k != "key" and isinstance(v, int | float)), None)


def settles(run: str, key: str, say: Say, what: str = "it") -> tuple[tuple[str, str], ...]:
    """What settles whether an effect was applied."""
    return (
        (say("override", run, key, "--result", "JSON"), f"if {printable(what)} was applied"),
        (say("override", run, key, "--retry"), f"if {printable(what)} was not"),
    )

"""What a run waits for, and the next thing to do, as a command to copy. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.asked import Said
from ..core.codec import loads
from ..core.lifecycle import ENDED, RunState, StuckReason
from ..core.short import short_key
from ..journal import Item, RunRow, Switch
from ..journal.damage import REMEDY
from ..runtime.ending import Ending
from ..runtime.lacking import Lack
from ..runtime.nearly import nearly, told
from ..runtime.status import NOTED_MAX, noted_waits
from . import left
from .story import Stand, Story
from .waits import Advice, Say, settles, time_of, told_of, wait
from .words import ago, due, first_line, printable

if TYPE_CHECKING:
    from ..models.batches import Progress

_ORDER = ("person", "signal", "service", "child", "retry", "step", "sleep")
_MOVING = (RunState.QUEUED, RunState.RUNNING)
_PAUSABLE = (RunState.PARKED, RunState.QUEUED, RunState.RUNNING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """All that is known of a run from outside.

    `alive` says whether the process that owns it lives, `attended` whether any that could take it up does.
    """

    row: RunRow
    story: Story
    alive: bool = False
    silent_s: float | None = None
    """For how long the process that owns it was not heard of; None where it is heard of, or gone."""
    attended: bool = False
    posts: Sequence[Item] = field(default=())
    """What was sent and not yet taken."""
    held: Switch | None = None
    """The switch that holds it: its flow, or the engine, is paused."""
    lack: Lack | None = None
    """That it is ready, and no living process knows its flow."""
    ahead: str | None = None
    """The earlier turn of its thread that it waits for."""
    answered: Mapping[str, Said] = field(default_factory=dict[str, Said])
    """Words that decide questions of the flow's own, by signal, and that it has not taken up yet."""
    ending: Ending | None = None
    """That it was asked to end, and nobody has taken that up yet."""
    left: Sequence[left.Left] = ()
    """What is open below it, of one that has ended."""
    batches: Mapping[str, Progress] = field(default_factory=dict[str, "Progress"])
    """How far the batches are that its steps wait for, by key."""

    @property
    def owned(self) -> bool:
        """Whether a living process carries it out."""
        return self.row.owner is not None and self.alive

    @property
    def hung(self) -> bool:
        """Whether the process that owns it lives, and seems to hang."""
        return self.owned and self.silent_s is not None and self.row.state in _MOVING

    @property
    def nearly(self) -> dict[str, Any] | None:
        """Why it is about to be set aside, if it is."""
        return nearly(self.row) if self.owned else None

    @property
    def pid(self) -> str:
        """The process that owns it."""
        return (self.row.owner or "").partition("-")[0]

    @property
    def state(self) -> str:
        """The state as a reader means it: `interrupted` and `paused` say more than the row."""
        row = self.row
        if (row.paused or self.held is not None) and row.state in _PAUSABLE:
            return "paused"
        if self.lack is not None:
            return "no worker"
        return "interrupted" if row.state == RunState.RUNNING and not self.owned else row.state

    @property
    def waits(self) -> list[dict[str, Any]]:
        """What it waits for: as it said when it came to rest, else what its journal shows to be open."""
        if self.row.state in ENDED or self.row.state == RunState.STUCK or self.ending is not None:
            return []
        if self.ahead is not None:
            return [{"turn": self.ahead}]
        if self.nearly is not None:
            return [w for w in self.row.detail["waits_on"] if self.story.is_open(w["key"])]
        said = noted_waits(self.story.waits) or [_wait_of(c.key, c) for c in self.story.calls.values() if c.open]
        said = [{**w, "batch": self.batches[w["key"]]._asdict()} if w.get("key") in self.batches else w for w in said]
        return sorted(said, key=lambda w: next((n for n, kind in enumerate(_ORDER) if kind in w), len(_ORDER)))


def _wait_of(key: str, call: Any) -> dict[str, Any]:
    if call.question:
        return {"signal": call.question, "key": key}
    if call.kind == "timer":
        return {call.why or "sleep": call.due_at, "key": key}
    if call.kind == "child":
        return {"child": call.child, "key": key}
    if call.stand is Stand.ASKING:
        return {"service" if call.service else "person": call.asks, "key": key} | (
            {} if call.due_at is None else {"due_at": call.due_at}
        )
    return {"retry": call.due_at, "key": key} if call.stand is Stand.RETRYING else {"step": key, "key": key}


def advise(standing: Standing, now: float, say: Say, *, below: bool = False) -> list[Advice]:
    """Everything that holds the run up, what matters most first; of a run that has ended, what it has left open.

    `below`: its children are told of beside it, so that it is not said of many which they are.
    """
    row = standing.row
    if row.state in ENDED:
        return [Advice(*one) for one in left.told(standing.left, say)]
    found = _held(standing, say)
    if row.state == RunState.STUCK:
        found += _stuck(standing, say)
    else:
        found += _waiting(standing, now, say, below=below)
    posts = [p for p in standing.posts if p.kind != "cancel" or standing.ending is None]
    found += [_sent(one, standing, now, say) for one in posts if one.name not in standing.answered]
    return found


def _held(standing: Standing, say: Say) -> list[Advice]:
    row, story = standing.row, standing.story
    held: list[Advice] = []
    if row.paused:
        who = f" by {printable(story.paused_by)}" if story.paused_by else ""
        held.append(Advice(f"It is paused{who}.", ((say("resume", row.id), "to go on"),)))
    if standing.held is not None:
        held.append(held_by(standing.held, row.id, say))
    if standing.lack is not None:
        held.append(Advice(f"It is ready, and {standing.lack.message}.", _found_again(standing, say)))
    if story.cancelling:
        who = f" ({printable(story.cancelled_by)})" if story.cancelled_by else ""
        held.append(Advice(f"It is being cancelled{who}: the flow cleans up."))
    elif standing.ending is not None:
        do = ((say("resume", row.id), "to let it clean up"),) if standing.ending.remedy else ()
        held.append(Advice(f"It is {printable(standing.ending.message)}.", do))
    if standing.nearly is not None:
        held.append(Advice(f"It is {first_line(told(standing.nearly))}.".replace("..", ".")))
    if standing.hung:
        ends = (f"kill -9 {standing.pid}", "or to end it, where it keeps the file locked: nothing is lost")
        held.append(Advice(f"{hangs(standing)}.", ((say("resume", row.id), "to take it over, unless it stirs"), ends)))
    gone = _gone(standing)
    if gone:
        why = "to wait for its batch, and go on" if standing.batches else "to go on"
        held.append(Advice(gone, ((say("resume", row.id), why),)))
    return held


def hangs(standing: Standing) -> str:
    """That the process which carries it out seems to hang."""
    return f"Its process {standing.pid} seems to hang: it was last heard of {ago(standing.silent_s or 0)}"


def held_by(switch: Switch, run: str, say: Say) -> Advice:
    """What a run that a switch holds waits for."""
    words = ("--all",) if switch.flow is None else ("--flow", switch.flow)
    do = ((say("resume", run), "to let this run go on"), (say("resume", *words), "to let all of them go on"))
    return Advice(f"It is paused with {named(switch)}.", do)


def _found_again(standing: Standing, say: Say) -> tuple[tuple[str, str], ...]:
    """What helps a run whose flow is missing."""
    lack, row = standing.lack, standing.row
    if lack is not None and "version=" in lack.remedy:
        return ((say("resume", row.id), f"once you {first_line(lack.remedy)}"),)
    return ((say("resume", row.id), "where its module can be imported"),)


def named(switch: Switch) -> str:
    """What a switch holds, by whom and why."""
    who = ": ".join(filter(None, (switch.by, switch.why)))
    what = "the engine" if switch.flow is None else f"flow {switch.flow}"
    return printable(f"{what} ({who})" if who else what)


def _gone(standing: Standing) -> str:
    """That nobody is there who would carry it out; empty where somebody is, or nobody is needed."""
    row = standing.row
    held = standing.held or standing.lack or standing.ahead
    if row.paused or standing.owned or held is not None:
        return ""
    if row.state == RunState.PARKED:
        timed = any(time_of(w) is not None for w in standing.waits)
        return "No process is there to go on with it." if timed and not standing.attended else ""
    if row.state == RunState.RUNNING:
        return "Its process is gone."
    return "No process carries it out." if row.state == RunState.QUEUED else ""


def _waiting(standing: Standing, now: float, say: Say, *, below: bool) -> list[Advice]:
    gone = (standing.row.state in _MOVING or standing.row.paused) and not standing.owned
    over = [str(w.get("key")) for w in standing.waits if w.get("signal") in standing.answered]
    found = [w for w in standing.waits if not (gone and "step" in w) and not _timer_of(w, over)]
    waits = told_of(found, sum(c.open and c.kind == "child" for c in standing.story.calls.values()), below=below)
    said = [standing.answered.get(str(w.get("signal"))) for w in waits]
    told = [
        wait(w, standing.row.id, now, say) if word is None else _answered(w, word, standing, now, say)
        for w, word in zip(waits, said, strict=True)
    ]
    more: list[Advice] = []
    if len(standing.story.waits) > NOTED_MAX and waits == found:
        more.append(Advice(f"Of what it waits for, {NOTED_MAX} are noted; there are more."))
    again = [w for w, word in zip(waits, said, strict=True) if "retry" in w and word is None]
    if len(again) <= 1:
        return told + more
    soonest = min(float(w["retry"] or now) for w in again)
    summed = Advice(f"{len(again)} calls failed and are tried again, the first one {due(soonest, now)}.")
    return [summed, *(one for one, w in zip(told, waits, strict=True) if w not in again), *more]


def _timer_of(waits: dict[str, Any], keys: Sequence[str]) -> bool:
    """Whether it is a timer of one of these questions."""
    return any(str(waits.get("key")).startswith(f"{key}/") for key in keys)


def _answered(waits: dict[str, Any], word: Said, standing: Standing, now: float, say: Say) -> Advice:
    """That somebody has spoken: nobody else is asked."""
    question = printable(str(waits["signal"]).partition(":")[2].rpartition("#")[0])
    said = f"{question!r} was {word.verdict} by {printable(word.by) or 'somebody'} {ago(now - word.at)}"
    do = () if standing.attended or _gone(standing) else ((say("resume", standing.row.id), "to go on with it here"),)
    return Advice(f"{said}; whoever carries the run out takes that up.", do)


def _stuck(standing: Standing, say: Say) -> list[Advice]:
    row = standing.row
    detail = row.detail or standing.story.stuck
    reason, key, run = detail.get("reason", ""), detail.get("key") or "", row.id
    says = f"It is set aside ({reason}): {first_line(str(detail.get('message', '')))}."
    resume = (say("resume", run), "to try again")
    match reason:
        case StuckReason.UNKNOWN_EFFECT:
            do = ()
        case StuckReason.MISMATCH if "asks" in detail:
            do = (
                (say("override", run, detail["asks"], "--result", "JSON"), "if it is the same effect: what it gives"),
                (say("override", run, detail["asks"], "--retry"), "if it is another one, to be applied"),
                (resume[0], "after that, or once the code is right"),
            )
        case StuckReason.MISMATCH:
            do = ((resume[0], "once the code is right"), (say("fork", run, "--at", key), "to make it anew from there"))
        case StuckReason.UNDECODABLE if detail.get("remedy") == REMEDY:
            do = ((resume[0], "once the database is restored from a copy"),)
        case StuckReason.UNDECODABLE:
            upcast = ", or upcast= does" if "upcast" in str(detail.get("remedy")) else ""
            do = ((resume[0], f"once the type reads the value again{upcast}"),)
        case StuckReason.CRASHES:
            do = ((resume[0], "once you know what ends the process"),)
        case _:
            do = (resume,)
    first = [key] if reason == StuckReason.UNKNOWN_EFFECT else []
    doubted = sorted({*first, *standing.story.stuck.get("unknown", {})})
    for one in doubted:
        do += settles(run, one, say, "it" if doubted == [key] else short_key(one))
    return [Advice(says.replace("..", "."), do)]


def _sent(item: Item, standing: Standing, now: float, say: Say) -> Advice:
    what, later = f"{item.kind} {item.name}".strip(), item.kind == "signal" and standing.state == "paused"
    then = "taken when the run goes on" if later else "not yet taken"
    said = f"{printable(what)!s} was sent {ago(now - item.at)} and is {then}."
    if item.kind == "decide" and loads(item.body or b"{}").get("by") == "segue:batch":
        said = f"The batch has answered {short_key(item.name)} {ago(now - item.at)}; nobody has read it yet."
    takes = standing.attended or later
    takes |= standing.row.state == RunState.STUCK and item.kind not in ("resume", "override", "cancel")
    return Advice(said, () if takes else ((say("resume", standing.row.id), "to let the run take it"),))

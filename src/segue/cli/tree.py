"""Draws a run: its head, the tree of its calls, what it came to, what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..core.events import EventType
from ..core.lifecycle import RunState
from ..core.short import short_key
from .advice import Standing, advise
from .answered import answer_rows, answered, arguments, line_of
from .decided import chosen_in, decisions_drawn
from .faults import trace_of
from .paint import Drawn, advised, glyph, pairs, stated
from .story import Branch, Call, Stand, Story
from .summed import line_of_summary
from .waits import Say
from .words import ago, clock, due, duration, first_line, plural, pretty, printable, shorten, value

WHOLE = 100_000
LEVEL_MAX = 30
"""Calls of one level that are drawn; of more, those in the middle that are done are counted."""


class Line(NamedTuple):
    """One row of the tree: `guides` are the lines that lead to it."""

    guides: str
    name: str
    call: Call | None
    omitted: int = 0


def shown(standing: Standing, now: float, say: Say, *, full: bool = False) -> list[Drawn]:
    """All of a run, for a terminal."""
    story = standing.story
    drawn: list[Drawn] = [_title(standing), Text(_facts(standing, now), "dim"), *_heads(standing, full), ""]
    if story.calls:
        drawn += [tree(story, now, full=full, gone=not standing.owned), ""]
    drawn += _ended(standing, full)
    advice = advise(standing, now, say)
    if advice:
        drawn += [*advised(advice), ""]
    return drawn[:-1] if drawn[-1] == "" else drawn


def tree(story: Story, now: float, *, full: bool = False, gone: bool = False) -> RenderableType:
    """The calls by scope, one row each: sign, name, time, what came of it."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=None if full else 46)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(ratio=1, no_wrap=not full, overflow="fold" if full else "ellipsis")
    for line in _lines(story.tree(), "", full):
        if line.call is None:
            said = f"… {plural(line.omitted, 'more call')}, done" if line.omitted else short_key(line.name)
            table.add_row(Text(line.guides, "dim").append(printable(said), "dim"), "", "")
            continue
        call = line.call
        name = Text(line.guides, "dim").append_text(glyph(_stand(call, gone))).append(" ")
        name.append_text(_named(printable(line.name if full else short_key(line.name)), call))
        table.add_row(name, Text(_took(call, now), "dim"), came_of(call, now, gone=gone, width=WHOLE if full else 200))
    return table


def came_of(call: Call, now: float, *, gone: bool = False, width: int = 200) -> Text:
    """What came of a call, in one line."""
    text = Text()
    match _stand(call, gone):
        case Stand.DONE if call.kind == "timer":
            text.append(f"{call.why or 'timer'} is over", "dim")
        case Stand.DONE:
            text.append_text(chosen_in(call) or _said(call, width))
        case Stand.FAILED:
            text.append(_fault(call, width) or "failed", "red")
        case Stand.RETRYING:
            again = due(call.due_at, now) if call.due_at is not None else ""
            text.append(f"again {again}".strip(), "yellow").append(f"  {_last_failure(call)}", "red")
        case Stand.ASKING:
            text.append(f"asks {printable(call.asks)}", "yellow")
            text.append(f"  {_last_failure(call)}", "red").append(first_line(call.why))
        case Stand.WAITING:
            text.append(due(call.due_at, now) if call.due_at is not None else "waiting", "yellow")
        case Stand.INTERRUPTED:
            text.append("interrupted", "yellow")
        case Stand.RUNNING if call.child:
            pass
        case Stand.CANCELLED:
            text.append(_not_made(call), "dim")
        case _:
            text.append("running", "cyan")
    if call.child:
        text.append(f"{'  ' if text else ''}as {printable(call.child)}", "dim")
    for note in call.notes:
        text.append(f"  {printable(note)}", "dim italic")
    return text


def _not_made(call: Call) -> str:
    if call.kind == "tool":
        return f"not made: {first_line(call.why)}"
    return "not needed any more" if call.kind == "timer" else "cancelled"


def one_call(call: Call, now: float) -> list[Drawn]:
    """One call with everything: arguments, every failed attempt, the error's traceback, the whole value."""
    rows: list[tuple[str, RenderableType]] = [("key", Text(printable(call.key))), ("state", stated(call.stand))]
    if call.began is not None:
        rows.append(("began", Text(clock(call.began, now))))
    if call.ended is not None and call.began is not None:
        rows.append(("took", Text(duration(call.ended - call.began))))
    if call.attempts:
        rows.append(("attempts", Text(str(call.attempts))))
    if call.child:
        rows.append(("child", Text(printable(call.child))))
    if call.effect:
        rows.append(("effect", Text(call.effect)))
    if call.args is not None:
        rows.append(("arguments", Text(arguments(call.key, call.args))))
    for n, fault in call.failures:
        rows.append((f"attempt {n}", Text(f"{_short_type(fault.error)}: {fault.message}", "red")))
    answer = answered(call.key, call.value)
    if answer is not None:
        rows += answer_rows(answer)
    elif call.value is not None:
        rows.append(("result", Text(pretty(call.value))))
    rows += [("note", Text(printable(note))) for note in call.notes]
    drawn: list[Drawn] = [pairs(rows), *decisions_drawn(call)]
    if call.fault is not None:
        trace = trace_of(call.fault)
        drawn += ["", Text(trace.rstrip() or f"{call.fault.error}: {call.fault.message}", "red")]
    return drawn


def _title(standing: Standing) -> Text:
    row = standing.row
    title = Text(printable(row.id), "bold").append("  ").append_text(stated(standing.state))
    return title.append(f"  {printable(row.flow)}", "dim").append(f" v{row.version}" if row.version != 1 else "", "dim")


def _facts(standing: Standing, now: float) -> str:
    row, story = standing.row, standing.story
    ended = story.end.at if story.end is not None else None
    facts = [f"accepted {clock(row.created_at, now)} ({ago(now - row.created_at)})"]
    if ended is not None:
        facts.append(f"took {duration(ended - row.created_at)}")
    facts.append(plural(story.last_seq, "event"))
    if story.starts > 1:
        facts.append(f"taken up again {plural(story.starts - 1, 'time')} after a crash")
    if (cost := story.spending.of()) is not None:
        facts.append(cost.said)
    if standing.owned and row.state == RunState.RUNNING:
        facts.append(f"in process {standing.pid}")
    return ", ".join(facts)


def _heads(standing: Standing, full: bool) -> list[Drawn]:
    row, story = standing.row, standing.story
    rows: list[tuple[str, RenderableType]] = []
    if story.args not in (None, b"{}"):
        rows.append(("input", Text(value(story.args, WHOLE if full else 300))))
    if story.part:
        rows.append(("part", Text(f"{story.part + 1}  {value(story.part_args or b'{}', WHOLE if full else 300)}")))
    if row.parent:
        rows.append(("parent", Text(printable(row.parent))))
    if story.fork_of:
        at = short_key(str(story.fork_at)) if story.fork_at is not None else "its end"
        rows.append(("fork of", Text(printable(f"{story.fork_of} at {at}, {plural(row.memo_seq, 'event')} kept"))))
    if row.replaced:
        rows.append(("replaced", Text(printable(", ".join(short_key(k) for k in row.replaced)))))
    return [pairs(rows)] if rows else []


def _ended(standing: Standing, full: bool) -> list[Drawn]:
    story = standing.story
    drawn: list[Drawn] = []
    if story.end is not None and story.end.type == EventType.RUN_COMPLETED:
        text = pretty(story.end.value or b"null") if full else value(story.end.value or b"null", 600)
        drawn += [pairs([("result", Text(text, "green"))]), ""]
    fault = story.fault
    if fault is not None:
        drawn += [*failed(fault.error, fault.message, trace_of(fault)), ""]
    if story.end is not None and story.end.type == EventType.RUN_CANCELLED and story.cancelled_by:
        drawn += [Text(f"Cancelled{printable(story.cancelled_how)}", "dim"), ""]
    notes = story.feedback + [f"orphaned: {short_key(k)}" for k in story.orphans]
    if notes:
        drawn += [*(Text(printable(n), "dim") for n in notes), ""]
    return drawn


def failed(error: str, message: str, trace: str) -> list[Drawn]:
    """An error that ended a run, with the user's own traceback."""
    if not trace:
        return [Text("✗ ", "red").append(f"{_short_type(error)}: {message}", "red")]
    lines = trace.rstrip().splitlines()
    last = max(n for n, line in enumerate(lines) if n == 0 or not line.startswith(" "))
    return [Text("\n".join(lines[:last]), "dim"), Text("\n".join(lines[last:]), "red")]


def _said(call: Call, width: int) -> Text:
    """The result of a call, in a line."""
    if (summary := line_of_summary(call.key, call.value, width)) is not None:
        return summary
    answer = answered(call.key, call.value)
    return Text(value(call.value, width)) if answer is None else line_of(answer, width)


def _short_type(error: str) -> str:
    return error.rpartition(":")[2]


def _lines(branch: Branch, guides: str, full: bool) -> Iterator[Line]:
    below = _ordered(branch)
    kept = below if full else _without_the_middle(below)
    skipped = len(below) - len(kept)
    for at, one in enumerate(kept):
        last = at == len(kept) - 1
        if skipped and at == LEVEL_MAX // 2:
            yield Line(f"{guides}{'├ ' if branch.name or guides else ''}", "", None, skipped)
        name, chain = one.name, one
        while chain.call is None and len(chain.below) == 1:
            chain = next(iter(chain.below.values()))
            name = f"{name}/{chain.name}"
        own, under = ("", "") if not branch.name and not guides else (("└ ", "  ") if last else ("├ ", "│ "))
        yield Line(guides + own, name, chain.call)
        if chain.below:
            yield from _lines(chain, guides + under, full)


def _ordered(branch: Branch) -> list[Branch]:
    """Branches of a `gather` by their number, everything else as it was seen."""
    below = list(branch.below.values())
    return sorted(below, key=lambda b: int(b.name)) if all(b.name.isdecimal() for b in below) else below


def _without_the_middle(below: list[Branch]) -> list[Branch]:
    if len(below) <= LEVEL_MAX:
        return below
    half = LEVEL_MAX // 2
    middle = [b for b in below[half:-half] if any(c.stand is not Stand.DONE for c in b.calls())]
    return [*below[:half], *middle, *below[-half:]]


def _stand(call: Call, gone: bool) -> Stand:
    """A step that runs in a process that is gone does not run."""
    return Stand.INTERRUPTED if gone and call.stand is Stand.RUNNING and call.kind == "step" else call.stand


def _named(name: str, call: Call) -> Text:
    bold = "dim" if call.kept or call.stand is Stand.CANCELLED else ""
    head, bracket, rest = name.partition("[")
    if call.kind == "signal":
        return Text(f"signal {printable(call.key)}", bold)
    text = Text(head, bold)
    if bracket:
        text.append(shorten(bracket + rest, 30), "dim")
    if call.effect:
        text.append(f" {call.effect}", "cyan")
    if call.attempts > 1:
        text.append(f" ×{call.attempts}", "yellow")
    return text


def _took(call: Call, now: float) -> str:
    if call.kind == "signal" or call.began is None:
        return ""
    if call.ended is not None:
        return duration(call.ended - call.began)
    return duration(now - call.began) if call.stand is Stand.RUNNING else ""


def _fault(call: Call, width: int) -> str:
    if call.fault is None:
        return ""
    return f"{_short_type(call.fault.error)}: {first_line(call.fault.message, width)}"


def _last_failure(call: Call) -> str:
    if not call.failures:
        return ""
    fault = call.failures[-1][1]
    return f"{_short_type(fault.error)}: {first_line(fault.message)}"

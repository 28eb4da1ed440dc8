"""`segue inbox`: what waits for people, what is due first at the top; and one question in full."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields as fields_of
from typing import Any, cast

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..core.asked import Said
from ..core.keys import name_of
from ..core.shell import command
from ..core.short import short_key
from ..runtime.questions import InboxItem, find, item_of
from ..runtime.questions import inbox as waiting
from . import forms
from .columns import Middle
from .exits import Exit
from .paint import Copyable, Drawn, emit, out, pairs, tell
from .shelf import reading
from .waits import Say
from .words import age, ago, due, first_line, harmless, plural, pretty, printable, shorten, until

KINDS = {"approval": ("?", "cyan"), "form": ("✎", "cyan"), "escalation": ("!", "yellow"), "other": ("!", "yellow")}
_NARROW = 72
"""Columns of a terminal that has no room for everything."""
SOON_S = 3600.0
"""What is due within this time stands out."""


def inbox(db: str, for_: str | None, limit: int, as_json: bool) -> Exit:
    """List what waits for people."""
    with reading(db) as reader:
        items = waiting(reader, for_=for_)
    if as_json:
        print(json.dumps([as_json_of(item) for item in items[:limit]], ensure_ascii=False, indent=2))
        return Exit.DONE
    if not items:
        tell(Text(f"Nothing waits for {printable(for_)}." if for_ else f"Nothing waits for anybody in {db}.", "dim"))
        return Exit.DONE
    console, say = out(), command
    emit(console, table(items[:limit], time.time(), console.width))
    if len(items) > limit:
        tell(Text(f"{plural(len(items) - limit, 'more question')}: --limit N", "dim"))
    tell(Copyable(say("inbox", items[0].id), "to see one in full, and how to decide it"))
    return Exit.DONE


def one(db: str, id: str, as_json: bool) -> Exit:
    """One question in full. Raises the error that says why it can no longer be decided."""
    with reading(db) as reader:
        item = item_of(find(reader, id))
    if as_json:
        print(json.dumps(as_json_of(item), ensure_ascii=False, indent=2))
    else:
        emit(out(), *whole(item, time.time(), command))
    return Exit.DONE


def as_json_of(item: InboxItem) -> dict[str, Any]:
    """A question as JSON. Times are seconds since the epoch, UTC."""
    body = {f.name: getattr(item, f.name) for f in fields_of(item) if not f.name.startswith("_")}
    body["history"] = [said._asdict() for said in item.history]
    body["pending"] = None if item.pending is None else item.pending._asdict()
    return body


def table(items: Sequence[InboxItem], now: float, width: int) -> Table:
    """One row a question, one line each: the question itself gets what the other columns leave."""
    rows = [_row(item, now) for item in items]
    heads = ("id", "asks", "for", "run", "since", "due")
    shown = (0, 1, 5) if width < _NARROW else (0, 1, 2, 3, 4, 5)
    most = (width, width, max(8, width // 5), max(8, width // 6), width, width)
    wide = [max(cell_len(head), *(cell_len(row[n].plain) for row in rows)) for n, head in enumerate(heads)]
    wide = [min(pair) for pair in zip(wide, most, strict=True)]
    wide[1] = max(8, min(wide[1], width - sum(wide[n] + 2 for n in shown if n != 1) - 2))
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for n in shown:
        right = heads[n] == "since"
        made.add_column(
            heads[n], width=wide[n], no_wrap=True, overflow="ellipsis", justify="right" if right else "left"
        )
    for row in rows:
        made.add_row(*[Middle(row[n].plain, "dim") if heads[n] == "run" else row[n] for n in shown])
    return made


def _row(item: InboxItem, now: float) -> tuple[Text, ...]:
    sign, style = KINDS.get(item.kind, ("?", ""))
    asks = Text(f"{sign} ", style).append(first_line(item.question), "default")
    whom = Text(printable(", ".join(item.to)) or "anybody", "" if item.to else "dim")
    run = Text(printable(item.run), "dim")
    return (Text(item.id, "bold"), asks, whom, run, Text(age(now - item.asked_at), "dim"), _due(item, now))


def _due(item: InboxItem, now: float) -> Text:
    if item.due_at is None:
        return Text("–", "dim")
    left = item.due_at - now
    style = "red" if left <= 0 else "yellow" if left < SOON_S else ""
    return Text(until(item.due_at, now), style)


def whole(item: InboxItem, now: float, say: Say) -> list[Drawn]:
    """One question with everything that a decision needs, and the commands that give it."""
    sign, style = KINDS.get(item.kind, ("?", ""))
    title = Text(f"{sign} ", style).append(printable(item.question), "bold")
    facts = f"{item.id}, asked {_whom(item)} {ago(now - item.asked_at)} by {item.run} ({item.flow})"
    drawn: list[Drawn] = [title, Text(printable(facts), "dim"), ""]
    rows = list(_rows(item, now))
    if rows:
        drawn += [pairs(rows), ""]
    commands = _commands(item, say)
    widest = max(len(text) for text, _ in commands)
    return drawn + [Copyable(text, why, widest) for text, why in commands]


def _whom(item: InboxItem) -> str:
    return f"of {', '.join(item.to)}" if item.to else "of anybody"


def _rows(item: InboxItem, now: float) -> Iterator[tuple[str, RenderableType]]:
    if item.action:
        yield "calls", Text(printable(item.action))
    if item.shown is not None:
        yield "shown", Text(pretty(json.dumps(item.shown).encode()))
    for title, content in item.evidence.items():
        said = shorten(harmless(pretty(json.dumps(content).encode())), 4000)
        yield "evidence" if title == next(iter(item.evidence)) else "", Text(f"{printable(title)}: {said}")
    if item.quorum > 1:
        voted = ", ".join(f"{said.by} {'yes' if said.verdict in _YES else 'no'}" for said in item.votes)
        yield "decide", Text(f"{item.quorum} people must say yes; so far: {printable(voted) or 'nobody'}")
    for n, tried in enumerate(item.story):
        yield "tried" if n == 0 else "", _tried(tried)
    for n, field in enumerate(forms.fields(item.form) if item.form else []):
        text = Text(f"{printable(field.name)}  " if field.name else "", "bold").append(printable(field.says), "default")
        yield "answer" if n == 0 else "", text
    if item.due_at is not None:
        yield "due", Text(f"{due(item.due_at, now)}, then {_default(item)}")
    later = [(at, "a reminder") for at in item.remind_at if at > now]
    later += [(at, f"it goes on to {to}") for at, to in zip(item.reassign_at, item.or_else, strict=False) if at > now]
    for n, (at, what) in enumerate(sorted(later)):
        yield "next" if n == 0 else "", Text(printable(f"{due(at, now)}: {what}"))
    for n, said in enumerate(item.history):
        style = "yellow" if said.verdict == "refused" else ""
        yield "so far" if n == 0 else "", Text(printable(_said(said, now)), style)
    yield "bound", Text(f"{item.bound[:12]}…: a decision holds for exactly this", "dim")


_YES = ("agreed", "approved")


def _tried(tried: object) -> Text:
    """One thing that was tried, in a line or two."""
    if not isinstance(tried, dict):
        return Text(shorten(printable(str(tried)), 400))
    told = cast("dict[str, Any]", tried)
    who, call = str(told.get("who") or ""), short_key(str(told.get("what") or told.get("model") or ""))
    last = call.rpartition("/")[2] if told.get("what") else call  # in what was done by one who was asked
    same = not last or name_of(str(told.get("what") or last)) == who
    name = call if not who else who if same else f"{who}: {last}"
    times = f" ×{told['attempts']}" if int(told.get("attempts", 1)) > 1 else ""
    text = Text(printable(name)).append(times, "yellow").append("  " if name else "")
    text.append(shorten(printable(str(told.get("error", ""))), 400), "red")
    if told.get("left out"):
        text.append(f"was not asked: {shorten(printable(str(told['left out'])), 400)}", "dim")
    if told.get("text"):
        text.append(f"\n“{shorten(printable(str(told['text'])), 200)}”", "dim")
    return text


def _default(item: InboxItem) -> str:
    """What holds when nobody answers."""
    default: dict[str, Any] = item.default or {}
    if "decision" in default:
        return f"it is {default['decision']}"
    if "answer" in default:
        return f"the answer is {shorten(json.dumps(default['answer'], ensure_ascii=False), 80)}"
    return "the step fails" if item.kind == "other" or default.get("word") == "fail" else "the call fails"


def _said(said: Said, now: float) -> str:
    who, note = said.by or "somebody", f": {said.note}" if said.note else ""
    match said.verdict:
        case "reminded":
            return f"{ago(now - said.at)} reminded {', '.join(said.to) or 'anybody'}"
        case "reassigned":
            return f"{ago(now - said.at)} {who} asked {', '.join(said.to)} instead{note}"
        case _:
            return f"{ago(now - said.at)} {who}'s answer was {said.verdict}{note}"


def _commands(item: InboxItem, say: Say) -> list[tuple[str, str]]:
    id_ = item.id
    give = (say("answer", id_, "--value", forms.sample(item.form or {})), "to answer")
    if len(give[0]) + 2 > out().width:  # it stands indented
        give = (say("answer", id_, "--value", "@FILE"), "to answer, with the JSON in a file")
    if item.kind == "approval":
        made = [(say("approve", id_), "yes"), (say("deny", id_), "no")]
    elif item.kind == "form":
        made = [give, (say("deny", id_), "to decline")]
    else:
        made = [give, (say("deny", id_), "to let it fail")]
        if item.kind == "other" or "retry" in item.choices:
            made.insert(1, (say("decide", item.run, item.key, "--retry"), "to try it again"))
    return [*made, (say("reassign", id_, "--to", "NAME"), "to ask somebody else")]

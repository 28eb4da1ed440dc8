"""Draws what calls were shown: a manifest, each part of it with its words, and what two of them differ in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..context.differ import Difference
from ..context.words import Words
from ..core.records import Fate, Manifest, ManifestPart
from .columns import Noted, cut
from .paint import Drawn
from .words import alike, excerpt, harmless

__all__ = ["beside", "compared", "drawn", "words_of"]

WHY_WIDE = 30
"""Columns that the reason has beside the words: the rest of it is wrapped."""
WIDE = 100
"""Columns from which on there is room for words beside the rest."""
_NOTES = re.compile(r"note-\S+(?: note-\S+){3,}")


def drawn(
    key: str, attempt: int | None, manifest: Manifest, words: Sequence[Words], *, full: bool, wide: int
) -> list[Drawn]:
    """One manifest: its head, and a line for each part; with `full` each with all of its words."""
    exact = "" if manifest.exact else f" (estimated, {manifest.margin:,} kept free)"
    head = Text(f"{key}" + (f" attempt {attempt}" if attempt else ""), "bold")
    head.append(
        f"  {manifest.target.name}: {manifest.tokens:,} of {manifest.window:,} tokens{exact}, "
        f"{manifest.reserved_out:,} for the answer, {manifest.tokens_prefix:,} as in the call before",
        "dim",
    )
    if full:
        both = zip(manifest.parts, words, strict=True)
        return [head, *(line for part, said in both for line in _whole(part, said))]
    rows = [[part.fate.value, _tokens(part), part.role, part.kind, _about(part)] for part in manifest.parts]
    says = [_in_line(said) for said in words] if wide >= WIDE else None
    styles = ["" if part.shown else "dim" for part in manifest.parts]
    return [head, _table(("fate", "tokens", "role", "kind", "why"), rows, says, wide, styles), ""]


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], says: Sequence[Text] | None, wide: int,
    styles: Sequence[str] = (),
) -> Table:  # fmt: skip
    """A line for each row, with what it says where that is given: then the reason is wrapped, and it gets the rest."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    left = wide
    for at, column in enumerate(columns):
        firm, most = column != "why", max(map(cell_len, (column, *(row[at] for row in rows))))
        most = most if firm or says is None else min(most, WHY_WIDE)
        left -= most + 2
        right = "right" if column == "tokens" else "left"
        table.add_column(column, justify=right, no_wrap=firm, max_width=None if says is None else most)
    if says is not None:
        table.add_column("says", no_wrap=True, overflow="ellipsis", max_width=max(20, left))
    for at, row in enumerate(rows):
        table.add_row(*map(Text, row), *([] if says is None else [says[at]]), style=styles[at] if styles else "")
    return table


def _tokens(part: ManifestPart) -> str:
    return f"{part.shown:,}" if part.shown == part.tokens else f"{part.shown:,}/{part.tokens:,}"


def _about(part: ManifestPart) -> str:
    said = [part.why] if part.why else []
    said += [f"from {_NOTES.sub(_counted, part.source)}"] if part.source else []
    said += ["pinned"] if part.pinned else []
    said += [f"call {part.call}"] if part.call else []
    said += [f"recall {part.recall}"] if part.recall else []
    return "; ".join(said)


def _counted(notes: re.Match[str]) -> str:
    """Many notes as the first and the last of them, and how many they are."""
    first, *_, last = all_ = notes[0].split()
    return f"{first} … {last}, {len(all_)} notes"


def _in_line(words: Words, other: str = "") -> Text:
    """In one line: what it says, or why that is not known."""
    if words.text is None:
        return cut(f"({words.why})" if words.why else "", "dim")
    said = words.text if words.shown is None else words.shown
    text = cut(_called(words, excerpt(said, other)))
    return text.append(f"  ({words.why})", "dim") if words.why else text


def _called(words: Words, text: str) -> str:
    return f"{words.tool}({text})" if words.tool else text


def _whole(part: ManifestPart, words: Words) -> Iterator[Drawn]:
    """In full: a line about it, then all that it says; of a cut part what was shown of it, and the whole."""
    about = _about(part)
    line = Text(f"{part.fate.value}  {_tokens(part)} tokens  {part.role}  {part.kind}", "bold" if part.shown else "dim")
    yield line.append(f"  {about}" if about else "", "dim")
    said = [(words.shown, ""), (words.text, "dim")] if words.shown is not None else [(words.text, "")]
    for at, (text, style) in enumerate(said):
        if at:
            yield Text("   of", "dim")
        if text is not None:
            yield _beneath(harmless(_called(words, text)), style if part.shown else "dim")
    if words.why:
        yield _beneath(f"({words.why})", "dim")
    yield ""


def _beneath(text: str, style: str) -> Drawn:
    return Padding(Text(text, style), (0, 0, 0, 4), expand=False)


Both = tuple[Sequence[Words], Sequence[Words]]


def compared(both: tuple[Manifest, Manifest], found: Sequence[Difference], words: Both, wide: int) -> list[Drawn]:
    """What two calls saw differently, each with the words in which it differs."""
    then, now = both
    head = Text(f"{then.target.name}, {then.tokens:,} tokens  →  {now.target.name}, {now.tokens:,} tokens", "bold")
    if not found:
        return [head, Text("They saw the same.", "dim")]
    says = [_difference(each, words, other) for each, other in zip(found, beside(found, words), strict=True)]

    columns = ("before", "after", "tokens", "role", "kind", "why")
    rows = [[d.before, d.after, f"{d.part.tokens:,}", d.part.role, d.part.kind, d.why] for d in found]

    def table(noted: bool) -> Table:
        return _table(columns, rows, says if noted else None, wide)

    if wide >= WIDE:
        return [head, table(True)]
    notes = [(f"{each.before} → {each.after}", said) for each, said in zip(found, says, strict=True)]
    return [head, Noted(table, notes)]


def words_of(each: Difference, words: Both) -> tuple[Words | None, Words | None]:
    """The words of a difference: in the first call, and in the second."""
    then, now = words
    return (
        None if each.then is None else then[each.then], None if each.now is None else now[each.now]
    )  # fmt: skip


def beside(found: Sequence[Difference], words: Both) -> list[str]:
    """For what only one of the two saw, what of the other begins alike the longest; for all else nothing."""
    alone = [words_of(each, words) for each in found]
    texts = [(None if now is not None and then is not None else (now or then or Words()).text) for then, now in alone]
    made: list[str] = []
    for at, each in enumerate(found):
        mine = texts[at]
        others = [
            text for other, text in zip(found, texts, strict=True)
            if text is not None and (other.then is None) != (each.then is None)
            and (other.part.role, other.part.kind) == (each.part.role, each.part.kind)
        ]  # fmt: skip
        made.append("" if mine is None else max(others, key=partial(alike, mine), default=""))
    return made


def _difference(each: Difference, words: Both, other: str) -> Text:
    then, now = words_of(each, words)
    said = now or then
    if said is None:
        return Text("")
    if then is not None and now is not None and each.part.fate is Fate.CUT and then.shown != now.shown:
        before, after = (one.shown if one.shown is not None else one.text or "" for one in (then, now))
        return cut(f"{excerpt(before, after, 60)}  →  {excerpt(after, before, 60)}")
    return _in_line(said, other)

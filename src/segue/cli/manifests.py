"""Draws what calls were shown: a manifest, each part of it with its words, and what two of them differ in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..context.differ import Difference
from ..context.words import Words
from ..core.records import Fate, Manifest, ManifestPart
from .columns import cut
from .paint import Drawn
from .words import alike, excerpt, harmless

__all__ = ["beside", "compared", "drawn", "words_of"]

WHY_WIDE = 30
"""Columns that the reason has beside the words: the rest of it is wrapped."""
WIDE = 100
"""Columns from which on there is room for words beside the rest."""
BESIDE = 40
"""Columns that words need to stand beside a difference; with less they stand beneath it."""
EXCERPT, INDENT = 160, 4
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
    columns = _columns(("fate", "tokens", "role", "kind", "why"), rows, wide)
    says = [_in_line(said, width=columns.left) for said in words] if wide >= WIDE else None
    styles = ["" if part.shown else "dim" for part in manifest.parts]
    return [head, _table(columns, rows, says, styles), ""]


class _Columns(NamedTuple):
    """The columns of a table, and the room beside them."""

    widths: dict[str, int]
    """Of each as much as it needs; of the reason no more than leaves room for words."""
    left: int
    """What words have beside them."""
    why: int
    """What the reason has where no words stand beside it."""


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]], wide: int) -> _Columns:
    widths = {name: max(map(cell_len, (name, *(row[at] for row in rows)))) for at, name in enumerate(names)}
    free = wide - sum(width + 2 for name, width in widths.items() if name != "why")
    widths["why"] = min(widths["why"], max(WHY_WIDE, free - EXCERPT - 4))
    return _Columns(widths, max(20, free - widths["why"] - 2), free)


def _table(
    columns: _Columns, rows: Sequence[Sequence[str]], says: Sequence[Text] | None, styles: Sequence[str] = ()
) -> Table:
    """A line for each row, with what it says where that is given: then the reason is wrapped, and it gets the rest."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, width in columns.widths.items():
        firm, most = name != "why", None if says is None else width
        right = "right" if name == "tokens" else "left"
        table.add_column(name, justify=right, no_wrap=firm, min_width=width if firm else None, max_width=most)
    if says is not None:
        table.add_column("says", no_wrap=True, overflow="ellipsis", max_width=columns.left)
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


def _in_line(words: Words, other: str = "", *, width: int) -> Text:
    """In a line: what it says, or why that is not known; in two where what is to be said of it has no room there."""
    if words.text is None:
        return cut(f"({words.why})" if words.why else "", "dim")
    said = words.text if words.shown is None else words.shown
    text = cut(_called(words, excerpt(said, other, min(EXCERPT, width - 2))))
    if words.why:
        joint = "  " if text.cell_len + cell_len(words.why) + 4 <= width else "\n"
        text.append(f"{joint}({words.why})", "dim")
    return text


def _called(words: Words, text: str) -> str:
    return f"{words.tool}({text})" if words.tool else text


def _whole(part: ManifestPart, words: Words) -> Iterator[Drawn]:
    """In full: a line about it, then all that it says; of a cut part what was shown of it, and the whole."""
    about = _about(part)
    line = Text(f"{part.fate.value}  {_tokens(part)} tokens  {part.role}  {part.kind}", "bold" if part.shown else "dim")
    yield line.append(f"  {about}" if about else "", "dim")
    yield from _spelled(words, "" if part.shown else "dim")
    yield ""


def _spelled(words: Words, style: str = "") -> Iterator[Drawn]:
    """All that a part says; of a cut one what was shown of it, and the whole."""
    said = [(words.shown, ""), (words.text, "dim")] if words.shown is not None else [(words.text, "")]
    for at, (text, more) in enumerate(said):
        if at:
            yield Text("   of", "dim")
        if text is not None:
            yield _beneath(harmless(_called(words, text)), more or style)
    if words.why:
        yield _beneath(f"({words.why})", "dim")


def _beneath(text: str, style: str) -> Drawn:
    return Padding(Text(text, style), (0, 0, 0, 4), expand=False)


Both = tuple[Sequence[Words], Sequence[Words]]


def compared(
    both: tuple[Manifest, Manifest], found: Sequence[Difference], words: Both, *, full: bool, wide: int
) -> list[Drawn]:
    """What two calls saw differently, each with the words in which it differs: beside it, or beneath it where there is
    little room; with `full` each with all of its words.
    """
    then, now = both
    head = Text(f"{then.target.name}, {then.tokens:,} tokens  →  {now.target.name}, {now.tokens:,} tokens", "bold")
    if not found:
        return [head, Text("They saw the same.", "dim")]
    if full:
        return [head, *(line for each in found for line in _whole_of(each, *words_of(each, words)))]
    rows = [[d.before, d.after, f"{d.part.tokens:,}", d.part.role, d.part.kind, d.why] for d in found]
    columns = _columns(("before", "after", "tokens", "role", "kind", "why"), rows, wide)
    beneath = columns.left < BESIDE
    _once(rows, columns.why if beneath else columns.widths["why"])
    left = wide - INDENT if beneath else columns.left
    others = beside(found, words)
    says = [_difference(each, words, other, left) for each, other in zip(found, others, strict=True)]
    return [head, *(_each(columns, rows, says) if beneath else [_table(columns, rows, says)])]


def _once(rows: Sequence[list[str]], room: int) -> None:
    """A reason that takes several lines is given once for the rows that share it, one after the other."""
    for above, row in reversed([*pairwise(rows)]):
        if row[-1] == above[-1] and cell_len(row[-1]) > room:
            row[-1] = "as above"


def _each(columns: _Columns, rows: Sequence[Sequence[str]], says: Sequence[Text]) -> Iterator[Drawn]:
    """Each row with its words beneath."""
    for at, (row, said) in enumerate(zip(rows, says, strict=True)):
        table = _table(columns, [row], None)
        table.show_header = at == 0
        yield table
        yield Padding(said, (0, 0, 0, INDENT), expand=False)


def _whole_of(each: Difference, then: Words | None, now: Words | None) -> Iterator[Drawn]:
    """In full: a line about a difference, then all that it says; of what both saw otherwise both."""
    part = each.part
    line = Text(f"{each.before} → {each.after}  {part.tokens:,} tokens  {part.role}  {part.kind}", "bold")
    yield line.append(f"  {each.why}" if each.why else "", "dim")
    forms = _forms(each, then, now)
    for name, form in zip(("before", "after"), forms, strict=False):
        yield Text(f"   {name}", "dim")
        yield _beneath(harmless(form), "")
    said = now or then
    if not forms and said is not None:
        yield from _spelled(said)
    elif forms and said is not None and said.text not in forms:
        yield Text("   of", "dim")
        yield _beneath(harmless(said.text or ""), "dim")
    yield ""


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


def _forms(each: Difference, then: Words | None, now: Words | None) -> tuple[str, ...]:
    """Of what both saw, in forms that differ, the two; else none."""
    if then is None or now is None or then.shown == now.shown or not {each.before, each.after} <= _SEEN:
        return ()
    return tuple((one.text if one.shown is None else one.shown) or "" for one in (then, now))


_SEEN = {Fate.KEPT.value, Fate.CUT.value}


def _difference(each: Difference, words: Both, other: str, width: int) -> Text:
    then, now = words_of(each, words)
    said = now or then
    if said is None:
        return Text("")
    forms = _forms(each, then, now)
    if forms:
        (before, after), half = forms, min(60, (width - 9) // 2)
        return cut(f"{excerpt(before, after, half)}  →  {excerpt(after, before, half)}")
    return _in_line(said, other, width=width)

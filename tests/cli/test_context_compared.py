"""`segue context diff` as it is drawn: at each width the words of each part that differs can be read."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from segue.cli.manifests import compared
from segue.cli.paint import emit
from segue.context.differ import differences
from segue.context.words import Words
from segue.core.records import Fate, Manifest, ManifestPart, Target, TargetKind

TURNS = 12
WHY = "not there, or among turns 1 to 11, summarised together (old turn)"


def part(hash: str, fate: Fate = Fate.KEPT, **more: Any) -> ManifestPart:
    return ManifestPart(hash=hash, role="user", tokens=10_691, fate=fate, **more)


def manifest(*parts: ManifestPart) -> Manifest:
    return Manifest(
        id="m", target=Target(kind=TargetKind.MODEL, name="chat"), window=1000, reserved_out=10, tokens=9,
        tokenizer="t", parts=parts,
    )  # fmt: skip


def drawn(then: list[tuple[ManifestPart, Words]], now: list[tuple[ManifestPart, Words]], wide: int, full: bool) -> str:
    both = manifest(*(one for one, _ in then)), manifest(*(one for one, _ in now))
    words = [one for _, one in then], [one for _, one in now]
    console = Console(file=(out := io.StringIO()), width=wide)
    emit(console, *compared(both, differences(*both), words, full=full, wide=wide))
    return out.getvalue()


def long_past(wide: int, full: bool = False) -> str:
    """All turns, and in the next call one entry for most of them."""
    turns = [(part(f"{n}"), Words(text=f"Turn {n}: the pumps of hall {n} are " + "dry. " * 40)) for n in range(TURNS)]
    together = part("all", Fate.SUMMARISED, source="turns 1 to 11", why="old turn", kind="tool result")
    return drawn(turns, [(together, Words(why="several together"))], wide, full)


@pytest.mark.parametrize("wide", [60, 80, 100, 140, 200])
def test_the_words_of_each_part_stand_by_it(wide: int) -> None:
    lines = long_past(wide).splitlines()
    for n in range(TURNS):
        (at,) = (at for at, line in enumerate(lines) if f"Turn {n}: the pumps of hall" in line)
        rows = [line for line in lines[: at + 1] if line.startswith("kept")]
        assert len(rows) == n + 1 and "absent" in rows[-1] and "10,691" in rows[-1]
    assert max(map(len, lines)) <= wide


@pytest.mark.parametrize(("wide", "most"), [(80, 3 * TURNS), (140, TURNS + 5)])
def test_a_long_reason_is_given_once_for_the_rows_that_share_it(wide: int, most: int) -> None:
    told = long_past(wide)
    assert told.count("not there, or among") == 1 and told.count("as above") == TURNS - 1
    assert len(told.splitlines()) <= most


def test_where_nobody_looks_each_row_says_all_of_its_reason() -> None:
    assert long_past(4000).count(WHY) == TURNS


@pytest.mark.parametrize("wide", [60, 140])
def test_in_full_all_words_stand_below_each_other(wide: int) -> None:
    told = long_past(wide, full=True)
    assert told.count("dry.") == 40 * TURNS and told.count(f"kept → absent  10,691 tokens  user  text  {WHY}") == (
        TURNS if wide == 140 else 0
    )
    assert told.count("kept → absent") == TURNS and "as above" not in told


CUT = (part("a", Fate.CUT, tokens_shown=4, into="4"), Words(text="beginning middle end", shown="beginning"))
SHORTER = (part("a", Fate.CUT, tokens_shown=3, into="3"), Words(text="beginning middle end", shown="the end"))
KEPT = (part("a"), Words(text="beginning middle end"))
DROPPED = (part("a", Fate.DROPPED), Words(text="beginning middle end"))


@pytest.mark.parametrize("wide", [80, 140])
def test_of_what_both_saw_in_other_forms_both_are_shown(wide: int) -> None:
    assert "beginning  →  the end" in drawn([CUT], [SHORTER], wide, False)
    whole = drawn([CUT], [SHORTER], wide, True)
    assert whole.endswith(
        "   before\n    beginning\n   after\n    the end\n   of\n    beginning middle end\n\n"
    )  # fmt: skip
    assert "beginning  →  " in drawn([CUT], [KEPT], wide, False)
    assert drawn([KEPT], [CUT], wide, True).endswith("before\n    beginning middle end\n   after\n    beginning\n\n")
    assert "  →  beginning" not in drawn([DROPPED], [CUT], wide, False), "what was dropped nobody saw"
    assert "before" not in drawn([DROPPED], [CUT], wide, True)


@pytest.mark.parametrize("wide", [80, 110, 140])
def test_words_differ_within_the_room_that_they_have(wide: int) -> None:
    same = "word " * 100
    then, now = (
        (part(name, kind="memory"), Words(text=f"{same}{says} pumps are in the hall of the north, by the river"))
        for name, says in (("a", "seven"), ("b", "eight"))
    )
    told = drawn([then], [now], wide, False)
    assert "seven pumps" in told and "eight pumps" in told


@pytest.mark.parametrize("wide", [80, 140])
def test_what_is_to_be_said_of_words_is_never_cut_off(wide: int) -> None:
    why = "as the notes are now: they were corrected since"
    told = drawn([(part("a"), Words(text="dry pumps " * 40, why=why))], [], wide, False)
    assert "dry pumps" in told and f"({why})" in told

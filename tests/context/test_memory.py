"""Memory: what is remembered is recalled with where it came from, stays in its scope, and stays forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from segue.context import recollection
from segue.context.errors import InvalidContext
from segue.context.memory import Memory, Scope, ScopeKind
from segue.context.notes import Said, Turns, View
from segue.context.recall.above import above
from segue.context.recall.pieces import nearest, pieces
from segue.context.tokens import estimate

TOKENS = estimate()
ANN, BOB = Scope(ScopeKind.USER, "ann"), Scope(ScopeKind.USER, "bob")


def told(memory: Memory, request: str, *scopes: Scope, room: int = 400) -> str:
    return "\n".join(part.text for part in memory.recall(request, scopes, room, TOKENS))


def test_what_is_remembered_is_recalled_with_its_source(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    with Memory(path) as memory:
        memory.remember(
            "Her sister lives in Oslo.", ANN, source="turn 4", run="r-1", who="Ann", at=datetime(2026, 3, 1)
        )
        memory.remember("Invoices are paid on Fridays.", ANN, source="handbook.md")
    with Memory(path) as memory:
        parts = memory.recall("Where does Ann's sister live?", [ANN], 40, TOKENS)
        assert ["Oslo" in part.text for part in parts][:1] == [True]
        assert parts[0].source == "user ann: note-1"
        assert memory.note(1).source == "turn 4"
        assert memory.note(1).at == datetime(2026, 3, 1)


def test_a_scope_sees_nothing_of_another() -> None:
    with Memory() as memory:
        memory.remember("The password hint is Rosebud.", ANN)
        assert told(memory, "password hint", BOB) == ""
        assert memory.find("password", BOB) == []
        assert "Rosebud" in told(memory, "password hint", BOB, ANN)


def test_a_corrected_fact_does_not_come_back() -> None:
    with Memory() as memory:
        old = memory.remember("Ann lives in Oslo.", ANN)
        assert old is not None
        new = memory.edit(old, "Ann lives in Bergen.", by="ann", why="moved")
        assert "Oslo" not in told(memory, "Where does Ann live?", ANN)
        assert memory.remember("Ann lives in  oslo.", ANN) is None
        assert [note.text for note in memory.notes(ANN)] == ["Ann lives in Bergen."]
        assert memory.note(new).stands_for == old


def test_what_is_forgotten_leaves_the_file(tmp_path: Path) -> None:
    with Memory(str(tmp_path / "memory.db")) as memory:
        first = memory.remember("Ann has a rare illness, xylophagia.", ANN)
        assert first is not None
        second = memory.edit(first, "Ann had xylophagia once.")
        told(memory, "illness", ANN)
        memory.forget(second, by="ann")
        assert told(memory, "illness", ANN) == ""
        assert memory.remember("Ann has a rare illness, xylophagia.", ANN) is None
        with pytest.raises(InvalidContext, match="no note"):
            memory.note(second)
        assert [file.name for file in tmp_path.iterdir() if b"xylophagia" in file.read_bytes()] == []


def test_the_same_words_are_one_note_and_new_ones_are_found_at_once() -> None:
    with Memory() as memory:
        assert memory.remember("Tea, no sugar.", ANN) == memory.remember("tea,  no sugar.", ANN)
        told(memory, "tea", ANN)
        memory.remember("The tea is in the blue tin.", ANN)
        assert "blue tin" in told(memory, "Where is the tea?", ANN)


def test_what_is_recalled_fits() -> None:
    with Memory() as memory:
        for n in range(50):
            memory.remember(f"Note {n} on the tea in the kitchen.", ANN, run=f"r-{n // 5}")
        parts = memory.recall("tea", [ANN], 120, TOKENS)
        assert parts
        assert sum(TOKENS(part.text) for part in parts) <= 120


@pytest.mark.parametrize("text", ["", "  ", "x" * 1_000_001])
def test_a_note_that_says_nothing_or_all_is_refused(text: str) -> None:
    with Memory() as memory, pytest.raises(InvalidContext):
        memory.remember(text, ANN)


def test_words_of_a_query_are_no_syntax() -> None:
    with Memory() as memory:
        memory.remember('He said "NEAR" and (left).', ANN)
        assert memory.find('left" OR NEAR( * ^', ANN)
        assert memory.find("?!", ANN) == []


def test_a_correction_is_made_once_and_its_text_is_held_to_what_a_note_may_be() -> None:
    """A step that crashed makes it again; two who correct one note at once do not both stand."""
    with Memory() as memory:
        assert memory.remember("Ann lives in Oslo.", ANN) == 1
        assert memory.edit(1, "Ann lives in Bergen.") == memory.edit(1, " Ann lives in Bergen. ") == 2
        assert [note.id for note in memory.notes(ANN)] == [2]
        with pytest.raises(InvalidContext, match="no note 1"):
            memory.edit(1, "Ann lives in Rome.")
        for bad in ("", "  ", "x" * 1_000_001):
            with pytest.raises(InvalidContext, match="a note has 1 to"):
                memory.edit(2, bad)
        memory.forget(2)
        memory.forget(2)
        with pytest.raises(InvalidContext, match="no note 3"):
            memory.forget(3)


def test_a_number_of_a_note_that_was_corrected_says_which_one_stands_for_it() -> None:
    with Memory() as memory:
        first = memory.remember("Ann lives in Oslo.", ANN)
        assert first is not None
        second = memory.edit(first, "Ann lives in Bergen.")
        third = memory.edit(second, "Ann lives in Paris.")
        for change in (lambda: memory.forget(first), lambda: memory.edit(first, "Ann lives in Rome.")):
            with pytest.raises(
                InvalidContext, match=f"no note {first}: it was corrected, and note {third} stands for it"
            ):
                change()
        memory.forget(third)
        with pytest.raises(InvalidContext, match=f"no note {third}: it was forgotten"):
            memory.edit(third, "Ann lives in Rome.")
        memory.forget(third)
        with pytest.raises(InvalidContext, match=f"no note {first}: it was forgotten"):
            memory.edit(first, "Ann lives in Rome.")
        with pytest.raises(InvalidContext, match="no note 99"):
            memory.forget(99)


def test_a_scope_that_is_named_twice_is_recalled_once() -> None:
    with Memory() as memory:
        memory.remember("Ann lives in Oslo.", ANN)
        (part,) = memory.recall("Where does Ann live?", [ANN, ANN], 500, estimate())
        assert "Oslo" in part.text


def test_a_note_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    with Memory(path) as memory:
        memory._db.execute("drop table notes_text")
        with pytest.raises(sqlite3.OperationalError):
            memory.remember("Ann lives in Oslo.", ANN)
        assert memory.notes(ANN) == []


def test_a_scope_is_cleared_and_the_others_stay(tmp_path: Path) -> None:
    with Memory(str(tmp_path / "memory.db")) as memory:
        memory.remember("Ann has xylophagia.", ANN)
        memory.edit(1, "Ann had xylophagia.")
        memory.remember("Bob has a zebra.", BOB)
        assert memory.clear(ANN, by="dpo") == 1
        assert memory.remember("Ann has xylophagia.", ANN) is None
        assert [note.text for note in memory.notes(BOB)] == ["Bob has a zebra."]
        assert [file.name for file in tmp_path.iterdir() if b"xylophagia" in file.read_bytes()] == []
        assert memory.clear() == 1
        assert memory.scopes() == []


def test_a_correction_to_words_that_are_there_makes_no_second_note_of_them(tmp_path: Path) -> None:
    """Both stood, were recalled both, and to forget the one left the other."""
    with Memory(str(tmp_path / "memory.db")) as memory:
        wrong, right = memory.remember("Ann has xylophobia.", ANN), memory.remember("Ann has xylophagia.", ANN)
        elsewhere = memory.remember("Ann has xylophagia!", BOB)
        assert wrong and right and elsewhere
        assert memory.edit(wrong, "ann has  xylophagia.") == right == memory.edit(wrong, "Ann has xylophagia.")
        assert [note.id for note in memory.notes(ANN)] == [right]
        shown = memory.part([wrong, right])
        assert shown is not None and shown.text.count("xylophagia") == 1
        with pytest.raises(InvalidContext, match=f"note {right} stands for it"):
            memory.forget(wrong)
        memory.forget(right)
        memory.clear(BOB)
        assert memory.part([wrong, right]) is None
        assert memory.remember("Ann has xylophobia.", ANN) is None
    assert [file.name for file in tmp_path.iterdir() if b"xylopho" in file.read_bytes()] == []


def said(turn: int, text: str, run: str = "r", who: str = "user") -> Said:
    return Said(turn, text, who, run, "ask[x]#1", datetime(2026, 3, 1, 12, turn % 60))


def test_a_file_of_before_can_take_up_turns(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    with sqlite3.connect(path) as old:
        old.executescript(
            "create table notes (id integer primary key, scope text not null, name text not null, text text,"
            " hash blob not null, source text not null, run text not null, turn integer, who text not null, at text,"
            " stands_for integer, replaced_by integer, forgotten integer not null default 0,"
            " by text not null default '', why text not null default '');"
            " create virtual table notes_text using fts5 (text, tokenize='porter');"
            " insert into notes (scope, name, text, hash, source, run, who)"
            " values ('user', 'ann', 'Tea.', x'00', '', '', '')"
        )
    old.close()
    with Memory(path) as memory:
        memory.take_up(ANN, [said(1, "No sugar.")], 1)
        assert [(note.text, note.taken) for note in memory.notes(ANN)] == [("Tea.", False), ("No sugar.", True)]


def test_turns_are_taken_up_once_whoever_comes_first(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    with Memory(path) as one, Memory(path) as other:
        one.take_up(ANN, [said(1, "Tea."), said(1, "Tea."), said(2, "No sugar.")], 2)
        other.take_up(ANN, [said(1, "Tea."), said(2, "No sugar."), said(3, "Milk.")], 3)
        one.take_up(ANN, [said(2, "No sugar.")], 2)
        assert [note.text for note in one.notes(ANN)] == ["Tea.", "Tea.", "No sugar.", "Milk."]
        assert one.taken_upto(ANN) == 3


def test_a_view_sees_its_turns_and_no_later_ones() -> None:
    branch = Scope(ScopeKind.THREAD, "t~1")
    thread = Scope(ScopeKind.THREAD, "t")
    with Memory() as memory:
        memory.take_up(thread, [said(n, f"Number {n} is the {word}.") for n, word in enumerate(WORDS, 1)], 4)
        memory.take_up(branch, [said(3, "Number 3 is the hen.")], 3)
        memory.remember("Number 9 is the owl.", thread)
        view = View(branch, (Turns(thread, 0, 2), Turns(branch, 2)), upto=3)
        text = "\n".join(part.text for part in memory.recall("Which number is it?", [view], 400, TOKENS))
        assert all(word in text for word in ("ant", "bee", "hen"))
        assert not any(word in text for word in ("cat", "dog", "owl"))
        earlier = View(thread, (Turns(thread),), upto=3, shown=3)
        text = "\n".join(part.text for part in memory.recall("Which number is it?", [earlier], 400, TOKENS))
        assert "bee" in text and "owl" in text
        assert "cat" not in text and "dog" not in text


WORDS = ("ant", "bee", "cat", "dog")


def test_what_was_taken_from_a_run_goes_with_it_and_its_number_is_not_given_again() -> None:
    with Memory() as memory:
        memory.take_up(ANN, [said(1, "Tea.", "old"), said(2, "Milk.", "new"), said(3, "Rum.", "old")], 3)
        last = memory.notes(ANN)[-1].id
        corrected = memory.edit(memory.notes(ANN)[0].id, "Green tea.")
        assert set(memory.runs_taken()) == {"old", "new"}
        assert memory.let_go(["old"]) == 3
        assert [note.text for note in memory.notes(ANN)] == ["Milk."]
        assert memory.part([1, corrected, last]) is None
        made = memory.remember("Rum.", ANN)
        assert made is not None and made > corrected
        assert memory.remember("Tea.", ANN) is None, "it was corrected"


def test_what_was_erased_is_never_taken_up_and_the_mark_lasts(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    with Memory(path) as memory:
        memory.take_up(ANN, [said(1, "Tea.")], 1)
        memory.erase(17, by="dpo")
        assert memory.notes(ANN) == []
    with Memory(path) as memory:
        assert (memory.erased_upto(), memory.taken_upto(ANN)) == (17, 1)


def test_of_very_many_notes_those_that_match_are_ranked_with_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.context.recollection.RANKED", 50)
    monkeypatch.setattr("segue.context.recollection._NEWEST", 5)
    with Memory() as memory:
        memory.take_up(ANN, [said(n, f"Line {n}.") for n in range(1, 101)], 100)
        memory.take_up(ANN, [said(101, "Where is the zither?"), said(102, "In the attic.")], 102)
        memory.take_up(ANN, [said(n, f"Row {n}.") for n in range(103, 203)], 202)
        assert "In the attic." in told(memory, "zither", ANN, room=60)
        memory.take_up(ANN, [said(203, "The lute is in the cellar.")], 203)
        assert "cellar" in told(memory, "lute", ANN, room=60)


def test_long_texts_are_cut_between_sentences_and_nothing_of_them_is_lost() -> None:
    assert pieces("Short.") == ["Short."]
    for text in (
        "\n\n".join(f"# Part {n}\n\nIt has {n} wheels. " + "They turn slowly. " * 12 for n in range(40)),
        "A sentence of this kind says very little. " * 300,
        "x" * 5000,
        "これは長い文章です。" * 400,
        "word " * 2000,
        "\n".join(f"line {n}" for n in range(900)),
    ):
        parts = pieces(text)
        assert "".join("".join(parts).split()) == "".join(text.split())
        assert all(0 < TOKENS(part) <= 600 for part in parts)
        assert len(parts) > 3
    headed = "\n\n".join(f"# Part {n}\n\n{'Wheel. ' * 60}" for n in range(9))
    assert all(part.startswith("# Part") for part in pieces(headed))
    bolts = pieces(f"{'Pumps are blue. ' * 90}The valve has eight bolts now.")
    assert bolts[nearest("The valve has seven bolts.", bolts)].endswith("now.")


def test_a_long_note_is_cut_once_however_often_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []

    def counted(text: str, parts: Sequence[str]) -> list[str]:
        cut.append(len(parts))
        return above(text, parts)

    monkeypatch.setattr(recollection, "above", counted)
    with Memory() as memory:
        manual = memory.remember("\n\n".join(f"Valve {n} opens. {'It is red. ' * 30}" for n in range(20)), ANN)
        assert manual is not None
        first = memory.part([manual], pieces=[2])
        assert first is not None and "Valve" in first.text
        assert memory.part([manual], pieces=[2]) == first
        assert "Valve 7" in told(memory, "Does valve 7 open?", ANN, room=400)
        memory.edit(manual, "\n\n".join(f"Pump {n} turns. {'It is blue. ' * 30}" for n in range(20)))
        assert (now := memory.part([manual], pieces=[2])) is not None and "Pump" in now.text
    assert len(cut) == 2

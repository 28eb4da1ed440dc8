"""Pieces of a document stand as they stand in it; what was said twice is forgotten and corrected once."""

from __future__ import annotations

from datetime import UTC, datetime

from segue.context import Memory, Scope, ScopeKind
from segue.context.notes import Said
from segue.context.recall.pieces import WHOLE, pieces

THREAD = Scope(ScopeKind.THREAD, "u")


def test_lines_of_tables_and_code_stay_lines_with_their_indentation() -> None:
    yaml = "\n".join(f"- name: pump-{n}\n  limits:\n    bar: {n}" for n in range(60))
    found = pieces(f"Limits of all pumps.\n\n{yaml}\n\nThat is all.")
    assert len(found) > 1 and all(len(piece) <= WHOLE for piece in found)
    lines = [line for piece in found for line in piece.split("\n")]
    assert [line for line in lines if line in set(yaml.split("\n"))] == yaml.split("\n")


def two_turns() -> Memory:
    memory = Memory()
    at = datetime(2026, 11, 27, tzinfo=UTC)
    said = [
        Said(turn, text, "user", "r", "k", at) for turn in (1, 2) for text in ("My PIN is 4711.", "I live in Oslo.")
    ]
    memory.take_up(THREAD, said, 2)
    return memory


def test_what_was_said_in_two_turns_is_forgotten_at_once() -> None:
    with two_turns() as memory:
        first = next(note for note in memory.notes(THREAD) if "4711" in note.text)
        memory.forget(first.id)
        assert [note.text for note in memory.notes(THREAD)] == ["I live in Oslo."] * 2


def test_a_correction_stands_for_all_that_was_said_so() -> None:
    with two_turns() as memory:
        first = next(note for note in memory.notes(THREAD) if "Oslo" in note.text)
        memory.edit(first.id, "I live in Bergen.")
        assert sorted(note.text for note in memory.notes(THREAD)) == ["I live in Bergen.", *["My PIN is 4711."] * 2]

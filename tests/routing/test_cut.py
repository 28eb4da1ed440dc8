"""Texts are cut into words as regular expressions say, however it is done."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.routing.cut import spoken, tokens, words

PLAIN = st.text(st.characters(codec="ascii"), max_size=60)
SPEECH = st.text("ab Z1_'’-é\n", max_size=40)
TEXTS = st.one_of(st.text(max_size=60), PLAIN, SPEECH)


@given(TEXTS)
def test_words_are_runs_of_letters(text: str) -> None:
    assert words(text) == re.findall(r"[^\W\d_]+", text)


@given(TEXTS)
def test_spoken_words_hold_one_apostrophe_between_letters(text: str) -> None:
    assert spoken(text) == re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text)


@given(TEXTS)
def test_tokens_are_words_and_single_marks(text: str) -> None:
    assert tokens(text) == re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize("text", ["a\x1cb\x1db\x1e\x1f", "a\x0bb\x0c\x85c", "a\x00b\x7f"])
def test_what_only_controls_is_no_letter_and_as_much_of_a_mark_as_the_expression_says(text: str) -> None:
    assert words(text) == re.findall(r"[^\W\d_]+", text)
    assert tokens(text) == re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("don't", ["don't"]), ("rock'n'roll", ["rock'n", "roll"]), ("'tis the '90s", ["tis", "the", "s"]),
        ("l’été d'or", ["l’été", "d'or"]), ("it''s", ["it", "s"]), ("", []),
    ],
)  # fmt: skip
def test_spoken_words(text: str, said: list[str]) -> None:
    assert spoken(text) == said

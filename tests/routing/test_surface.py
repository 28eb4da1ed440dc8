"""The form of a request as numbers: any text has them, they tell hard from easy, and a long text does not cost more."""

from __future__ import annotations

import re
import time
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.routing.learn.fit import fit
from segue.routing.learn.model import QualityModel
from segue.routing.learn.space import FAR, Space
from segue.routing.learn.surface import SURFACE, surface
from segue.routing.learn.text import grams

QUESTION = "Which of these is a prime?\n{choices}\nAnswer:"
CHOICES = "A. nine\nB. seven\nC. 21"


@given(st.text())
def test_any_text_has_a_surface_of_finite_numbers(text: str) -> None:
    values = surface(text)
    assert values.shape == (SURFACE,)
    assert np.isfinite(values).all()


WORDS = st.lists(
    st.sampled_from([
        "the", "The", "not", "NOT", "running", "runner", "Ärger", "ÉTÉ", "12", "3.5", "a,", "(b)", "naïve's", "\n\x1c",
    ])
)  # fmt: skip
NEGATIONS = frozenset({
    "not", "except", "never", "no", "none", "cannot", "neither", "nor", "without", "unless", "false", "incorrect",
})  # fmt: skip


@given(st.one_of(st.text(), WORDS.map(" ".join)))
def test_grams_are_the_hashes_of_words_in_a_row(text: str) -> None:
    """A router that was trained before knows these."""
    tokens = re.findall(r"\w+|[^\w\s]", text.lower())
    stems = ["0" if token.isdigit() else token[:5] for token in tokens]
    rows = [" ".join(tokens[at : at + many]) for many in (1, 2, 3) for at in range(len(tokens) - many + 1)]
    rows += ["~" + " ".join(stems[at : at + many]) for many in (1, 2) for at in range(len(stems) - many + 1)]
    assert grams(text).tolist() == sorted({crc32(row.encode()) for row in rows})


@given(st.one_of(st.text(), WORDS.map(" ".join)))
def test_counts_of_a_surface_are_those_of_its_letters_and_words(text: str) -> None:
    values = np.expm1(surface(text)).tolist()
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text)
    assert values[5] == pytest.approx(sum(map(str.isupper, text)), rel=1e-3, abs=1e-3)
    assert values[11] == pytest.approx(sum(word.lower() in NEGATIONS for word in words), rel=1e-3, abs=1e-3)
    assert values[18] == pytest.approx(sum(not char.isascii() for char in text), rel=1e-3, abs=1e-3)


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_text_never_lies_further_out_than_far(one: str, other: str) -> None:
    space, _, _, learned = Space.of([one, other, "What is 2 + 2?"])
    assert np.abs(space.place("9" * 400 + " not" * 90).surface).max() <= FAR
    assert np.array_equal(space.place(one).surface, learned[0])


@pytest.mark.parametrize(
    ("plain", "marked"),
    [
        ("Which of them is prime?", "Which of them is not prime?"),
        ("It costs $3 a day.", "It costs $3.50 a day."),
        ("A dog and a cat ate.", "Rex and Tom ate."),
        ("How old is he?", "How much older is he than her?"),
        ("Go there.", "Go there, then return."),
        (QUESTION.format(choices="nine, seven or 21"), QUESTION.format(choices=CHOICES)),
        (QUESTION.format(choices=CHOICES), QUESTION.format(choices=CHOICES.replace("nine", "9"))),
    ],
)
def test_what_makes_a_request_hard_shows(plain: str, marked: str) -> None:
    """Beyond its length: the same text with as many letters of nothing more is another surface."""
    grown = surface(plain + "x" * max(0, len(marked) - len(plain)))
    assert np.abs(surface(marked) - grown).max() > 0.3


def test_a_long_text_is_read_in_part() -> None:
    surface("warm")
    begun = time.process_time()
    values = surface("Is 12.5 more than 3, or not? (a) yes " * 100_000)
    assert time.process_time() - begun < 0.2
    assert values[0] == pytest.approx(np.log1p(3_700_000))


def test_the_form_alone_teaches_who_is_better() -> None:
    """No word of the requests that are asked about was ever seen: only their form tells."""
    random = np.random.default_rng(0)

    def request(hard: bool) -> str:
        words = ["".join(random.choice(list("bdfglmnprst"), 5)) for _ in range(12)]
        return " ".join([*words[:6], "12.5" if hard else "12", *words[6:], "."])

    hard = np.arange(200) % 2 == 1
    scores = np.stack([np.where(hard, 0.1, 0.9), np.where(hard, 0.9, 0.6)], 1)
    learned = QualityModel.from_bytes(fit([request(bool(h)) for h in hard], scores, ["weak", "strong"]).to_bytes())
    preferred = [np.argmax(learned.expected(request(bool(h))).mean) for h in hard[:40]]
    assert np.mean(preferred == hard[:40]) > 0.9

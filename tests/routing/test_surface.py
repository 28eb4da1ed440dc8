"""The form of a request as numbers: any text has them, they tell hard from easy, and a long text does not cost more."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.routing.learn.fit import fit
from segue.routing.learn.model import QualityModel
from segue.routing.learn.space import FAR, Space
from segue.routing.learn.surface import SURFACE, surface

QUESTION = "Which of these is a prime?\n{choices}\nAnswer:"
CHOICES = "A. nine\nB. seven\nC. 21"


@given(st.text())
def test_any_text_has_a_surface_of_finite_numbers(text: str) -> None:
    values = surface(text)
    assert values.shape == (SURFACE,)
    assert np.isfinite(values).all()


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

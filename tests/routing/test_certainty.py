"""How sure the learned router is: verdicts that are all the same make it no surer than they can."""

from __future__ import annotations

import numpy as np
import pytest

from segue.routing.learn.fit import fit
from segue.routing.learn.model import QualityModel
from segue.routing.learn.trust import Trust
from segue.routing.table import PRIOR_SD

WORDS = ["cats", "invoices", "python", "sums", "letters", "maps", "taxes", "rivers", "music", "chess"]
TEXTS = [f"Tell me about {WORDS[n % 10]} and {WORDS[n * 7 % 9]} {n}" for n in range(120)]
CODE = "def f(x): return x**2  # why does this python code fail?"


@pytest.fixture(scope="module")
def learned() -> QualityModel:
    """All verdicts are good: 114 of `often`, 6 of `seldom`, none of `never`."""
    scores = np.full((len(TEXTS), 3), np.nan)
    for n in range(len(TEXTS)):
        scores[n, 0 if n % 20 else 1] = 1.0
    return fit(TEXTS, scores, ["often", "seldom", "never"], priors=np.array([0.4, 0.55, 0.5]))


def test_a_few_verdicts_that_agree_leave_doubt(learned: QualityModel) -> None:
    often, seldom, never = learned.expected(TEXTS[5]).sd
    assert often < 0.03
    assert 0.05 < seldom < 0.1
    assert never == pytest.approx(PRIOR_SD)


def test_what_is_unlike_all_that_was_seen_is_as_unsure_as_a_prior(learned: QualityModel) -> None:
    sd = learned.expected(CODE).sd
    assert sd.min() > 0.8 * PRIOR_SD
    assert sd.max() <= PRIOR_SD * 1.01


def test_what_was_learned_stays_as_sure_when_it_is_read_again(learned: QualityModel) -> None:
    again = QualityModel.from_bytes(learned.to_bytes())
    for text in (TEXTS[5], CODE):
        assert np.array_equal(again.expected(text).sd, learned.expected(text).sd)


@pytest.mark.parametrize(
    ("least", "like", "within"), [(0.2, 0.3, 1.0), (0.2, 0.1, 0.5), (0.2, -0.1, 0.0), (0.0, -0.1, 1.0)]
)
def test_how_far_a_request_is_within_what_was_seen(least: float, like: float, within: float) -> None:
    trust = Trust(at=np.array([least, 1.0], np.float32), share=np.ones(2, np.float32))
    assert trust.within(like) == pytest.approx(within)

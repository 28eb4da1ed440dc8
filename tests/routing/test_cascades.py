"""Where a cascade begins: on its first step, unless answers to such requests have shown that it does not pay."""

from __future__ import annotations

from segue.models.spec import Catalogue
from segue.routing import Cascade, Predictors
from tests.routing.made import Learned, chosen, model, routed


def seen(n: float, **quality: float) -> Predictors:
    return Predictors(quality=Learned({name: (mean, 0.05) for name, mean in quality.items()}, n=n))


def test_a_cascade_skips_no_step_without_evidence() -> None:
    steps = Cascade(steps=("cheap", "dear"))
    for dear in (1.0, 1.25, 1.9, 4.0, None):
        alike = Catalogue.of(model("cheap", 0.5, 1.0), model("dear", 0.5, dear))
        assert chosen(routed(steps, alike)) == "cheap", dear
        worse = Catalogue.of(model("cheap", 0.1, 1.0), model("dear", 0.9, dear))
        assert chosen(routed(steps, worse)) == "cheap", "what is written down is no evidence"
    poor = Catalogue.of(model("cheap", 0.5, 1.0), model("dear", 0.5, 1.25))
    assert chosen(routed(steps, poor, predictors=seen(50.0, cheap=0.2, dear=0.9))) == "dear"
    assert chosen(routed(steps, poor, predictors=seen(2.0, cheap=0.2, dear=0.9))) == "cheap", "too few are known"
    assert chosen(routed(steps, poor, predictors=seen(50.0, cheap=0.2, dear=0.2))) == "cheap", "no better is there"
    assert chosen(routed(steps, poor, predictors=seen(50.0, cheap=0.9, dear=0.95))) == "cheap", "it pays"
    free = Catalogue.of(model("cheap", 0.5, 1.0), model("dear", 0.5, None))
    assert chosen(routed(steps, free, predictors=seen(50.0, cheap=0.2, dear=0.9))) == "cheap", "no price is known"

"""What the tests of models need."""

from __future__ import annotations

import importlib.util

import pytest

from segue.models import MODELS, has_weights


@pytest.fixture
def smollm2() -> str:
    """The name of a real local model. Skips where it cannot run."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the `local` extra is not installed: pip install 'segue[local]'")
    if not has_weights(MODELS["smollm2"]):
        pytest.skip("the weights of smollm2 are not here: make weights")
    return "smollm2"

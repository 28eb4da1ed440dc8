"""The models: which there are, where their weights lie, and how one is called.

Today they are local: llama.cpp runs in this process, from weights that `python -m segue.models.weights` fetches once. A
call takes a `Request` and gives a `Completion` with its usage. Nothing heavy is imported before the first call.
"""

from __future__ import annotations

from .catalogue import MODELS, LocalModel, local_model
from .errors import (
    BadOutput,
    ContextTooLong,
    LocalExtraMissing,
    ModelError,
    ModelFailed,
    UnknownModel,
    WeightsError,
    WeightsMissing,
    WeightsUnavailable,
)
from .places import has_weights, weights_folder, weights_of
from .records import Completion, Example, Request

__all__ = [
    "MODELS",
    "BadOutput",
    "Completion",
    "ContextTooLong",
    "Example",
    "LocalExtraMissing",
    "LocalModel",
    "ModelError",
    "ModelFailed",
    "Request",
    "UnknownModel",
    "WeightsError",
    "WeightsMissing",
    "WeightsUnavailable",
    "has_weights",
    "local_model",
    "weights_folder",
    "weights_of",
]

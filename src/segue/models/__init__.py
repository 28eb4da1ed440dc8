"""The models: which there are, what each can do and costs, where local weights lie, and how one is called.

A `Catalogue` of `Model`s comes from `segue.toml` or from Python; `models.prices` knows what the providers publish.
Local models run in this process through llama.cpp, from weights that `python -m segue.models.weights` fetches once:
such a call takes a `Request` and gives a `Completion` with its usage. Nothing heavy is imported before the first call.
"""

from __future__ import annotations

from .catalogue import MODELS, LocalModel, local_model
from .errors import (
    BadOutput,
    ContextTooLong,
    InvalidModel,
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
from .spec import Capability, Catalogue, Deployment, Limits, Model, Price, Provider

__all__ = [
    "MODELS",
    "BadOutput",
    "Capability",
    "Catalogue",
    "Completion",
    "ContextTooLong",
    "Deployment",
    "Example",
    "InvalidModel",
    "Limits",
    "LocalExtraMissing",
    "LocalModel",
    "Model",
    "ModelError",
    "ModelFailed",
    "Price",
    "Provider",
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

"""What can go wrong with a model. Each error carries its kind in the taxonomy of `core.faults`.

ModelError
├── WeightsError            the weights of a local model
│   ├── WeightsMissing      they were never fetched
│   └── WeightsUnavailable  they could not be fetched, or what came is not what was expected
├── InvalidModel            a model is described in a way that cannot be
├── UnknownModel            no model of this name is in the catalogue
├── LocalExtraMissing       the package that runs local models is not installed
├── ContextTooLong          the request does not fit into the model's window
├── ModelFailed             the model's server refused or broke
└── BadOutput               the output does not fit the schema, or a check turned it down
"""

from __future__ import annotations

from typing import Any

from ..core.faults import FaultKind
from ..errors import SegueError


class ModelError(SegueError):
    """Base of all errors of models."""

    code = "model"
    fault_kind = FaultKind.TOOL_FAILED


class WeightsError(ModelError):
    """The weights of a local model."""

    code = "weights"
    fault_kind = FaultKind.BAD_REQUEST


class WeightsMissing(WeightsError):
    """The weights were never fetched."""

    code = "weights-missing"


class WeightsUnavailable(WeightsError):
    """The weights could not be fetched, or are damaged."""

    code = "weights-unavailable"
    fault_kind = FaultKind.UNREACHABLE


class InvalidModel(ModelError):
    """A model's description holds a value that cannot be.

    `field` is its dotted path, as `quality.code` or `deployments.0.url`; `says` is what is wrong with it.
    """

    code = "invalid-model"
    fault_kind = FaultKind.BAD_REQUEST
    field: str = ""
    says: str = ""

    @classmethod
    def at(cls, field: str, says: str, *, of: str = "", remedy: str | None = None) -> InvalidModel:
        """The error of one field, of the model that `of` names."""
        error = cls(f"{f'model {of!r}: ' if of else ''}{field}: {says}", remedy=remedy)
        error.field, error.says = field, says
        return error


class UnknownModel(ModelError):
    """No model of this name is in the catalogue."""

    code = "unknown-model"
    fault_kind = FaultKind.BAD_REQUEST


class LocalExtraMissing(ModelError):
    """The package that runs local models is not installed."""

    code = "local-extra-missing"
    fault_kind = FaultKind.BAD_REQUEST


class ContextTooLong(ModelError):
    """The request does not fit into the model's window."""

    code = "context-too-long"
    fault_kind = FaultKind.CONTEXT_TOO_LONG


class ModelFailed(ModelError):
    """The model's server refused the request or broke."""

    code = "model-failed"


class BadOutput(ModelError):
    """The output does not fit the schema, or a check turned it down, and repairs did not help."""

    code = "bad-output"
    fault_kind = FaultKind.BAD_OUTPUT
    tried: tuple[Any, ...] = ()
    """The calls that were made, with their usage."""

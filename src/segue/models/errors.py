"""What can go wrong with a model. Each error carries its kind in the taxonomy of `core.faults`.

ModelError
├── WeightsError            the weights of a local model
│   ├── WeightsMissing      they were never fetched
│   └── WeightsUnavailable  they could not be fetched, or what came is not what was expected
├── InvalidModel            a model is described in a way that cannot be
├── UnknownModel            no model of this name is in the catalogue
├── LocalExtraMissing       the package that runs local models is not installed
├── ContextTooLong          the request does not fit into the model's window
├── VectorsDiffer           vectors of two models, or of two lengths, would be mixed
├── CannotSee               an image, a sound or a document, and a model that cannot take it
├── ToolsUnending           the model still calls tools after the last round
├── ContentBlocked          a guard turned the request or the answer down
├── ModelFailed             the model's server refused or broke
│   ├── RateLimited         over one of its limits
│   ├── Overloaded          it has too much to do, or broke on its own side
│   ├── TooSlow             it did not answer, or not go on, in time
│   ├── Unreachable         the connection, a proxy, or an answer that is none
│   ├── ContentRefused      the provider or the model will not answer this
│   ├── RequestRefused      the request is wrong: it names the field
│   └── NotAuthorised       the key, the account or the model's name: a person must act
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


class VectorsDiffer(ModelError):
    """Vectors of two models do not compare, nor do those of one model at two lengths.

    `wanted` is the space that was asked for, as `text-embedding-3-small@1536`.
    """

    code = "vectors-differ"
    fault_kind = FaultKind.BAD_REQUEST
    wanted: str = ""


class CannotSee(ModelError):
    """What is shown is an image, a sound or a document, and the model that was asked for cannot take it.

    `needs` is the capability that it lacks, `can` the models of the catalogue that have it, separated by commas.
    """

    code = "cannot-see"
    fault_kind = FaultKind.BAD_REQUEST
    needs: str = ""
    can: str = ""


class ToolsUnending(ModelError):
    """The model still calls tools after the last round that it was given. `rounds` is how many those were."""

    code = "tools-unending"
    rounds: int = 0


class ContentBlocked(ModelError):
    """A guard turned the request or the answer down. It is never asked for elsewhere.

    `guard` names it, `stage` is `before` (the request) or `after` (the answer), `why` its reason.
    """

    code = "content-blocked"
    fault_kind = FaultKind.CONTENT_REFUSED
    guard: str = ""
    stage: str = ""
    why: str = ""


class ModelFailed(ModelError):
    """The model's server refused the request or broke.

    `status` is the HTTP status, `said` the provider's own code for it, `retry_after_s` how long it asks to wait, and
    `limit` which of its limits was met; each only where it is known.
    """

    code = "model-failed"
    from_afar = True
    status: int | None = None
    said: str = ""
    retry_after_s: float | None = None
    limit: str | None = None


class RateLimited(ModelFailed):
    """Over one of the provider's limits."""

    code = "rate-limited"
    fault_kind = FaultKind.RATE_LIMITED


class Overloaded(ModelFailed):
    """The provider has too much to do, or broke on its own side."""

    code = "overloaded"
    fault_kind = FaultKind.OVERLOADED


class TooSlow(ModelFailed):
    """No answer, no first token, or no progress in time."""

    code = "too-slow"
    fault_kind = FaultKind.TIMED_OUT


class Unreachable(ModelFailed):
    """The connection failed, a proxy answered, or what came is no whole answer."""

    code = "unreachable"
    fault_kind = FaultKind.UNREACHABLE


class ContentRefused(ModelFailed):
    """The provider's filter or the model itself will not answer this."""

    code = "content-refused"
    fault_kind = FaultKind.CONTENT_REFUSED


class RequestRefused(ModelFailed):
    """The request is wrong, and would be refused again."""

    code = "request-refused"
    fault_kind = FaultKind.BAD_REQUEST


class NotAuthorised(ModelFailed):
    """The key, the account or the model's name is refused: a person must act."""

    code = "not-authorised"
    fault_kind = FaultKind.UNAUTHORISED


class BadOutput(ModelError):
    """The output does not fit the schema, or a check turned it down, and repairs did not help."""

    code = "bad-output"
    fault_kind = FaultKind.BAD_OUTPUT
    tried: tuple[Any, ...] = ()
    """The calls that were made, with their usage."""

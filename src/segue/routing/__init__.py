"""Which model answers: a pipeline from a request to a recorded decision. No model is called to choose one.

features → eligible (each exclusion with its stage and reason) → predictions of quality, cost and latency with their
uncertainty → the policy's objective → a choice with the propensity of every candidate → `core.records.Decision`. Each
stage is a pure function on plain values; `Router` joins them. Policies are dataclasses, named in `[routes.NAME]` of
segue.toml. What is learned comes in by the protocols of `types`. numpy is imported when the first request is routed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import InvalidPolicy, PolicyFailed, UnknownRoute
from .policies import (
    Affinity,
    Arm,
    Best,
    Cascade,
    Cheapest,
    Example,
    Examples,
    Explore,
    Fastest,
    Function,
    Hedge,
    Pinned,
    Policy,
    Rescue,
    Shadow,
    Split,
    Weighted,
)
from .types import (
    Conversation,
    Embedder,
    Features,
    Held,
    Kind,
    Modality,
    Option,
    Piece,
    Predictor,
    Predictors,
    Quality,
    Request,
)

if TYPE_CHECKING:
    from .features import features_of, piece_of
    from .functions import Considered
    from .pipeline import Router, decide
    from .table import Conditions, Situation, Table
    from .toml import load_routes, read_routes

_HOMES = {
    "features": ("features_of", "piece_of"),
    "functions": ("Considered",),
    "pipeline": ("Router", "decide"),
    "table": ("Conditions", "Situation", "Table"),
    "toml": ("load_routes", "read_routes"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Affinity", "Arm", "Best", "Cascade", "Cheapest", "Conditions", "Considered", "Conversation", "Embedder", "Example",
    "Examples", "Explore", "Fastest", "Features", "Function", "Hedge", "Held", "InvalidPolicy", "Kind", "Modality",
    "Option", "Piece", "Pinned", "Policy", "PolicyFailed", "Predictor", "Predictors", "Quality", "Request", "Rescue",
    "Router",
    "Shadow", "Situation", "Split", "Table", "UnknownRoute", "Weighted",
    "decide", "features_of", "load_routes", "piece_of", "read_routes",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what needs numpy when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)

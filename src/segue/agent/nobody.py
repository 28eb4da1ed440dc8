"""The error where nobody can answer."""

from __future__ import annotations

from ..core.faults import FaultKind, rebuild
from ..core.records import Decision, Stage
from ..errors import InputError
from ..models.signals import made

__all__ = ["nobody"]

_PASSES = frozenset({Stage.HEALTH, Stage.LIMIT, Stage.TRIED})


_LESS = "look at it: segue route PROMPT; then ask for less, or add a model to segue.toml"


def nobody(decision: Decision, remedy: str = _LESS) -> Exception:
    """Nobody could answer: each candidate with its reason. It may pass where one of them is only unwell."""
    out = [c for c in decision.candidates if not c.eligible]
    unwell = next((c for c in out if c.excluded_at in _PASSES), None)
    why = "; ".join(f"{c.target.name}: {c.reason}" for c in out[:6]) or "the catalogue is empty"
    said = f"no model can answer by route {decision.policy}: {why}"
    if unwell is not None:
        return rebuild(made(FaultKind.OVERLOADED, said, model=unwell.target.name))
    return InputError(said, remedy=remedy)

"""Models and clocks for the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.core.faults import Fault, FaultKind


@dataclass(frozen=True, kw_only=True)
class Limits:
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, kw_only=True)
class Deployment:
    name: str = "only"
    key_env: str | None = None
    weight: float = 1.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class Model:
    name: str = "m"
    limits: Limits = field(default_factory=Limits)
    deployments: tuple[Deployment, ...] = (Deployment(),)

    def pool(self) -> tuple[Deployment, ...]:
        return self.deployments


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def single(*, key_env: str | None = None, **limits: int) -> Model:
    """A model with one deployment, which has the limits."""
    return Model(deployments=(Deployment(key_env=key_env, limits=Limits(**limits)),))


def pool(*names: str, weights: dict[str, float] | None = None, **limits: int) -> Model:
    """A model whose deployments have the limits each."""
    each = (Deployment(name=n, weight=(weights or {}).get(n, 1.0), limits=Limits(**limits)) for n in names)
    return Model(deployments=tuple(each))


def fault(kind: FaultKind, retry_after_s: float | None = None) -> Fault:
    return Fault(kind, "tests:Error", "no", retry_after_s=retry_after_s)

"""What holds of a route where the caller names the model, and no route: its choice of models is the caller's then.

Where data may go is no choice of models: the tags that the route requires hold. What it says of streams does, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache

from .policies import Pinned, Policy

__all__ = ["has", "instead", "required"]

Tags = Mapping[str, str | Collection[str]]
Way = Mapping[str, tuple[str, ...]]


@lru_cache(maxsize=256)
def instead(policy: Policy, model: str, tags: frozenset[tuple[str, str]]) -> Pinned:
    """A policy that is pinned to a model with these tags, under one of the ways through the other one: the first whose
    tags it has, else the first.
    """
    ways, known = required(policy), dict(tags)
    name, require = policy.name or "default", next((way for way in ways if has(known, way)), ways[0])
    return Pinned(name=name, model=model, require=require, hold_ms=policy.hold_ms, rescue=policy.rescue)


def required(policy: Policy) -> Sequence[Way]:
    """The tags that are required of who answers, once for each way that a request may take through a policy: at least
    one.
    """
    return list(_ways(policy))


def has(tags: Mapping[str, str], way: Way) -> bool:
    """Whether somebody with these tags may answer by a way."""
    return all(tags.get(key) in allowed for key, allowed in way.items())


def _ways(policy: Policy) -> Iterator[Way]:
    """What is required of who answers, once for each way that a request may take through a policy."""
    parts = list(policy.parts())
    if not parts or isinstance(policy, Pinned):  # it names who answers itself
        yield _both(policy.require, {})
    for part in parts:
        for way in _ways(part):
            yield _both(policy.require, way)


def _both(one: Tags, other: Tags) -> Way:
    """What is allowed by both."""
    allowed = {key: _values(said) for key, said in {**other, **one}.items()}
    return {key: tuple(v for v in said if v in _values(other.get(key, said))) for key, said in allowed.items()}


def _values(said: str | Collection[str]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)

"""What a summary must not lose, kept outside of the prose: the state of the work. Pure.

It is a part of its own that always stays, changed by events and not by a model's retelling, so that after a hundred
compactions the task, a constraint or a child that is already running is what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .types import Kind, Part, Role

__all__ = ["Work", "latest"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The structured state of a thread or run."""

    task: str = ""
    constraints: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    """What is still to be done."""
    children: Mapping[str, str] = field(default_factory=dict[str, str])
    """Children in flight: the id of each, and what it does."""

    def constrained(self, *rules: str) -> Work:
        """With these constraints too."""
        return replace(self, constraints=_with(self.constraints, rules))

    def decided(self, *decisions: str) -> Work:
        """With these decisions too."""
        return replace(self, decisions=_with(self.decisions, decisions))

    def begun(self, *todo: str) -> Work:
        """With this work open."""
        return replace(self, open=_with(self.open, todo))

    def done(self, *todo: str) -> Work:
        """Without this work."""
        return replace(self, open=tuple(one for one in self.open if one not in todo))

    def started(self, child: str, does: str) -> Work:
        """With a child in flight."""
        return replace(self, children={**self.children, child: does})

    def ended(self, child: str) -> Work:
        """Without it."""
        return replace(self, children={name: does for name, does in self.children.items() if name != child})

    def with_children(self, children: Mapping[str, str]) -> Work:
        """With these children in flight, and no others."""
        return replace(self, children=dict(children))

    def part(self) -> Part:
        """As a part that stays. The same state gives the same text."""
        lines = [f"Task: {self.task}"] if self.task else []
        lines += _list("Constraints", self.constraints) + _list("Decided", self.decisions)
        lines += _list("Open", self.open)
        lines += _list("In flight, do not start again", [f"{name}: {does}" for name, does in self.children.items()])
        return Part(role=Role.USER, kind=Kind.STATE, text="\n".join(lines))


def latest(parts: Sequence[Part]) -> list[Part]:
    """The parts with the last state only: an older one is not true any more."""
    last = max((at for at, part in enumerate(parts) if part.kind is Kind.STATE), default=-1)
    return [part for at, part in enumerate(parts) if part.kind is not Kind.STATE or at == last]


def _with(old: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*old, *new)))


def _list(title: str, items: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"- {item}" for item in items)] if items else []

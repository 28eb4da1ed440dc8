"""Which calls of a tool a person must approve, and how they are asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import DefinitionError
from ...runtime.waits import Seconds
from ..people.notice import Notify
from ..people.plan import Names, Times

__all__ = ["ApprovalRule", "Approve", "rule_of"]


@dataclass(frozen=True, kw_only=True)
class ApprovalRule:
    """Which calls need a person's yes, and how it is asked for. Without `above` and `when`: every call.

    Where both are given, either of them is enough. What nobody answers in time is not carried out.
    """

    above: Mapping[str, float] = field(default_factory=dict[str, float])
    """Arguments with the amount up to which no approval is needed: `{"cents": 10_000}`. What is no number needs one."""
    when: Callable[..., object] | None = None
    """A plain function of the tool's arguments, by their names; a call for which it is true needs approval, and so does
    one for which it raises. It must depend on nothing else."""
    by: Names = ()
    """Who is asked: people or roles. Empty: anybody."""
    quorum: int = 1
    """How many of them must say yes."""
    question: str = ""
    """What they are asked; empty: whether the tool may be called."""
    timeout_s: Seconds | None = None
    remind_s: Times = ()
    reassign_s: Seconds | None = None
    or_else: Names = ()
    notify: Notify | None = None
    """These five as those of `approve`."""

    def holds(self, parameters: Sequence[str], name: str) -> None:
        """See that it fits the tool of these parameters. Raises DefinitionError."""
        strange = next((one for one in self.above if one not in parameters), None)
        if strange is not None:
            raise DefinitionError(
                f"tool {name}: ApprovalRule(above=...) names {strange!r}, which is no parameter of it",
                remedy=f"its parameters are: {', '.join(parameters) or 'none'}",
            )
        if inspect.iscoroutinefunction(self.when):
            raise DefinitionError(
                f"tool {name}: ApprovalRule(when=...) is async, and it is asked in the flow",
                remedy="give a plain function of the arguments that does no I/O",
            )

    def why(self, arguments: Mapping[str, Any]) -> str | None:
        """Why this call needs a person's yes, in words; None where it does not. Pure, if `when` is."""
        over = next((name for name, most in self.above.items() if not _within(arguments.get(name), most)), None)
        if over is not None:
            return f"{over} is above {self.above[over]:,}"
        if self.when is None:
            return None if self.above else "every call is approved"
        try:
            return "its rule says so" if self.when(**_taken(self.when, arguments)) else None
        except Exception as error:  # noqa: BLE001  a user's function: what cannot be judged is not carried out unseen
            return f"its rule failed: {type(error).__name__}: {error}"


Approve = bool | Callable[..., object] | ApprovalRule
"""What a tool may say of approval: every call, those for which a function of the arguments is true, or a rule."""


def rule_of(approve: Approve) -> ApprovalRule | None:
    """The rule; None where nothing needs approval. Raises DefinitionError."""
    if isinstance(approve, bool):
        return ApprovalRule() if approve else None
    if isinstance(approve, ApprovalRule):
        return approve
    if callable(approve):
        return ApprovalRule(when=approve)
    raise DefinitionError(
        f"tool(approve={approve!r}): True, a function of the arguments, or an ApprovalRule was expected",
        remedy='approve=ApprovalRule(above={"cents": 10_000}, by="claims-lead")',
    )


def _within(given: Any, most: float) -> bool:
    try:
        return not isinstance(given, bool) and bool(given <= most)
    except TypeError:
        return False


def _taken(function: Callable[..., object], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the arguments those that it takes: a rule need not name them all."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return arguments
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return arguments
    return {name: arguments[name] for name in parameters if name in arguments}

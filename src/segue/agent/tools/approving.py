"""A person's yes for one call, and the record of what the model is told of it: the same for `ask` and for agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...core.codec import dumps, fingerprint
from ...core.commands import Effect
from ...core.keys import quoted
from ...core.records import ToolAnswered, ToolOutcome
from ...runtime.scope import FlowScope, here
from ..people.approval import decision
from .result import Told
from .rule import ApprovalRule

__all__ = ["approved", "evidence_of", "note", "unmade"]

_NAME_MAX = 64
"""Characters of a name that a model made up."""


async def approved(
    name: str, rule: ApprovalRule | None, arguments: Mapping[str, Any], evidence: Mapping[str, Any]
) -> tuple[str | None, Told | None]:
    """Have a call approved where its rule says so: the id of the question, and what is told of one that is denied."""
    why = None if rule is None else rule.why(arguments)
    if rule is None or why is None:
        return None, None
    said = await decision(
        rule.question or f"May {name} be called?", dict(arguments), action=name,
        evidence={**evidence, "why it is asked": why}, by=rule.by, quorum=rule.quorum,
        timeout_s=rule.timeout_s, default=False, remind_s=rule.remind_s, reassign_s=rule.reassign_s,
        or_else=rule.or_else, notify=rule.notify,
    )  # fmt: skip
    if said.approval:
        return said.id, None
    who, because = said.approval.by or "somebody", f": {said.approval.note}" if said.approval.note else ""
    few = said.approval.note.replace("nobody answered", "nobody approved it")
    says = (
        f"{name} was not called: {few}" if who == "segue" else
        f"{name} was not called: {who} has denied it{because}"
    )  # fmt: skip
    return said.id, Told(content=says, outcome=ToolOutcome.DENIED, approval=said.id)


def evidence_of(model: str, texts: Sequence[str]) -> dict[str, Any]:
    """What a person is shown beside a call: who asks for it, and what they said."""
    said = "\n".join(filter(None, texts))
    return {"model": model, **({"what it said": said} if said else {})}


def unmade(name: str, args: str) -> str | None:
    """The key of a call that is not made, by what the model wrote; None outside of a flow. The next equal one has
    another key.
    """
    scope = here()
    if not isinstance(scope, FlowScope):
        return None
    return scope.key(quoted(name[:_NAME_MAX]), fingerprint(dumps({"args": args})))


def note(told: Told, *, name: str, call: str, effect: Effect | None, key: str | None) -> None:
    """Put on record what the model is told. A replay writes nothing anew."""
    scope = here()
    if key is None or not isinstance(scope, FlowScope):
        return
    cut, fine = told.cut, told.outcome is ToolOutcome.GIVEN
    record = ToolAnswered(
        tool=name, outcome=told.outcome, call=call, effect=effect, approval=told.approval,
        why="" if fine or not isinstance(told.content, str) else told.content,
        chars=None if cut is None else cut.chars, shown=None if cut is None else cut.shown,
        recall=None if cut is None else cut.handle,
    )  # fmt: skip
    scope.record(record, key)

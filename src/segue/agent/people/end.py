"""The errors of a question that ends without an answer."""

from __future__ import annotations

from ...core.asked import Said
from ...errors import Declined, Unanswered
from ...runtime.scope import FlowScope
from .asking import Request

__all__ = ["declined", "unanswered"]


def unanswered(scope: FlowScope, request: Request, said: Said, key: str) -> Unanswered:
    """Nobody answered in time, or too few, and nothing was said to hold then. It names those who were asked last."""
    few = said.note.removesuffix(" in time")
    few = few if few == "nobody answered" else f"{few} to"
    after_s, who = request.bells[-1].after_s, ", ".join(said.asked_of) or "anybody"
    error = Unanswered(
        f"{few} {request.question!r} within {after_s:g} s; it was asked of {who}",
        run=scope.drive.run,
        key=key,
        remedy="catch it in the flow, give default=, or fork the run to ask again",
    )
    error.question = request.question
    return error


def declined(scope: FlowScope, request: Request, said: Said, key: str) -> Declined:
    """A person will not answer."""
    note = f": {said.note}" if said.note else ""
    error = Declined(
        f"{said.by or 'somebody'} declined to answer {request.question!r}{note}",
        run=scope.drive.run,
        key=key,
        remedy="catch it in the flow, or fork the run to ask again",
    )
    error.by, error.note, error.question = said.by, said.note, request.question
    return error

"""Stands in for the models where the behaviour of the desk is tested, not theirs."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Awaitable, Callable

from examples.support_desk.triage import nearest
from segue.models import Completion, Request


def install(
    replace: Callable[[object, str, object], object], model: Callable[[Request], Awaitable[Completion]] | None = None
) -> None:
    """Put `model`, or this one, in the place of the models. `replace` is setattr, or monkeypatch's."""
    replace(importlib.import_module("segue.models.calls_local"), "complete", model or complete)


async def complete(request: Request) -> Completion:
    """The topic that the words say, and a draft that passes the check."""
    await asyncio.sleep(0.01)
    text = nearest(request.input) or "card" if request.choices else draft(request.input)
    return Completion(text=text, model=request.model, tokens_in=100, tokens_out=10)


def draft(brief: str) -> str:
    """A reply to a case in English."""
    said = dict(line.split(": ", 1) for line in brief.splitlines() if ": " in line)
    number = re.search(r"P-\d+", brief)
    about = f"about payment {number.group()}" if number else "to us"
    what = said.get("Decision", said.get("Policy", ""))
    return f"Hello {said['Customer']}, thank you for writing {about}. Here is what I can say today: {what}."

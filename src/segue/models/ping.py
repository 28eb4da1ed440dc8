"""Does a model answer? One tiny request to each of its deployments: it costs a few tokens."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import MissingExtra, SegueError
from .local import complete
from .records import Request
from .spec import Deployment, Model, Provider

TIMEOUT_S = 60.0
"""A local model is loaded by its first call."""
_CALLS = f"{__package__}.calls"
_ASKED = "Say OK."
_TOKENS = 16
"""Some providers take no smaller limit."""

Probe = Callable[[Model, Deployment, float], Awaitable[object]]
"""Asks one deployment, within so many seconds. What it gives is not looked at; it raises when there is no answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ping:
    """How one deployment answered. `seconds` is the time of the call, also of one that failed."""

    model: str
    deployment: str
    ok: bool
    seconds: float
    says: str = ""
    """What went wrong, in a line."""
    remedy: str | None = None


async def ping(
    model: Model, *, timeout_s: float = TIMEOUT_S, probe: Probe | None = None, environ: Mapping[str, str] = os.environ
) -> list[Ping]:
    """Ask each deployment of a model, all at once. It raises for none of them: what went wrong is in the answer.

    `probe` asks in another way than the model's provider does.
    """
    return await asyncio.gather(*(_one(probe, model, each, timeout_s, environ) for each in model.pool()))


async def hang_up() -> None:
    """Close the connections that this event loop's calls have opened, if there were any."""
    calls = sys.modules.get(_CALLS)
    if calls is not None:
        await calls.close()


async def _one(
    probe: Probe | None, model: Model, deployment: Deployment, timeout_s: float, environ: Mapping[str, str]
) -> Ping:
    began = time.monotonic()

    def ended(ok: bool, says: str = "", remedy: str | None = None) -> Ping:
        seconds = round(time.monotonic() - began, 4)
        return Ping(model=model.name, deployment=deployment.name, ok=ok, seconds=seconds, says=says, remedy=remedy)

    if deployment.key_env is not None and not environ.get(deployment.key_env):
        return ended(False, f"{deployment.key_env} is not set", f"export {deployment.key_env}=…")
    try:
        ask = probe or await _probe_of(model, deployment)
        began = time.monotonic()  # what is imported and connected for the first call is no time of the model's
        async with asyncio.timeout(timeout_s):
            await ask(model, deployment, timeout_s)
    except TimeoutError:
        return ended(False, f"no answer within {timeout_s:g} s")
    except SegueError as error:
        return ended(False, error.message, error.remedy)
    except Exception as error:  # noqa: BLE001  whatever a provider's library raises says that there was no answer
        return ended(False, f"{type(error).__name__}: {error}".strip(": "))
    return ended(True)


async def _probe_of(model: Model, deployment: Deployment) -> Probe:
    """Through the calls of this room, imported and connected; nothing of a provider is imported before.

    Raises MissingExtra, and NotAuthorised where the key is not in the environment.
    """
    if model.provider is Provider.LOCAL:
        return _local
    calls, messages = _module(_CALLS, model), _module("pydantic_ai.messages", model)
    await calls.ready(calls.Call(model=model, deployment=deployment, messages=()))
    return partial(_remote, calls, messages)


async def _local(model: Model, _deployment: Deployment, _timeout_s: float) -> object:
    return await complete(Request(model=model.id, prompt=_ASKED, max_tokens=_TOKENS))


async def _remote(calls: Any, messages: Any, model: Model, deployment: Deployment, timeout_s: float) -> object:
    if model.embeds:
        return await calls.embed(model, deployment, [_ASKED], timeout_s)
    asked = [messages.ModelRequest(parts=[messages.UserPromptPart(content=_ASKED)])]
    thinks = "thinking" in repr(dict(model.settings)) and not model.thoughts  # how much is for the model to say
    most = model.max_output if thinks else min(_TOKENS, model.max_output)
    return await calls.call(
        calls.Call(model=model, deployment=deployment, messages=asked, max_tokens=most, timeout_s=timeout_s)
    )


def _module(name: str, model: Model) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"models of {model.provider} cannot be called here: {error}", remedy="pip install 'segue[models]'"
        ) from error

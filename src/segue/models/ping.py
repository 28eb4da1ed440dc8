"""Does a model answer? One tiny request to each of its deployments: it costs a few tokens."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import MissingExtra, SegueError
from .local import complete
from .records import Request
from .spec import Deployment, Model, Provider

TIMEOUT_S = 60.0
"""A local model is loaded by its first call."""
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
    ask = probe or (_local if model.provider is Provider.LOCAL else _remote)
    return await asyncio.gather(*(_one(ask, model, deployment, timeout_s, environ) for deployment in model.pool()))


async def _one(ask: Probe, model: Model, deployment: Deployment, timeout_s: float, environ: Mapping[str, str]) -> Ping:
    began = time.monotonic()

    def ended(ok: bool, says: str = "", remedy: str | None = None) -> Ping:
        seconds = round(time.monotonic() - began, 4)
        return Ping(model=model.name, deployment=deployment.name, ok=ok, seconds=seconds, says=says, remedy=remedy)

    if deployment.key_env is not None and not environ.get(deployment.key_env):
        return ended(False, f"{deployment.key_env} is not set", f"export {deployment.key_env}=…")
    try:
        async with asyncio.timeout(timeout_s):
            await ask(model, deployment, timeout_s)
    except TimeoutError:
        return ended(False, f"no answer within {timeout_s:g} s")
    except SegueError as error:
        return ended(False, error.message, error.remedy)
    except Exception as error:  # noqa: BLE001  whatever a provider's library raises says that there was no answer
        return ended(False, f"{type(error).__name__}: {error}".strip(": "))
    return ended(True)


async def _local(model: Model, _deployment: Deployment, _timeout_s: float) -> object:
    return await complete(Request(model=model.id, prompt=_ASKED, max_tokens=_TOKENS))


async def _remote(model: Model, deployment: Deployment, timeout_s: float) -> object:
    """Through the calls of this room; nothing of a provider is imported before."""
    calls = _module(f"{__package__}.calls", model)
    if model.embeds:
        return await calls.embed(model, deployment, [_ASKED], timeout_s)
    messages = _module("pydantic_ai.messages", model)
    asked = [messages.ModelRequest(parts=[messages.UserPromptPart(content=_ASKED)])]
    return await calls.call(
        calls.Call(
            model=model, deployment=deployment, messages=asked, tools=(), output_schema=None, output_mode="text",
            max_tokens=min(_TOKENS, model.max_output), settings=model.settings, timeout_s=timeout_s, first_token_s=None,
        )
    )  # fmt: skip


def _module(name: str, model: Model) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"models of {model.provider} cannot be called here: {error}", remedy="pip install 'segue[models]'"
        ) from error

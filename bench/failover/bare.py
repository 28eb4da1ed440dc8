"""Segue without its `ask`: the router, the health of the models, one call and its judgement, in a loop.

It shows what those rooms can do by themselves, and stands in where the engine's own attempt pipeline is not.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

from pydantic_ai.messages import ModelRequest, UserPromptPart

from segue.core.faults import Fault, FaultKind, classify
from segue.core.records import Usage
from segue.models.calls import Call, Reply, call, close
from segue.models.health import Health, Place, Wait
from segue.models.providers import connected
from segue.models.spec import Catalogue, Limits, Model, Price
from segue.models.usage import spent
from segue.models.verdict import judge
from segue.routing import Cheapest, Request, Router

from .lines import Answered, Client, serve

CALLS = 12
"""For one ask at most."""
_FREE = frozenset(
    {FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.BAD_REQUEST, FaultKind.UNAUTHORISED}
)  # fmt: skip
"""Who refuses does not bill."""


def catalogue_of(setup: dict[str, Any]) -> Catalogue:
    """The models of a setup, as a catalogue."""
    return Catalogue.of(
        *(
            Model(
                name=size, id=one["id"], provider="openai", url=setup["url"], key_env=setup["key_env"], window=64_000,
                max_output=4_000, capabilities=frozenset({"json-schema"}), limits=Limits(**one["limits"]),
                price=Price.dollars(*one["dollars"]), quality={"any": 0.9},
            )
            for size, one in setup["models"].items()
        )
    )  # fmt: skip


class Tried(NamedTuple):
    """One attempt. `reply` where one came, `fault` where it is no answer."""

    reply: Reply | None
    fault: Fault | None
    usage: Usage


class Bare:
    """One ask after the other model, until an answer is one."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup, self._models = setup, catalogue_of(setup)
        self._health = Health(setup["health"])
        self._router = Router(self._models, {"cheap": Cheapest(quality_min=0.5)}, view=self._health.view)

    async def ask(self, prompt: str, schema: dict[str, Any]) -> Answered:
        """As the protocol says."""
        end, tried, used, fault = time.monotonic() + self._setup["patience_s"], dict[str, str](), list[Usage](), None
        again = False
        while len(used) < CALLS:
            place = await self._place(prompt, schema, tried, again, end)
            if place is None:
                break
            model = self._models.get(place.model)
            attempt = await self._attempt(model, place, prompt, schema)
            used.append(attempt.usage)
            if attempt.fault is None and attempt.reply is not None:
                return _answered(attempt.reply.text, used, attempt.usage)
            fault = attempt.fault
            tried[model.name] = fault.kind if fault else "no answer"
            if len(tried) == len(self._models):
                tried, again = {}, True
        said = f"{fault.kind}: {fault.message}" if fault else "no place came free"
        return _answered(None, used, Usage(), said)

    async def close(self) -> None:
        """As the protocol says."""
        self._health.close()
        await close()

    async def _place(
        self, prompt: str, schema: dict[str, Any], tried: dict[str, str], again: bool, end: float
    ) -> Place | None:
        """A place at the first one of the router's order that has one; None when the time is over."""
        tokens = (len(prompt) + len(str(schema))) // 3 + self._setup["max_tokens"]
        while time.monotonic() < end:
            waits = [1.0]
            for name in self._order(prompt, tried):
                model = self._models.get(name)
                if again and not self._health.may_retry(model):
                    continue
                got = self._health.try_acquire(model, tokens)
                if not isinstance(got, Wait):
                    return got
                waits.append(got.seconds)
            await asyncio.sleep(min(max(min(waits), 0.005), 0.5))
        return None

    def _order(self, prompt: str, tried: dict[str, str]) -> Sequence[str]:
        request = Request(text=prompt, tried=tried, needs=frozenset({"json-schema"}), tokens_out=40)
        made = self._router.decide(request, id="d", luck=random.random(), route="cheap")
        places = [] if made.choice is None else [made.choice, *made.order]
        return [made.candidates[at].target.name for at in places]

    async def _attempt(self, model: Model, place: Place, prompt: str, schema: dict[str, Any]) -> Tried:
        asked = [ModelRequest(parts=[UserPromptPart(prompt)])]
        began, reply = time.monotonic(), None
        try:
            reply = await call(
                Call(
                    model=model, deployment=place.deployment, messages=asked, output_schema=schema,
                    output_mode="native", max_tokens=self._setup["max_tokens"], timeout_s=self._setup["timeout_s"],
                )
            )  # fmt: skip
            fault, usage = judge(reply, schema), reply.usage
        except Exception as error:  # noqa: BLE001  every error is a fault
            fault = classify(error)
            usage = Usage() if fault.kind in _FREE else spent(model, asked)
        self._health.release(place, fault, time.monotonic() - began, usage.tokens_in + usage.tokens_out)
        return Tried(reply, fault, usage)


def _answered(text: str | None, used: Sequence[Usage], own: Usage, error: str = "") -> Answered:
    return Answered(
        text, len(used), sum(u.tokens_in for u in used), sum(u.tokens_out for u in used), own.tokens_in,
        own.tokens_out, error,
    )  # fmt: skip


async def connect(models: Catalogue) -> None:
    """Import and open all that the first call would, so that no ask waits for it."""
    await asyncio.to_thread(import_module, "segue.models.calls_remote")
    for model in models:
        await connected(model, model.pool()[0])


async def make(setup: dict[str, Any]) -> Client:
    """Make one."""
    await connect(catalogue_of(setup))
    return Bare(setup)


if __name__ == "__main__":
    serve(make, f"segue {version('segue')}")

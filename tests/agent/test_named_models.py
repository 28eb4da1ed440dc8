"""`ask(model=...)` beside a default route that names others: the model is asked, and the record says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from segue import RunFailed, flow
from segue.agent import answer, embedding
from segue.agent.guards import Guard
from segue.agent.guards.moderation import Moderation
from segue.errors import InputError
from segue.models import Capability
from segue.routing import Cascade, Pinned, Policy, Split
from segue.routing.policies import Arm
from segue.testing.provider import Answer, Asked, Served, serve
from tests.agent.routed import CAN, MODELS, asked, opened, served, told

DEFAULTS: Mapping[str, Policy] = {
    "pinned": Pinned(model="small"),
    "cascade": Cascade(steps=("small", "middle")),
    "split": Split(arms=(Arm(name="one", policy=Pinned(model="small"), share=1),)),
    "among": Pinned(model="small", among=("small",)),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def put(options: dict[str, Any]) -> str:
    return (await answer("Which?", timeout_s=8, **options)).model


@flow
async def placed(model: str) -> str:
    return (await embedding(["one", "two"], model=model)).models[0]


@pytest.mark.parametrize("kind", DEFAULTS)
async def test_a_model_that_is_named_is_asked_whatever_the_default_route_names(tmp_path: Path, kind: str) -> None:
    async with serve(served()) as server, opened(tmp_path, server, {"default": DEFAULTS[kind]}) as engine:
        run = await engine.start(put, {"model": "large"})
        assert await run.result() == "large"
        (decision,), _ = await told(run)
        assert (asked(decision), decision.pinned_by, decision.policy) == ("large", "caller", "default")
        assert await engine.run(put, {}) == "small"
        server.next("large", "overloaded")
        again = await engine.start(put, {"model": "large"})
        assert await again.result() == "large"
        decisions, _ = await told(again)
        assert [asked(one) for one in decisions] == ["large", "large"]


@pytest.mark.parametrize("kind", DEFAULTS)
async def test_the_model_of_a_guard_judges_whatever_the_default_route_names(tmp_path: Path, kind: str) -> None:
    def judge(said: Asked) -> Answer | str:
        return '{"flagged": false}'

    guard = Guard(name="judge", look=Moderation(model="large"), stage="before", on_fail="open", timeout_s=8)
    models = served() | {"large": Served(answer=judge)}
    routes = {"default": DEFAULTS[kind]}
    async with serve(models) as server, opened(tmp_path, server, routes, guards=[guard]) as engine:
        assert await engine.run(put, {}) == "small"
        assert [entry.model for entry in server.log] == ["large", "small"]


async def test_a_model_and_a_route_that_does_not_name_it_are_both_said(tmp_path: Path) -> None:
    routes = {"draft": DEFAULTS["cascade"]}
    async with serve(served()) as server, opened(tmp_path, server, routes) as engine:
        assert await engine.run(put, {"route": "draft", "model": "middle"}) == "middle"
        with pytest.raises(RunFailed, match="model='large' and route='draft' are both asked for") as failed:
            await engine.run(put, {"route": "draft", "model": "large"})
        cause = failed.value.__cause__
        assert isinstance(cause, InputError) and "it is no step of the cascade" in str(cause)
        assert str(cause.remedy).startswith("leave one of them out, or let the route draft name large")


async def test_a_model_that_embeds_is_named_as_well(tmp_path: Path) -> None:
    more = {"capabilities": CAN | {Capability.EMBEDDINGS}}
    async with (
        serve(dict.fromkeys(MODELS, Served())) as server,
        opened(tmp_path, server, {"default": DEFAULTS["cascade"]}, models=more) as engine,
    ):
        assert await engine.run(placed, "large") == "large"


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({}, "name a model that the route allows, or let the `require` of route default allow its residency"),
        ({"require": {"residency": "us"}}, "name a model that the route allows, or let the `require` of route default"),
        ({"route": "draft"}, "leave one of them out, or let the route draft allow its residency by `require`"),
        ({"require": {"residency": "ch"}}, "leave `model=` out, or change `require`"),
    ],
)
async def test_the_require_of_the_route_that_keeps_a_model_out_is_named(
    tmp_path: Path, options: dict[str, Any], remedy: str
) -> None:
    policy, tags = Cascade(steps=("small",), require={"residency": "eu"}), {"tags": {"residency": "us"}}
    routes = {"default": policy, "draft": policy}
    async with serve(served()) as server, opened(tmp_path, server, routes, models=tags) as engine:
        with pytest.raises(RunFailed, match="its residency is us, not") as failed:
            await engine.run(put, {"model": "small", **options})
        cause = failed.value.__cause__
        assert isinstance(cause, InputError) and str(cause.remedy).startswith(remedy)

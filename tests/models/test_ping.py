"""A ping asks each deployment for a word, and tells what went wrong instead of raising it."""

from __future__ import annotations

import asyncio

import pytest

from segue.errors import MissingExtra
from segue.models import providers
from segue.models.ping import Ping, Probe, hang_up, ping
from segue.models.spec import Deployment, Model, Provider, local_models
from segue.testing.provider import Served, serve


def model(name: str = "m", **fields: object) -> Model:
    return Model(**{"name": name, "provider": Provider.OPENAI, "window": 1000, "max_output": 100, **fields})  # type: ignore[arg-type]


def asked(given: Model, probe: Probe, environ: dict[str, str] | None = None, timeout_s: float = 5.0) -> list[Ping]:
    return asyncio.run(ping(given, probe=probe, environ=environ or {}, timeout_s=timeout_s))


POOL = model(deployments=(Deployment(name="eu", key_env="EU"), Deployment(name="us"), Deployment(name="asia")))


def test_every_deployment_is_asked_and_one_that_fails_hides_no_other() -> None:
    seen: list[str] = []

    async def probe(_model: Model, deployment: Deployment, _timeout_s: float) -> None:
        seen.append(deployment.name)
        if deployment.name == "us":
            raise ConnectionError("refused")

    answers = asked(POOL, probe, {"EU": "key"})
    assert [(one.deployment, one.ok) for one in answers] == [("eu", True), ("us", False), ("asia", True)]
    assert answers[1].says == "ConnectionError: refused" and sorted(seen) == ["asia", "eu", "us"]


def test_without_its_key_a_deployment_is_not_asked() -> None:
    async def probe(_model: Model, deployment: Deployment, _timeout_s: float) -> None:
        assert deployment.name != "eu"

    eu, us, _ = asked(POOL, probe, {"EU": ""})
    assert (eu.ok, eu.says, eu.remedy) == (False, "EU is not set", "export EU=…") and us.ok


def test_no_answer_in_time_is_a_failure() -> None:
    async def probe(_model: Model, _deployment: Deployment, _timeout_s: float) -> None:
        await asyncio.Event().wait()

    (answer,) = asked(model(), probe, timeout_s=0.01)
    assert not answer.ok and answer.says == "no answer within 0.01 s"


def test_an_error_of_ours_brings_its_remedy() -> None:
    async def probe(_model: Model, _deployment: Deployment, _timeout_s: float) -> None:
        raise MissingExtra("a package is missing", remedy="pip install it")

    (answer,) = asked(model(), probe)
    assert (answer.says, answer.remedy) == ("a package is missing", "pip install it")


async def test_a_model_that_thinks_has_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    thinks = {"anthropic_thinking": {"type": "enabled", "budget_tokens": 1024}}
    async with serve({"claude": Served(thinking=True)}) as server:
        claude = model(
            provider=Provider.ANTHROPIC, id="claude", url=server.url, window=8000, max_output=4000, settings=thinks
        )
        (answer,) = await ping(claude)
    await hang_up()
    assert answer.ok, answer.says


@pytest.mark.parametrize("able", [(), ("embeddings",)])
async def test_what_is_imported_for_the_first_call_is_no_time_of_the_models(
    monkeypatch: pytest.MonkeyPatch, able: tuple[str, ...]
) -> None:
    imported = providers.imported

    async def long_import(given: Model) -> object:
        await asyncio.sleep(1.0)
        return await imported(given)

    monkeypatch.setenv("OPENAI_API_KEY", "test")
    async with serve({"a": Served()}) as server:
        asked = model(id="a", url=server.openai_url, capabilities=able)
        await ping(asked)
        await hang_up()
        monkeypatch.setattr(providers, "imported", long_import)
        (answer,) = await ping(asked)
    await hang_up()
    assert answer.ok and answer.seconds < 0.9, answer


def test_the_local_model_answers(smollm2: str) -> None:
    (answer,) = asyncio.run(ping(local_models().get(smollm2)))
    assert answer.ok and answer.seconds > 0 and answer.says == ""

"""Embeddings of every provider that has them; and nothing of a vendor is imported before its first call."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from segue.models import errors
from segue.models.calls import close, embed
from segue.models.spec import Capability, Model, Price, Provider
from tests.models.formats import CLAUDE
from tests.models.loopback import Say, serve


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k-1")


@pytest.mark.parametrize("provider", [Provider.OPENAI, Provider.OPENAI_COMPATIBLE, Provider.OLLAMA, Provider.MISTRAL])
async def test_texts_are_embedded_in_their_order(provider: Provider) -> None:
    data = [{"object": "embedding", "index": n, "embedding": [float(n), 0.5]} for n in (1, 0)]
    said = {"object": "list", "id": "e", "data": data, "model": "e", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    async with serve(lambda _: Say(body=said)) as server:
        model = Model(
            name="e", provider=provider, capabilities=frozenset({Capability.EMBEDDINGS}), window=1000, max_output=0,
            url=server.url + "/v1", key_env="TEST_KEY", price=Price.dollars("0.02", 0),
        )  # fmt: skip
        vectors, usage = await embed(model, model.pool()[0], ["a", "b"], 10)
        assert (vectors, usage.tokens_in, usage.estimated, usage.cost_nano) == ([[0.0, 0.5], [1.0, 0.5]], 7, False, 140)
        with pytest.raises(errors.BadOutput, match="2 vectors for 3 texts"):
            await embed(model, model.pool()[0], ["a", "b", "c"], 10)
        server.say = lambda _: Say(429, {"error": {"message": "slow"}}, {"retry-after": "2"})
        with pytest.raises(errors.RateLimited) as limited:
            await embed(model, model.pool()[0], ["a"], 10)
        await close()
    assert limited.value.retry_after_s == 2.0 and len(server.asked) == 3


USED = {"prompt_tokens": 7, "total_tokens": 7}
ODD = [
    (Provider.OPENAI, {"object": "list", "data": None, "model": "e", "usage": USED}),
    (Provider.OPENAI, {"object": "list", "data": [{"index": 0}], "model": "e", "usage": USED}),
    (Provider.MISTRAL, {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "model": "e", "usage": USED}),
    (Provider.MISTRAL, {"id": "e", "object": "list", "data": [{"index": 0}], "model": "e", "usage": USED}),
]


@pytest.mark.parametrize(("provider", "said"), ODD)
async def test_whole_answers_of_another_form_are_no_embeddings(provider: Provider, said: dict[str, object]) -> None:
    async with serve(lambda _: Say(body=said)) as server:
        model = Model(
            name="e", provider=provider, capabilities=frozenset({Capability.EMBEDDINGS}), window=1000, max_output=0,
            url=server.url + "/v1", key_env="TEST_KEY",
        )  # fmt: skip
        with pytest.raises(errors.BadOutput, match=r"cannot be read as embeddings|1 vectors"):
            await embed(model, model.pool()[0], ["a"], 10)
        await close()


async def test_a_provider_without_embeddings_says_so() -> None:
    model = CLAUDE.model("http://127.0.0.1:9")
    with pytest.raises(errors.RequestRefused, match="anthropic has no embeddings"):
        await embed(model, model.pool()[0], ["a"])
    await close()


async def test_gemini_embeds_too() -> None:
    said = {"embeddings": [{"values": [0.5, 1.0]}, {"values": [1.0, 0.5]}]}
    async with serve(lambda _: Say(body=said)) as server:
        model = Model(
            name="e", provider=Provider.GOOGLE, capabilities=frozenset({Capability.EMBEDDINGS}), window=1000,
            max_output=0, url=server.url, key_env="TEST_KEY",
        )  # fmt: skip
        vectors, usage = await embed(model, model.pool()[0], ["a", "b"])
        await close()
    assert vectors == [[0.5, 1.0], [1.0, 0.5]] and usage.estimated
    assert "embed" in server.asked[0].path.lower()


VENDORS = {
    "openai": "openai", "openai-responses": "openai", "anthropic": "anthropic", "google": "google.genai",
    "bedrock": "boto3", "mistral": "mistralai", "groq": "groq", "ollama": "openai",
}  # fmt: skip
LOADED = """
import asyncio, json, os, sys
import segue.models.calls, segue.models.signals, segue.models.exchange
vendors = ("openai", "anthropic", "google.genai", "boto3", "botocore", "mistralai", "groq")
def loaded(): return sorted(v for v in (*vendors, "pydantic_ai", "httpx", "httpx2", "numpy") if v in sys.modules)
print(loaded())
from pydantic_ai.messages import ModelRequest, UserPromptPart
from segue.models.calls import Call, call
from segue.models.spec import Model
def first(provider):
    m = Model(name="m", provider=provider, window=100, max_output=10, url="http://127.0.0.1:9", region="us-east-1",
              key_env="PATH" if provider != "bedrock" else None)
    c = Call(model=m, deployment=m.pool()[0], messages=[ModelRequest(parts=[UserPromptPart("x")])])
    try: asyncio.run(call(c))
    except Exception as error: return type(error).__name__
for provider in sys.argv[1:]:
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        error = first(provider)
        print(json.dumps([provider, error, [v for v in loaded() if v in vendors]]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.proof
def test_no_vendor_is_imported_before_its_first_call() -> None:
    """Each provider's first call is made in a fork of one process, which has loaded what all of them need."""
    env = os.environ | {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    words = [sys.executable, "-c", LOADED, *VENDORS]
    ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=150, env=env)
    before, *firsts = ran.stdout.splitlines()
    assert before == "[]", ran.stdout
    wanted = {name: {vendor, "botocore"} if name == "bedrock" else {vendor} for name, vendor in VENDORS.items()}
    found = {name: (error, set(loaded)) for name, error, loaded in map(json.loads, firsts)}
    assert found == {name: ("Unreachable", loaded) for name, loaded in wanted.items()}


FIRST_CALLS = """
import asyncio
from segue.models.calls import Call, call
from segue.models.errors import ModelError
from segue.models.spec import Model
model = Model(name="m", provider="openai", url="http://127.0.0.1:9/v1", window=1000, max_output=100)
async def one(late):
    await asyncio.sleep(late)
    try:
        await call(Call(model=model, deployment=model.pool()[0], messages=[]))
    except ModelError:
        return
async def main():
    await asyncio.gather(*(one(n / 50) for n in range(100)))
asyncio.run(main())
"""


def test_first_calls_that_come_together_wait_for_one_import() -> None:
    environment = {**os.environ, "OPENAI_API_KEY": "any"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALLS], env=environment, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr

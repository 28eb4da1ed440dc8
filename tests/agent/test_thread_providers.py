"""A thread whose turns go from provider to provider, with calls of tools: each takes what the others have said."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from segue import Thread, ask, flow, tool
from segue.models import Catalogue, Provider
from segue.testing import Engine as InMemory
from segue.testing.provider import Asked, Outcome, Served, serve
from tests.agent.served import FORMATS, KEYS, calls, catalogue, model

NAMES = ("mistral", *FORMATS)
ORDER = ["mistral", "mistral", *(NAMES[i * step % 5] for step in range(1, 5) for i in range(1, 6))]
"""Each of the five after each other one."""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "MISTRAL_API_KEY"):
        monkeypatch.setenv(name, "test")


@tool(effect="read")
async def look_up(n: int) -> str:
    """Look it up."""
    return f"result {n}"


@flow
async def turn(text: str, who: str, streamed: bool = False) -> str:
    return await ask(text, model=who, tools=[look_up], timeout_s=5, max_tokens=300, stream=streamed)


def reader(asked: Asked) -> Any:
    """Looks up what an even turn asks for, and says what it is shown."""
    last = asked.turns[-1]
    if last.role == "tool":
        return f"It is {last.text}."
    n = int(last.text.split()[-1])
    return "I know it." if n % 2 else calls("look_up", n=n)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_thread_crosses_all_providers_with_tools(streamed: bool) -> None:
    models = {name: Served(answer=reader, mistral=name == "mistral") for name in NAMES}
    async with serve(models) as server:
        own = replace(model(server, "chat"), name="mistral", id="mistral", provider=Provider.MISTRAL, url=server.url)
        known = Catalogue.of(own, *catalogue(server))
        async with InMemory(resources={"catalogue": known}) as engine:
            thread = Thread("t", engine)
            for n, name in enumerate(ORDER):
                said = await (await thread.start(turn, f"look up {n}", name, streamed)).result()
                assert ("I know it." if n % 2 else f"result {n}") in said, name
        assert {seen.outcome for seen in server.log} == {Outcome.ANSWERED}
        assert len(server.log) == len(ORDER) * 3 // 2
    assert len({*pairwise(ORDER)}) == 21

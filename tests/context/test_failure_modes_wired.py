"""How context goes wrong in the field: compaction, memory and sent histories in the wired `ask`, over real requests.

What is told of the pure room in `test_failure_modes_room.py` holds where threads, summaries and memories meet a server
that refuses what real ones do. Of 6 there are more in `tests/agent/test_long_threads.py` and `…_of_tools.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Thread, ask, detach, flow, memory, tool, wait_for
from segue.models import Catalogue
from segue.testing.provider import Answer, Asked, Call, Outcome, Served, serve
from segue.testing.provider import Provider as Server
from tests.agent.served import FORMATS, KEYS, model, results


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def opened(path: Path, server: Server, name: str, window: int) -> Engine:
    small = replace(model(server, name), window=window, max_output=500)
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(small)})


def none_refused(server: Server) -> None:
    assert [(one.status, one.error) for one in server.log if one.outcome is Outcome.REJECTED] == []


@tool(effect="read")
async def page(n: int) -> str:
    """A page of the book."""
    return f"page {n}: " + " ".join(f"word{i}" for i in range(40))


TALK = "We talk about the weather, the food and the way to the station, at some length. " * 5

# 2. Compaction between a call and its result --------------------------------------------------------------------------


@flow
async def reads(text: str) -> str:
    return await ask(text, tools=[page], max_tokens=300, timeout_s=10)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FORMATS)
async def test_2_a_summary_never_parts_a_call_from_its_result(tmp_path: Path, name: str) -> None:
    """Each turn calls two tools at once; summaries are made in between, in every provider's form."""

    def answer(asked: Asked) -> Any:
        if "Summarise this part" in asked.system:
            return json.dumps({"summary": "Pages were read."})
        if asked.turns[-1].role == "tool" or asked.turns[-1].text.startswith("page"):
            return "Read."
        n = len(results(asked))
        return Answer(calls=(Call("page", json.dumps({"n": n})), Call("page", json.dumps({"n": n + 1}))))

    async with serve({name: Served(answer=answer)}) as server:
        async with opened(tmp_path, server, name, 2_600) as engine:
            thread = Thread("t")
            for n in range(14):
                assert await (await thread.start(reads, f"Read on from {n}. {TALK}")).result() == "Read."
            assert engine.journal.query("select count(*) from summaries")[0][0] >= 1
        none_refused(server)


# 6. Coherence lost by compaction --------------------------------------------------------------------------------------


@flow
async def packs() -> str:
    return str(await wait_for("packed"))


@flow
async def works(text: str) -> str:
    if "Have it packed" in text:
        await detach(packs, id="packing")
    return await ask(text, tools=[page, long_page], max_tokens=300, timeout_s=10)


@tool(effect="read")
async def long_page(n: int) -> str:
    """A long page of the book."""
    return f"page {n}: " + " ".join(f"word{n}-{i}" for i in range(250))


@pytest.mark.proof
@pytest.mark.parametrize("name", FORMATS)
async def test_6_dozens_of_compactions_of_what_tools_gave_keep_goal_constraint_decision_and_child(
    tmp_path: Path, name: str
) -> None:
    """Each turn reads pages of which two fill the window, and the prose of the summaries keeps nothing at all."""
    wanted = ["Task: 0: Plan the move to Oslo.", "Never on a Friday.", "We decided on the ferry.", "packing: packs"]
    lines = {0: "Plan the move to Oslo.", 1: "We decided on the ferry.", 2: "Have it packed.", 3: "Never on a Friday."}

    def answer(asked: Asked) -> Any:
        said = asked.prompt
        if "Summarise this part" in asked.system:
            told = {"decisions": re.findall(r"We decided [\w ]+\.", said)[:1]}
            told["constraints"] = re.findall(r"Never [\w ]+\.", said)[:1]
            return json.dumps({"summary": "Pages were read.", **told})
        last = asked.turns[-1]
        if last.text.endswith("State?"):
            text = "\n".join([asked.system, *(turn.text for turn in asked.turns)])
            return json.dumps([one for one in wanted if one in text])
        if last.role == "tool" or last.text.startswith("page"):
            return "Read."
        n = int(re.findall(r"(\d+):", last.text)[-1])
        return Answer(calls=tuple(Call("long_page", json.dumps({"n": 2 * n + k}), id=f"c{n}-{k}") for k in (0, 1)))

    async with serve({name: Served(answer=answer)}) as server:
        async with opened(tmp_path, server, name, 3_000) as engine:
            thread = Thread("t")
            for n in range(40):
                assert await (await thread.start(works, f"{n}: {lines.get(n, 'Read on.')}")).result() == "Read."
            state = await (await thread.start(works, "State?")).result()
            count = engine.journal.query("select count(*) from summaries")[0][0]
        none_refused(server)
    assert count >= 24, count
    assert json.loads(state) == wanted


# 7. Memory junk -------------------------------------------------------------------------------------------------------


@flow
async def keeps(texts: list[str]) -> int:
    return len([await memory.remember(text, "user:ann") for text in texts])


@flow
async def corrects() -> int:
    return await memory.edit(1, "Ann lives in Bergen.", by="ann", why="moved")


@flow
async def recalls(text: str) -> str:
    return await ask(text, memory=["user:ann"], memory_tokens=200, max_tokens=300, timeout_s=10)


async def test_7_noise_does_not_crowd_out_and_what_was_corrected_stays_away(tmp_path: Path) -> None:
    noise = [f"The user said hello for the time number {n}, and was friendly." for n in range(200)]

    def shown(asked: Asked) -> str:
        return "\n".join(turn.text for turn in asked.turns)

    async with serve({"chat": Served(answer=shown)}) as server:
        async with opened(tmp_path, server, "chat", 8_000) as engine:
            await engine.run(keeps, ["Ann lives in Oslo.", *noise])
            await engine.run(corrects)
        async with opened(tmp_path, server, "chat", 8_000) as engine:  # another process
            await engine.run(keeps, ["Ann lives in Oslo."], id="the extractor, again")
            said = await engine.run(recalls, "Where does Ann live?")
    assert "Bergen" in said
    assert "Oslo" not in said
    assert len(said) < 2_000


# 10. Duplicated turns -------------------------------------------------------------------------------------------------


@flow
async def chats(sent: list[dict[str, str]]) -> str:
    return await ask(sent[-1]["content"], history=sent, max_tokens=300, timeout_s=10)


@pytest.mark.parametrize("keeps", ["all of it", "its last turns", "nothing"])
async def test_10_what_a_client_sends_again_is_shown_once(tmp_path: Path, keeps: str) -> None:
    """Equal turns that were said twice stay two, also where the client sends all that it has each time."""
    lines = ["Question 0?" if n == 0 else "Yes." if n % 3 else f"Question {n}?" for n in range(12)]
    async with (
        serve({"chat": Served(answer=lambda asked: f"Answer {len(asked.turns)}.")}) as server,
        opened(tmp_path, server, "chat", 32_000),
    ):
        thread, client = Thread("t"), list[dict[str, str]]()
        for n, line in enumerate(lines):
            client.append({"role": "user", "content": line})
            sent = {"all of it": client, "its last turns": client[-5:], "nothing": client[-1:]}[keeps]
            client.append(
                {"role": "assistant", "content": await (await thread.start(chats, [*sent], id=str(n))).result()}
            )
        last = server.log[-1]
        assert len([e for e in server.log if e.model == "chat"]) == 12
        asked = [one for one in json.loads(last.raw)["messages"] if one["role"] == "user"]
        assert [one["content"] for one in asked] == lines

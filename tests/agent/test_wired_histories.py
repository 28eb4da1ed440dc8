"""What is true of every call of a thread, whatever was said in it: from outcomes as they are stored to messages."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from segue.agent.past import turn_of
from segue.agent.request import Question, messages
from segue.agent.turns import stands, told
from segue.agent.window import fitted, room_in
from segue.context import ContextOverflow, Kind, Part, Role, Work, tokens_of
from segue.context.form import form
from segue.context.messages import parts_of
from segue.core.records import Fate
from segue.models import Capability, Model, Price, Provider
from tests.context.histories import kept

PROVIDERS = (Provider.OPENAI_COMPATIBLE, Provider.OPENAI_RESPONSES, Provider.ANTHROPIC, Provider.GOOGLE)
CAN = frozenset(Capability) - {Capability.EMBEDDINGS}
MANY, CHUNK = int(os.environ.get("SEGUE_HISTORIES", "2000")) // 20, 50
SEEDS = Path(__file__).parent / "wired_seeds.txt"
"""Seeds that once found a fault; they are tried for ever."""
WORDS = ("Rome", "7", "hills", "weather", "<system>", "Ω≈ç", "naïve", "[recalled]", "0x1f", "well,", "\n", "😀")


def model(luck: Random) -> Model:
    provider = luck.choice(PROVIDERS)
    return Model(
        name=luck.choice(("m", "n")), provider=provider, id="m", capabilities=CAN, max_output=400,
        window=luck.choice((2_000, 4_000, 9_000)), price=Price.dollars(1, 1), url="http://127.0.0.1:9",
    )  # fmt: skip


def text(luck: Random, most: int = 60) -> str:
    return " ".join(luck.choices(WORDS, k=luck.randint(1, most)))


def rounds(luck: Random, turn: int) -> list[dict[str, Any]]:
    """Rounds of tools, parallel calls among them, with what their provider sealed."""
    made: list[dict[str, Any]] = []
    for n in range(luck.choice((0, 0, 1, 2, 3))):
        ids = [f"c{turn}-{n}-{k}" if luck.random() < 0.9 else "same" for k in range(luck.randint(1, 3))]
        ids = list(dict.fromkeys(ids))
        said: list[dict[str, Any]] = []
        if luck.random() < 0.3:
            said.append(
                {"part_kind": "thinking", "content": text(luck), "signature": "s", "provider_name": "anthropic"}
            )
        said += [{"part_kind": "tool-call", "tool_name": "look", "args": "{}", "tool_call_id": one} for one in ids]
        maker = {"metadata": {"segue": {"model": luck.choice(("m", "n", "o")), "deployment": None}}}
        made.append({"kind": "response", "parts": said, **maker})
        gave = [
            {"part_kind": "tool-return", "tool_name": "look", "content": text(luck, 400), "tool_call_id": one}
            for one in ids
        ]
        made.append({"kind": "request", "parts": gave})
    return made


def outcome(luck: Random, n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    question: dict[str, Any] = {
        "prompt": f"turn {n} {text(luck)}",
        "parts": [text(luck)] if luck.random() < 0.2 else [],
    }
    if luck.random() < 0.1:
        question["before"] = [{"role": "user", "content": text(luck)}, {"role": "assistant", "content": text(luck)}]
    tried = [{"model": luck.choice(("m", "n")), "text": text(luck) if luck.random() < 0.8 else ""}]
    return {"question": question, "turns": rounds(luck, n)}, {"value": {"a": text(luck)}, "tried": tried}


def question_of(luck: Random) -> Question:
    past: list[dict[str, Any]] = []
    for part in (Work(task="find Rome").constrained("never on Fridays").part(), summary(luck), note(luck)):
        if luck.random() < 0.4:
            past.append(stands(part))
    memories = [one for one in past if "[recalled]" in one["parts"][0]["content"][:12]]
    past = [one for one in past if one not in memories]
    for n in range(luck.choice((0, 1, 5, 30, 120))):
        past += turn_of(*outcome(luck, n))
    tool = {"name": "look", "description": "Looks.", "parameters_json_schema": {"type": "object", "properties": {}}}
    return Question(
        prompt=f"the request {text(luck)}", parts=[text(luck)] if luck.random() < 0.3 else [], system="Be brief.",
        tools=[tool], max_tokens=300, history=list(told([*past, *memories])), turns=rounds(luck, 999), thread="t",
    )  # fmt: skip


def summary(luck: Random) -> Part:
    return Part(role=Role.USER, kind=Kind.SUMMARY, text=text(luck), made_of=("aa", "bb"), source="turns 1 to 9")


def note(luck: Random) -> Part:
    return Part(role=Role.USER, kind=Kind.MEMORY, text=text(luck), source="user ann: note-1", relevance=0.5)


def check(seed: int) -> bool:
    luck = Random(seed)
    asked, reader = question_of(luck), model(luck)
    try:
        shown, manifest = fitted(asked, reader, "d1", thread="t")
    except ContextOverflow:
        return False
    again, _ = fitted(asked, reader, "d1", thread="t")
    assert (again.history, again.turns) == (shown.history, shown.turns), "the same input gives the same call"
    parts = parts_of(messages(shown))
    open_: Counter[str] = Counter()
    for part in parts:
        if part.kind is Kind.CALL:
            open_[part.call or ""] += 1
        elif part.kind is Kind.RESULT:
            open_[part.call or ""] -= 1
            assert open_[part.call or ""] >= 0, "a result without its call"
        assert part.bound in (None, reader.name), "what another model sealed"
    assert not +open_, "a call without its result"
    said = [part.text for part in parts]
    assert any(asked.prompt in one for one in said) and "Be brief." in said[0], "what must stay"
    for message in asked.history:
        content = message["parts"][0].get("content")
        if isinstance(content, str) and content.startswith(("<state>", "<summary>")):
            assert content in said
    users = [one.split()[1] for one in said if one.startswith("turn ")]
    assert users == sorted(users, key=int), "the order is kept"
    count = tokens_of(reader)
    total = sum(count(form(part)) + count(part.tool or "") for part in parts)
    assert total <= reader.window - 300, "within the window, less the answer"
    assert manifest.tokens <= room_in(asked, reader).window - 300
    assert json.dumps(shown.history)
    assert all(part.why for part in manifest.parts if part.fate is not Fate.KEPT)
    return True


def held(seed: int) -> bool:
    try:
        return check(seed)
    except AssertionError as error:
        pytest.fail(f"seed {seed} (add it to {SEEDS.name}): {error}")


def test_histories_that_once_were_unsound() -> None:
    seeds = kept(SEEDS)
    assert seeds and sum(map(held, seeds)) > len(seeds) // 2


@pytest.mark.proof
@pytest.mark.parametrize("chunk", range(max(1, MANY // CHUNK)))
def test_every_call_of_a_thread_is_sound(chunk: int) -> None:
    done = sum(held(seed) for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK))
    assert done > CHUNK // 2, "most can be fitted"

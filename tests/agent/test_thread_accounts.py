"""Nothing of a thread is silently gone: each part of it is shown, named as left out, or stands in a summary.

Random threads, from outcomes as they are stored to the manifest of a call and to what is summed up next.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest

from segue.agent import compacting, threads
from segue.agent.past import Past
from segue.agent.request import Question
from segue.agent.threads import Room, history
from segue.agent.window import fitted, overfull
from segue.context import ContextOverflow, Work
from segue.context.manifest import NOT_READ
from segue.core.codec import codec
from segue.core.records import Fate
from segue.journal import Outcome
from segue.models import Model, Price, Provider
from segue.runtime.scope import Outside, StepScope

MANY, CHUNK = int(os.environ.get("SEGUE_HISTORIES", "2000")) // 20, 50
PROVIDERS = (Provider.OPENAI_COMPATIBLE, Provider.OPENAI_RESPONSES, Provider.ANTHROPIC, Provider.GOOGLE)


class Kept:
    """A thread as a journal has it."""

    def __init__(self, outcomes: list[Outcome]):
        self.outcomes, self.room, self.past = outcomes, cast("Room | None", None), Past()

    def said(self, tenant: str, thread: str, upto: int, after: int = 0, *, oldest: bool = False) -> Iterator[Outcome]:
        found = [one for one in self.outcomes if after < one.no <= upto]
        yield from found if oldest else found[::-1]

    def summary(self, tenant: str, thread: str, upto: int) -> bytes | None:
        return None if self.room is None else codec(Room).encode(self.room)


def text(luck: Random, most: int) -> str:
    return " ".join(luck.choice(("Rome", "7", "weather", "0x1f", "naïve", "well,", "😀")) for _ in range(most))


def outcome(luck: Random, n: int, tools: float, longest: int) -> Outcome:
    turns: list[dict[str, Any]] = []
    for k in range(luck.randint(1, 3) if luck.random() < tools else 0):
        ids = [f"c{n}-{k}-{i}" for i in range(luck.randint(1, 2))]
        asked = [{"part_kind": "tool-call", "tool_name": "look", "args": "{}", "tool_call_id": one} for one in ids]
        gave = [
            {"part_kind": "tool-return", "tool_name": "look", "tool_call_id": one,
             "content": "the same" if luck.random() < 0.1 else f"{one} {text(luck, luck.randint(1, longest))}"}
            for one in ids
        ]  # fmt: skip
        turns += [{"kind": "response", "parts": asked}, {"kind": "request", "parts": gave}]
    question = {"prompt": f"turn {n} {text(luck, luck.randint(1, 40))}"}
    given = {"value": "ok", "tried": [{"model": "m", "text": f"answer {n} {text(luck, luck.randint(1, 20))}"}]}
    args = {"question": question, "turns": turns}
    return Outcome(n, 1, n, json.dumps(args).encode(), json.dumps(given).encode())


def check(seed: int, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, bool]:
    """Whether something was left out, and whether something was not read."""
    luck = Random(seed)
    length, tools, longest = luck.choice((5, 25, 70)), luck.choice((0.0, 0.3, 1.0)), luck.choice((20, 200, 900))
    kept = Kept([outcome(luck, n, tools, longest) for n in range(1, length + 1)])
    for module in (threads, compacting):
        monkeypatch.setattr(module, "outside", lambda: kept)
        monkeypatch.setattr(module, "kept_past", lambda: kept.past)
    model = Model(
        name="m", provider=luck.choice(PROVIDERS), id="m", max_output=400, window=luck.choice((2_500, 5_000, 16_000)),
        price=Price.dollars(1, 1), url="http://127.0.0.1:9",
    )  # fmt: skip
    scope = StepScope("r", "ask[0]#1", 1)
    question = Question(prompt="And now?", thread="t", heard=length, max_tokens=300)
    gone = unread = False
    for _ in range(length + 1):
        past = list(history(question, scope, model.window))
        whole = replace(question, history=past)
        try:
            _, manifest = fitted(whole, model, "d", thread="t")
        except ContextOverflow:
            return gone, unread
        accounted(manifest, kept, length)
        reading = compacting._Reading(question, model, kept.room, scope, cast("Outside", kept))  # pyright: ignore[reportPrivateUsage]
        goal = reading.goal()
        left_out = overfull(whole, model, more=bool(whole.tools))
        not_read = any(part.why == NOT_READ for part in manifest.parts)
        gone, unread = gone or left_out, unread or not_read
        assert not not_read or left_out, "what is not read is left out, too"
        if not left_out:
            assert not goal
            return gone, unread
        bite = reading.bite(goal, 2 / 3)
        after = 0 if kept.room is None else kept.room.upto
        if bite is None:
            assert goal <= after and not not_read, "there is something to sum up"
            return gone, unread
        assert bite.since == after + 1 and after < bite.last <= goal < length
        assert len(bite.asks.text) <= 4 * max(compacting.BITE, 6_000) or bite.last == bite.since, "a bite is bounded"
        made = tuple(part.hash for part in bite.asks.covers)
        kept.room = Room(
            upto=bite.last, text=f"so far {bite.last}", work=Work(), made_of=made, since=bite.since, covered=9
        )
        question = replace(question, summed=bite.last)
    raise AssertionError("it is never summed up")


def accounted(manifest: Any, kept: Kept, heard: int) -> None:
    summed = 0 if kept.room is None else kept.room.upto
    unread = [part for part in manifest.parts if part.why == NOT_READ]
    if unread:
        first, last = map(int, re.findall(r"\d+", unread[0].source))
        assert first == summed + 1 and len(unread) == 1 and unread[0].fate is Fate.DROPPED
        summed = last
    read = Counter(part.hash for one in kept.said("", "", heard, summed) for part in kept.past.turn(one).parts)
    named = Counter(part.hash for part in manifest.parts)
    together = sum(int(n) for part in manifest.parts for n in re.findall(r"^(\d+) parts", part.source or ""))
    assert sum((read - named).values()) == together
    if kept.room is not None:
        covers = [part for part in manifest.parts if part.fate is Fate.SUMMARISED]
        assert [part.source for part in covers] == [f"turns 1 to {kept.room.upto}"]


@pytest.mark.proof
@pytest.mark.parametrize("chunk", range(max(1, MANY // CHUNK)))
def test_nothing_of_a_thread_is_silently_gone(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = [check(seed, monkeypatch) for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
    assert sum(gone for gone, _ in done) > CHUNK // 5
    assert any(unread for _, unread in done)

"""Thoughts within the text of an answer: however it is cut into pieces, they are told apart as in a whole one."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_ai.messages import TextPart, ThinkingPart

from segue.models.calls import Delta, Reply, call, close, stream
from segue.models.tags import Apart
from tests.models.formats import CHAT, COMPATIBLE, GROQ, MISTRAL, OLLAMA, Format
from tests.models.loopback import Asked, Say, serve
from tests.models.test_calls import ASKED, Call

TAGS = ("<think>", "</think>")
WORDS = st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "<thi", "nk>", "think>", "a", " b\n", "{}"]))
SPLITS = pytest.mark.parametrize("format", [CHAT, COMPATIBLE, GROQ, OLLAMA, MISTRAL], ids=lambda f: f.provider)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k-1")


def plain(text: str) -> list[tuple[str, str]]:
    """As a whole answer is split."""
    parts: list[tuple[str, str]] = []
    while (at := text.find(TAGS[0])) >= 0:
        before, text = text[:at], text[at + len(TAGS[0]) :]
        thought, closed, after = text.partition(TAGS[1])
        parts += [("text", before), ("thinking", thought)] if closed else [("text", before), ("text", text)]
        text = after if closed else ""
    return joined([*parts, ("text", text)])


def joined(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for kind, text in parts:
        if found and found[-1][0] == kind == "text":
            found[-1] = (kind, found[-1][1] + text)
        elif text or kind == "thinking":
            found.append((kind, text))
    return found


def heard(pieces: list[str]) -> list[tuple[str, str]]:
    """As pydantic-ai hears a stream: a tag counts where it is a piece of its own."""
    parts: list[tuple[str, str]] = []
    thinking = False
    for piece in pieces:
        if piece == TAGS[thinking]:
            thinking = not thinking
            if thinking:
                parts.append(("thinking", ""))
        elif thinking:
            parts[-1] = ("thinking", parts[-1][1] + piece)
        else:
            parts.append(("text", piece))
    return joined(parts)


@given(WORDS, st.lists(st.integers(0, 60)))
@example(["<think>", "\n", "<think>"], [])
@example(["<think>", "<think>", "<think>"], [])
@example(["<think>", "\n", "<think>", "a"], [])
def test_any_split_gives_what_the_whole_text_gives(words: list[str], cuts: list[int]) -> None:
    text, apart = "".join(words), Apart(TAGS)
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[a:b] for a, b in pairwise(ends)]
    pieces = [piece for chunk in chunks for piece in apart.take(chunk)]
    now = list(pieces)
    pieces += apart.rest(whole=True)
    found = heard(pieces)
    if apart.unclosed is not None:
        found.remove(next(part for part in reversed(found) if part == ("thinking", apart.unclosed)))
    assert joined(found) == plain(text)
    thoughts = "".join(said for kind, said in plain(text) if kind == "thinking")
    assert sum(len(said) for kind, said in heard(now) if kind == "thinking") >= len(thoughts)  # as soon as it is known


@given(WORDS)
def test_of_an_answer_that_was_cut_no_thought_becomes_text(words: list[str]) -> None:
    text, apart = "".join(words), Apart(TAGS)
    said = "".join(s for kind, s in heard([*apart.take(text), *apart.rest(whole=False)]) if kind == "text")
    before, opened, after = text.rpartition(TAGS[0])
    if opened and TAGS[1] not in after and TAGS[1] not in before and TAGS[0] not in before:
        assert said == before


TEXTS = [
    "<think>\nhm\n</think>\n\nYes.", "\n<think>hm</think>Yes.", "<think>hm</think>", "<think></think>Yes.", "<think>hm",
    "Use <think> as a tag.", "One <think>hm</think> two <think>ha</think> three", "hm</think>Yes.", "a < b <thin",
    "<think>\n<think>",
]  # fmt: skip


@pytest.mark.sampled(3)
@SPLITS
async def test_a_stream_says_what_the_whole_answer_says(format: Format) -> None:
    cuts: list[list[str]] = []

    def say(asked: Asked) -> Say:
        body: Any = asked.body
        return Say(pieces=format.stream(cuts[-1])) if body.get("stream") else Say(body=format.whole("".join(cuts[-1])))

    async with serve(say) as server:
        model = format.model(server.url, id="qwen3")  # of a family whose blanks pydantic-ai leaves out of streams
        c = Call(model=model, deployment=model.pool()[0], messages=ASKED, timeout_s=20.0)
        for text in TEXTS:
            own = [piece for tag in TAGS for piece in text.replace(tag, f"\0{tag}\0").split("\0") if tag in text]
            for size in (1, 4, 9, 100):
                cuts.append([text[n : n + size] for n in range(0, len(text), size)])
                whole, items = await call(c), [item async for item in stream(c)]
                assert isinstance(items[-1], Reply)
                said = "".join(i.text for i in items if isinstance(i, Delta) and i.kind == "text")
                assert (items[-1].text, said) == (whole.text, whole.text), (text, size)
                assert shape(items[-1]) == shape(whole), (text, size)
                assert items[-1].usage.tokens_out == whole.usage.tokens_out == 5
            cuts.append(own or [text])
            assert [i.text async for i in stream(c) if isinstance(i, Reply)] == [(await call(c)).text]
        await close()


def shape(reply: Reply) -> list[tuple[str, str]]:
    parts = [p for p in reply.message.parts if isinstance(p, TextPart | ThinkingPart)]
    return joined([(p.part_kind, p.content) for p in parts])


@pytest.mark.parametrize("format", [CHAT, GROQ], ids=lambda f: f.provider)
async def test_thoughts_of_an_answer_that_was_cut_are_no_answer(format: Format) -> None:
    pieces = format.pieces(["<thi", "nk>hm, let"])
    pieces[-2]["choices"][0]["finish_reason"] = "length"
    whole = b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces)
    async with serve(lambda _: Say(pieces=[whole, b"data: [DONE]\n\n"])) as server:
        model = format.model(server.url)
        c = Call(model=model, deployment=model.pool()[0], messages=ASKED, timeout_s=20.0)
        items = [item async for item in stream(c)]
        await close()
    said = [i.text for i in items if isinstance(i, Delta) and i.kind == "text" and i.text]
    assert said == [] and isinstance(items[-1], Reply) and items[-1].finish == "length"

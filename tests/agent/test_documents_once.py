"""A document that is given with one question after another is shown once in a call, and never only pointed at."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue import Engine, Thread, ask, flow
from segue.agent.given import in_pieces, with_pieces
from segue.agent.guards import Finding, Guard
from segue.agent.guards.builtin import LOOKS
from segue.agent.past import turn_of
from segue.agent.request import Question
from segue.agent.turns import told
from segue.agent.window import fitted
from segue.core.events import EventType
from segue.core.records import Fate, Manifest, record_of
from segue.models import Catalogue
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, model, results
from tests.agent.test_long_threads import shown

NOTE = re.compile(r"\[as (above|below), the document that begins '(.*?)' and ends '(.*?)'\]")
CONTRACT = "CONTRACT: " + " ".join(f"clause {n} says who pays." for n in range(600))
OTHER = "OFFER: " + " ".join(f"item {n} costs more." for n in range(100))


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def clause(n: int) -> str:
    """A clause."""
    return f"clause {n} is void"


@flow
async def chat(text: str, documents: list[str]) -> str:
    return await ask(text, *documents, max_tokens=300, timeout_s=5)


@flow
async def looks(text: str, documents: list[str]) -> str:
    return await ask(text, *documents, tools=[clause], max_tokens=300, timeout_s=5)


class Talk:
    """A thread over one model that keeps what it is shown."""

    def __init__(self) -> None:
        self.calls, self.summaries = list[str](), 0

    def answer(self, asked: Asked) -> Any:
        if "Summarise this part" in asked.system:
            self.summaries += 1
            hold_pointed(shown(asked))
            facts = sorted({*re.findall(r"FACT-\d", shown(asked))})
            return json.dumps({"summary": " ".join(["They talked.", *facts]), "constraints": [], "open": []})
        self.calls.append(shown(asked))
        hold_pointed(self.calls[-1])
        return calls("clause", n=1) if "tools" in asked.body and not results(asked)[-1:] else "Noted."


def hold_pointed(text: str) -> None:
    """What a note points at is shown, where it says."""
    for note in NOTE.finditer(text):
        where, begins, ends = note.groups()
        beside = text[: note.start()] if where == "above" else text[note.end() :]
        places = [at.start() for at in re.finditer(re.escape(begins), beside)]
        assert any(not beside[:at].endswith("begins '") for at in places) and ends in beside, note.group()


async def talked(
    path: Path, window: int, *turns: tuple[Any, ...], guards: Sequence[Guard] = ()
) -> tuple[Talk, list[Manifest]]:
    talk = Talk()
    async with serve({"gpt": Served(answer=talk.answer)}) as server:
        catalogue = Catalogue.of(replace(model(server, "gpt"), window=window, max_output=900))
        known = {"catalogue": catalogue, "guards": [*guards]}
        async with Engine(str(path / "x.db"), resources=known) as engine:
            thread = Thread("t", engine)
            manifests = list[Manifest]()
            for n, (what, *args) in enumerate(turns):
                run = await thread.start(what, *args, id=str(n))
                await run.result()
                said = [record_of(e) async for e in run.events(follow=False) if e.type == EventType.CONTEXT_ASSEMBLED]
                manifests = [one for one in said if isinstance(one, Manifest)]
            return talk, manifests


@pytest.mark.parametrize("what", [chat, looks])
async def test_a_chat_about_one_document_shows_it_once_and_sums_nothing_up(tmp_path: Path, what: Any) -> None:
    talk, manifests = await talked(tmp_path, 16_000, *((what, f"Question {n}?", [CONTRACT]) for n in range(20)))
    assert {text.count(CONTRACT) for text in talk.calls} == {1}
    assert talk.summaries == 0
    assert all(f"Question {n}?" in talk.calls[-1] for n in range(20))
    repeated = [part for part in manifests[-1].parts if part.why.startswith("duplicate of ")]
    (whole,) = (part for part in manifests[-1].parts if part.pinned)
    assert len(repeated) == 19 and {part.why.split()[-1] for part in repeated} == {whole.hash[:12]}
    assert all(part.fate is Fate.CUT and part.tokens > 10 * (part.tokens_shown or 0) for part in repeated)


async def test_another_document_in_between_is_shown_once_too(tmp_path: Path) -> None:
    turns = [(chat, f"Question {n}?", [OTHER if n % 3 else CONTRACT]) for n in range(9)]
    talk, _ = await talked(tmp_path, 16_000, *turns, (chat, "And now?", []))
    assert [(text.count(CONTRACT), text.count(OTHER)) for text in talk.calls[1:]] == [(1, 1)] * 9


async def test_a_document_given_twice_in_one_question_is_shown_once(tmp_path: Path) -> None:
    talk, (manifest,) = await talked(tmp_path, 16_000, (chat, "Compare.", [CONTRACT, OTHER, CONTRACT]))
    assert (talk.calls[0].count(CONTRACT), talk.calls[0].count(OTHER)) == (1, 1)
    assert "[as above, the document that begins 'CONTRACT: " in talk.calls[0]
    assert [part.why.split(" ")[0] for part in manifest.parts if part.pinned] == ["", "", "duplicate"]


async def test_versions_that_begin_and_end_alike_are_never_confused(tmp_path: Path) -> None:
    new = CONTRACT.replace("clause 300 ", "clause 300b ")
    turns = [(chat, f"Question {n}?", [new if n % 2 else CONTRACT]) for n in range(4)]
    talk, _ = await talked(tmp_path, 64_000, *turns)
    assert "[as " not in talk.calls[-1] and (talk.calls[-1].count(CONTRACT), talk.calls[-1].count(new)) == (2, 2)


async def test_a_document_outlives_the_turns_that_gave_it_first(tmp_path: Path) -> None:
    long = "We talk about the weather. " * 60
    turns = [(chat, f"Question {n}? {long}", [OTHER] if n % 4 == 0 else []) for n in range(40)]
    talk, _ = await talked(tmp_path, 6_000, *turns)
    assert talk.summaries
    assert all(text.count(OTHER) <= 1 for text in talk.calls)
    assert any("[as below" in text for text in talk.calls)


def redacting(look: Any) -> Guard:
    return Guard(name="redacts", look=look, on_hit="redact", stage="before")


async def test_what_a_guard_takes_out_of_the_questions_leaves_their_document_shown_once(tmp_path: Path) -> None:
    turns = [(chat, f"I am {'x' * n}@example.com. Question {n}?", [CONTRACT]) for n in range(1, 9)]
    talk, _ = await talked(tmp_path, 16_000, *turns, guards=[redacting(LOOKS["pii"]())])
    assert {text.count(CONTRACT) for text in talk.calls} == {1} and talk.summaries == 0
    assert all(f"I am [email]. Question {n}?" in talk.calls[-1] for n in range(1, 9))


def blurred(text: str) -> Finding | None:
    """Tells only what is left, which may be longer than what was there."""
    left = text.replace("OFFER", "[the kind of paper]").replace("item 99 costs more.", "[]")
    return Finding("a word", left) if left != text else None


@pytest.mark.parametrize("what", [chat, looks])
async def test_documents_are_shown_once_whatever_a_guard_takes_out_of_them(tmp_path: Path, what: Any) -> None:
    turns = [(what, f"OFFER {n}?", [OTHER, "OFFER", CONTRACT]) for n in range(6)]
    talk, _ = await talked(tmp_path, 16_000, *turns, guards=[redacting(blurred)])
    assert {(text.count("item 50 costs more."), text.count(CONTRACT)) for text in talk.calls} == {(1, 1)}
    assert "OFFER" not in talk.calls[-1] and talk.calls[-1].count("as below, the document that begins '[the kind") == 5


async def test_a_number_that_a_question_and_its_document_share_is_told_in_no_later_call(tmp_path: Path) -> None:
    split = (chat, "Whose is 4111 1111", ["1111 1111 in this? " + CONTRACT])
    talk, _ = await talked(tmp_path, 16_000, split, (chat, "And now?", []), guards=[redacting(LOOKS["pii"]())])
    assert "Whose is [card]\n[card] in this? CONTRACT" in talk.calls[1]


@given(
    prompt=st.text(max_size=9),
    parts=st.lists(st.sampled_from(["", "short", "\n", CONTRACT[:500], OTHER[:400]]), min_size=1, max_size=6),
)
def test_pieces_of_a_turn_are_its_documents_and_what_stands_beside_them(prompt: str, parts: list[str]) -> None:
    message, _ = turn_of({"question": {"prompt": prompt, "parts": parts}}, {"value": "ok", "tried": []})
    pieces = in_pieces(message)
    documents = [part for part in parts if len(part) >= 400]
    assert [piece for piece in pieces if len(piece) >= 400] == documents
    if not documents:
        return
    assert with_pieces(message, pieces) == message
    longer = with_pieces(message, [f"<{piece}>" for piece in pieces])
    assert in_pieces(longer) == [f"<{piece}>" for piece in pieces]


@pytest.mark.parametrize("window", [9_000, 24_000])
async def test_a_question_about_a_second_long_document_still_knows_the_first(tmp_path: Path, window: int) -> None:
    second = CONTRACT.replace("clause", "paragraph")
    turns = [(chat, f"What of FACT-{n}?", [document]) for n, document in enumerate([CONTRACT, second] * 3)]
    talk, manifests = await talked(tmp_path, window, *turns)
    for n, text in enumerate(talk.calls):
        assert all(f"FACT-{known}" in text for known in range(n + 1)), n
    (summary,) = (part for part in manifests[-1].parts if part.kind == "summary") if window == 9_000 else [None]
    assert talk.summaries == (5 if summary else 0)
    assert summary is None or (summary.source, summary.fate) == ("turns 1 to 5", Fate.KEPT)


async def test_a_short_turn_before_a_long_document_stays_word_for_word(tmp_path: Path) -> None:
    weather, documents = "We talk about the weather. " * 30, list[str]()
    turns = [(chat, f"Question {n}? {weather}", documents) for n in range(12)]
    talk, _ = await talked(tmp_path, 8_000, *turns, (chat, "What of this?", [CONTRACT]))
    assert talk.summaries and f"Question 11? {weather}" in talk.calls[-1]


def test_plain_turns_are_told_as_before() -> None:
    asked = {"question": {"prompt": "Sum up.", "parts": ["short"], "asked_by": "ann"}}
    first, _ = turn_of(asked, {"value": "ok", "tried": []})
    assert first["parts"][0]["content"] == "[ann] Sum up.\nshort" and first["metadata"] == {"segue": {"who": "ann"}}


DOCUMENTS = [CONTRACT[:900], CONTRACT[:500] + "!" + CONTRACT[501:900], OTHER[:700], "short"]


@settings(max_examples=150, deadline=None)
@given(
    turns=st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=14),
    window=st.integers(1_800, 6_000),
)
def test_a_note_never_stands_without_what_it_points_at(turns: list[list[int]], window: int) -> None:
    from segue.models import Model, Provider

    small = Model(name="m", id="m", provider=Provider.OPENAI, window=window, max_output=200)
    *before, last = ([DOCUMENTS[at] for at in turn] for turn in turns)
    history = [
        message
        for n, parts in enumerate(before)
        for message in told(turn_of({"question": {"prompt": f"Q{n}", "parts": parts}}, {"value": "ok", "tried": []}))
    ]
    question = Question(prompt="Now?", parts=last, history=[*history], max_tokens=100)
    asked, manifest = fitted(question, small, "d")
    texts = [one["parts"][0]["content"] for one in asked.history]
    hold_pointed("\n".join([*texts, *asked.parts]))
    assert manifest.tokens <= window
    again, _ = fitted(asked, small, "d")
    assert (again.history, again.parts) == (asked.history, asked.parts)

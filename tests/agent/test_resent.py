"""What a client sends again of its thread is known again, in whatever form a flow had asked it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import Media, Run, Thread, agent, ask, flow
from segue.agent.guards import Guard
from segue.agent.guards.builtin import patterns
from segue.agent.past import Past
from segue.agent.resent import Words, is_question, known, without_question
from segue.journal import Outcome
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, opened

PICTURE = b"\x89PNG\r\n\x1a\n" + b"0" * 40
DOC = "CONTRACT: " + " ".join(f"clause {n} says who pays." for n in range(60))
Message = dict[str, str]
PII = Guard(name="pii", look=patterns("pii"), on_hit="redact")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def of(role: str, text: str) -> Message:
    return {"role": role, "content": text}


@flow
async def chat(messages: list[Message], parts: list[str], frame: str = "{}", shows: bool = False) -> str:
    """Asks what came last, with parts beside it and words of its own around it."""
    beside = [*parts, *([Media(PICTURE, "image/png")] if shows else [])]
    prompt = frame.format(messages[-1]["content"])
    return await ask(prompt, *beside, history=messages, system="Be kind.", max_tokens=300, timeout_s=5)


@flow
async def without_the_last(messages: list[Message], parts: list[str], frame: str = "{}", shows: bool = False) -> str:
    """The same, of a flow that takes the question off."""
    beside = [*parts, *([Media(PICTURE, "image/png")] if shows else [])]
    prompt = frame.format(messages[-1]["content"])
    return await ask(prompt, *beside, history=messages[:-1], max_tokens=300, timeout_s=5)


@flow
async def as_a_part(messages: list[Message], parts: list[str], frame: str = "{}", shows: bool = False) -> str:
    """What the user says is a part of an order that is always the same."""
    said = frame.format(messages[-1]["content"])
    return await ask("Answer the user.", said, *parts, history=messages, max_tokens=300, timeout_s=5)


@flow
async def redacts(messages: list[Message], parts: list[str], frame: str = "{}", shows: bool = False) -> str:
    """A model is not shown addresses."""
    return await ask(
        messages[-1]["content"], *parts, history=messages, guards=[PII], max_tokens=300,
        timeout_s=5,
    )  # fmt: skip


class Talk:
    """A client that holds the whole conversation, and what its model was shown last."""

    def __init__(self, what: Any, *args: Any):
        self.what, self.args, self.held, self.shown = what, args, list[Message](), ""

    def answer(self, asked: Asked) -> str:
        self.shown = "\n".join([asked.system, *(turn.text for turn in asked.turns)])
        return "Noted."

    async def says(self, thread: Thread, text: str, held: Callable[[str], str] = str) -> Run[str]:
        self.held.append(of("user", text))
        run = await thread.start(self.what, self.held, *self.args, id=text)
        answer = await run.result()
        self.held[-1:] = [of("user", held(text)), of("assistant", answer)]
        return run


FRAMES = ["{}", "Be brief.\n{}", "{}\n\nBe brief.", "Context: none.\n{}\nBe brief.", "Customer: {}", 'He said: "{}".']


@pytest.mark.parametrize("what", [chat, without_the_last, as_a_part, redacts])
@pytest.mark.parametrize(
    "parts", [[], ["short part"], [DOC], ["one", DOC, "three"]], ids=["none", "short", "long", "three"]
)
async def test_what_the_thread_has_is_shown_and_stored_once(tmp_path: Path, what: Any, parts: list[str]) -> None:
    talk = Talk(what, parts)
    async with serve({"gpt": Served(answer=talk.answer)}) as server, opened(tmp_path, server, "gpt") as engine:
        for n in range(4):
            await talk.says(Thread("t", engine), f"Question {n}? I am FACT-{n}. Write to ann@example.com.")
            assert [talk.shown.count(f"FACT-{k}.") for k in range(n + 1)] == [1] * (n + 1)
        stored = engine.journal.query("select args from events where key like 'ask[%' and args is not null")
        assert sum(b"FACT-0" in args for args in {bytes(args) for (args,) in stored}) == 1


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("what", [chat, without_the_last])
async def test_words_of_the_flow_around_it_change_nothing(tmp_path: Path, what: Any, frame: str) -> None:
    talk = Talk(what, ["a part"], frame, True)
    async with serve({"gpt": Served(answer=talk.answer)}) as server, opened(tmp_path, server, "gpt") as engine:
        for n in range(3):
            await talk.says(Thread("t", engine), f"Question {n}? I am FACT-{n}.")
            assert [talk.shown.count(f"FACT-{k}.") for k in range(n + 1)] == [1] * (n + 1)


@pytest.mark.parametrize("holds", ["{}\nshort part", "{}\n\nshort part\n", "{}\nshort part\n(image/png was shown)"])
async def test_a_client_may_hold_the_prompt_with_its_parts(tmp_path: Path, holds: str) -> None:
    talk = Talk(chat, ["short part"], "{}", True)
    async with serve({"gpt": Served(answer=talk.answer)}) as server, opened(tmp_path, server, "gpt") as engine:
        for n in range(3):
            await talk.says(Thread("t", engine), f"FACT-{n}.", holds.format)
            assert [talk.shown.count(f"FACT-{k}.") for k in range(n + 1)] == [1] * (n + 1)


async def test_an_edit_and_a_fork_know_it_too(tmp_path: Path) -> None:
    talk = Talk(chat, ["short part"])
    async with serve({"gpt": Served(answer=talk.answer)}) as server, opened(tmp_path, server, "gpt") as engine:
        talk.held += [of("user", "FACT-old."), of("assistant", "Indeed.")]
        thread = Thread("t", engine)
        for n in range(3):
            await talk.says(thread, f"FACT-{n}.")
        before = talk.held[:-2]
        other = await thread.edit("FACT-2.", [*before, of("user", "FACT-3.")], ["short part"])
        await other.result()
        assert [talk.shown.count(f"FACT-{k}.") for k in ("old", 0, 1, 2, 3)] == [1, 1, 1, 0, 1]
        assert other.thread is not None
        talk.held = [*before, of("user", "FACT-3."), of("assistant", "Noted.")]
        run = await talk.says(Thread(other.thread, engine), "FACT-4.")
        assert [talk.shown.count(f"FACT-{k}.") for k in ("old", 0, 1, 2, 3, 4)] == [1, 1, 1, 0, 1, 1]
        talk.shown = ""
        await (await run.fork(at="ask")).result()
        assert [talk.shown.count(f"FACT-{k}.") for k in ("old", 0, 1, 2, 3, 4)] == [1, 1, 1, 0, 1, 1]


looker = agent("You look.", name="looker", model="gpt")


@flow
async def looks(messages: list[Message], parts: list[str]) -> str:
    return await looker("FACT-1.", *parts, history=messages)


@pytest.mark.parametrize("last", ["FACT-1.", "FACT-1.\na part", "FACT-1.\n\na part"])
async def test_an_agent_leaves_out_its_question_in_either_form(tmp_path: Path, last: str) -> None:
    talk = Talk(looks)
    async with serve({"gpt": Served(answer=talk.answer)}) as server, opened(tmp_path, server, "gpt") as engine:
        await engine.run(looks, [of("user", "FACT-0."), of("assistant", "Yes."), of("user", last)], ["a part"])
    assert [talk.shown.count(f"FACT-{k}.") for k in range(2)] == [1, 1]


def turns(*said: str | tuple[str, ...]) -> list[Words]:
    return [Words.of(one) if isinstance(one, str) else Words.of(one[0], one[1:]) for one in said]


NOW = Words.of("And now?", ["part"])


@pytest.mark.parametrize(
    ("have", "sent", "count"),
    [
        (turns(("Question 1?", "part")), ["Question 1"], 0),
        (turns(("Question 1", "0? Yes.")), ["Question 10? Yes."], 0),
        (turns("Question?\nAnd more."), ["Question?"], 0),
        (turns(("Question?", "part")), ["Question?\npar"], 0),
        (turns(("Question?", "part")), ["Question?\npart\nmore"], 0),
        (turns(("Question?", "part")), ["part of it"], 0),
        (turns(("yes", "part")), ["yes", "yes"], 1),
        (turns(("yes", "part"), ("yes", "part")), ["yes", "yes"], 2),
        (turns(("A", "part"), ("B", "part")), ["B", "A"], 1),
        (turns("more\nyes"), ["yes", "more\nyes"], 0),
        (turns(("Which?", "yes")), ["yes", "Which?"], 0),
        (turns(("A", "part"), "elsewhere", ("B", "part")), ["A", "B"], 2),
        (turns(("A", "one", "two", "three")), ["A\none\ntwo"], 1),
        (turns(("", "all of it")), ["all of it"], 1),
        (turns(("", "(image/png was shown)"), "B"), ["", "B"], 2),
        (turns("A"), [""], 0),
    ],
)
def test_what_is_really_different_is_not_taken_for_the_same(have: list[Words], sent: list[str], count: int) -> None:
    assert known(have, sent, NOW) == count
    assert known(have, sent, NOW, "And now?") == count


SHORT = st.sampled_from(["yes", "no", "yes\nno", "more\nyes", "Which?", ""])
TURN = st.tuples(SHORT, st.lists(SHORT, max_size=2))


@given(st.lists(TURN, max_size=8), st.data())
def test_what_is_in_the_thread_in_this_order_is_found_in_any_form(said: list[tuple[str, list[str]]], data: Any) -> None:
    asked = [one for one in said if one[0]]
    kept = [one for one in asked if data.draw(st.booleans())]
    sent = ["\n".join([prompt, *parts[: data.draw(st.integers(0, len(parts)))]]) for prompt, parts in kept]
    have = [Words.of(prompt, parts) for prompt, parts in said]
    assert known(have, sent, NOW) == len(sent)
    assert known(have, [*sent, "never said"], NOW) == len(sent)


SPACED = st.tuples(
    st.sampled_from(["", " ", "\t"]), st.sampled_from(["yes", "Why?", "I am A."]), st.sampled_from(["", " ", "  "])
)


@pytest.mark.parametrize("frame", FRAMES)
@given(said=st.lists(SPACED.map("".join), min_size=1, max_size=6))
def test_spaces_at_the_ends_of_what_a_user_typed_change_nothing(frame: str, said: list[str]) -> None:
    *before, last = said
    have, question = [Words.of(frame.format(one)) for one in before], Words.of(frame.format(last))
    assert is_question(last, question)
    for asked in (last, ""):
        assert known(have, before, question, asked) == len(before)


def test_words_behind_are_those_that_are_behind_the_question_too() -> None:
    have = turns("A\nBe brief.")
    assert known(have, ["A"], Words.of("B\nBe brief.")) == 1
    assert known(have, ["A"], Words.of("B\nBe brief."), "B") == 1
    assert known(have, ["A"], Words.of("B\nBe brief."), "B\nBe brief.") == 0, "it has no words of its own"
    assert known(have, ["A"], Words.of("A\nBe brief."), "A") == 1, "asked again"
    assert known(have, ["A"], Words.of("B\nBe long.")) == 0


@pytest.mark.parametrize(
    ("last", "prompt", "same"),
    [
        ("Book", "Book a table", False), ("yes", "Say yes or no.", False), ("yes", "Choose: yes or no", False),
        ("Book a table", "Customer: Book a table", True), ("", "Book", False), (" Book ", "Book", True),
    ],
)  # fmt: skip
def test_the_question_is_left_out_and_not_what_merely_stands_in_it(last: str, prompt: str, same: bool) -> None:
    said = [of("user", "Hi."), of("assistant", "Hi."), of("user", last)]
    left, asked = without_question(said, Words.of(prompt))
    assert (left, asked) == ((said[:-1], last) if same else (said, ""))


def test_a_turn_knows_its_parts_behind_the_name_of_who_asks() -> None:
    before = [of("user", "old"), of("assistant", "Yes.")]
    question = {"prompt": "Q", "parts": ["a", "b"], "asked_by": "ann", "before": before}
    args = {"question": question, "media": [{"type": "image/png"}]}
    outcome = Outcome(no=1, run=1, seq=1, args=json.dumps(args).encode(), value=b'{"value": "x", "tried": []}')
    old, asked = Past().turn(outcome).asked
    assert (old.prompt, asked.prompt) == ("old", "Q") and asked.text == "[ann] Q\na\nb\n(image/png was shown)"
    assert all(map(asked.are, ["Q", "Q\na", "Q\na\nb", asked.text])) and not any(map(asked.are, ["Q\nb", "a"]))


def test_what_is_said_a_second_time_is_known_where_the_question_is_not_sent() -> None:
    have = [Words.of(f"Customer: {text}") for text in ("yes", "Rome", "no")]
    assert known(have, ["yes", "Rome", "no"], Words.of("Customer: yes")) == 3
    assert known(have, ["yesterday", "Rome", "no"], Words.of("Customer: yes")) == 0

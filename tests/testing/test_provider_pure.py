"""The parts that do no I/O: tokens, example values, cut streams, windows, the reading of HTTP."""

from __future__ import annotations

import json
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le, MaxLen, MinLen
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from segue.testing.provider import Answer, Asked, Call, FaultPlan, Finish, Tool, Trouble, Turn, tokens
from segue.testing.provider.answers import answer, halved, limited
from segue.testing.provider.embeddings import vector
from segue.testing.provider.formats import wait
from segue.testing.provider.http import NotHttp, take
from segue.testing.provider.marks import Ids, decoded, made_by, sign
from segue.testing.provider.meter import Window
from segue.testing.provider.routes import Routes
from segue.testing.provider.schemas import example, misfit, strict_problem
from segue.testing.provider.speech import Usage
from segue.testing.provider.spoiling import Frame, Hang, Wait, stream, whole

TEXTS = st.text(max_size=300)
STREAMED = [
    name for name in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/m:streamGenerateContent")
]


# --- tokens ---


@given(TEXTS)
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens.split(text)) == text
    assert tokens.count(text) == len(tokens.split(text))


@given(TEXTS, st.integers(0, 20))
def test_a_head_has_so_many_tokens(text: str, most: int) -> None:
    assert text.startswith(tokens.head(text, most))
    assert tokens.count(tokens.head(text, most)) == min(most, tokens.count(text))


@given(TEXTS, TEXTS, TEXTS, st.integers(0, 60))
def test_an_answer_never_says_more_than_it_may(text: str, thoughts: str, arguments: str, most: int) -> None:
    said = Answer(text=text, thoughts=thoughts, calls=(Call("weather", arguments),))
    cut = limited(said, most)
    assert cut.tokens <= most or cut == said
    assert (cut.finish is Finish.LENGTH) == (said.tokens > most)


@given(TEXTS.filter(lambda text: tokens.count(text) > 1))
def test_half_an_answer_is_less_of_it(text: str) -> None:
    half = halved(Answer(text=text))
    assert half.finish is Finish.LENGTH and text.startswith(half.text) and half.text != text


# --- schemas ---


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    kind: Literal["leaf"]
    colour: Colour
    weight: Annotated[float, Ge(0.5), Le(2.0)]


class Node(BaseModel):
    kind: Literal["node"]
    children: list[Node | Leaf]
    parent: Node | None = None


class Everything(BaseModel):
    name: Annotated[str, MinLen(30), MaxLen(60)]
    count: Annotated[int, Ge(3), Le(5)]
    born: date
    flags: Annotated[list[bool], MinLen(2), MaxLen(4)]
    pair: tuple[int, str]
    maybe: int | None
    either: str | int
    extra: dict[str, int]
    tree: Node
    default: str = "x"


@given(TEXTS)
def test_an_example_fits_its_schema_and_is_always_the_same(seed: str) -> None:
    schema = Everything.model_json_schema()
    value = example(schema, seed)
    Everything.model_validate_json(json.dumps(value))
    assert example(schema, seed) == value


@given(TEXTS)
def test_a_misfit_is_json_and_does_not_fit(seed: str) -> None:
    for model in (Everything, Leaf, Node):
        text = json.dumps(misfit(model.model_json_schema(), seed))
        with pytest.raises(ValidationError):
            model.model_validate_json(text)


def test_examples_of_what_schemas_say_in_other_ways() -> None:
    assert example({"const": 7}, "") == 7
    assert example({"type": ["null", "integer"], "minimum": 4, "maximum": 4}, "") == 4
    assert example({"allOf": [{"properties": {"a": {"type": "null"}}}, {"required": ["b"]}]}, "").keys() == {"a", "b"}
    assert 3 < example({"type": "number", "exclusiveMinimum": 3, "maximum": 4}, "x") <= 4
    assert example({"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 14}, "x") == 14
    assert example({"type": "STRING"}, "Ada Lovelace").split()[0] in {"Ada", "Lovelace"}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, None),
        ({"type": "array"}, "got 'type: \"array\"'"),
        ({"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"], "additionalProperties": False},
         "In context=('properties', 'a'), 'additionalProperties'"),
        ({"type": "object", "properties": {"a": {"allOf": []}}, "required": ["a"], "additionalProperties": False},
         "'allOf' is not permitted"),
    ],
)  # fmt: skip
def test_what_strict_mode_refuses(schema: dict[str, Any], problem: str | None) -> None:
    found = strict_problem(schema)
    assert found is None if problem is None else problem in (found or "")


# --- answers and streams ---


def asked(**more: Any) -> Asked:
    return Asked(model="m", body={"model": "m"}, turns=(Turn("user", "the weather of Rome"),), **more)


def test_a_tool_is_called_when_the_prompt_names_it_and_not_again_after_its_result() -> None:
    tools = (Tool("weather", {"type": "object", "properties": {"city": {"type": "string"}}}),)
    assert answer(asked(tools=tools)).calls[0].name == "weather"
    after = Asked(model="m", body={}, turns=(Turn("user", "the weather"), Turn("tool", "sunny")), tools=tools)
    assert answer(after).calls == ()
    two = (Tool("other", {}), Tool("last", {}))
    assert answer(asked(tools=two, must_call="*")).calls[0].name == "last"
    assert answer(asked(tools=two, must_call="other")).calls[0].name == "other"


ANSWERS = st.builds(
    Answer,
    text=TEXTS,
    thoughts=st.sampled_from(["", "let me see"]),
    calls=st.lists(st.builds(Call, st.just("weather"), st.sampled_from(["{}", '{"city": "Rome"}'])), max_size=2).map(
        tuple
    ),
    finish=st.sampled_from([Finish.STOP, Finish.TOOLS, Finish.LENGTH, Finish.FILTER, Finish.REFUSAL]),
)


@pytest.mark.parametrize("path", STREAMED)
@given(said=ANSWERS, thinking=st.booleans())
def test_the_tokens_of_a_stream_are_those_of_its_answer(path: str, said: Answer, thinking: bool) -> None:
    spoken = Routes().of(path).format
    assert spoken is not None
    usage = Usage(5, said.tokens, 0, tokens.count(said.thoughts))
    frames = spoken.frames(asked(stream=True, thinking=thinking), said, usage, Ids(1))
    assert sum(frame.tokens for frame in frames) == said.tokens
    parts = [frame.part for frame in frames]
    assert parts == sorted(parts, key=["head", "content", "tail"].index)
    assert parts[-1] == "tail"


FRAMES = [
    Frame(b"h", "head"),
    *(Frame(b'data: {"n": %d}\n\n' % n, "content", 1) for n in range(5)),
    Frame(b"t", "tail"),
]


@given(st.sampled_from(Trouble), st.floats(0, 1, exclude_max=True))
def test_a_broken_stream_never_comes_to_its_end(trouble: Trouble, where: float) -> None:
    plan = FaultPlan(slow_s=1, gap_s=1)
    deeds = stream(trouble, FRAMES, b"error", where, plan)
    sent = [deed for deed in deeds if isinstance(deed, Frame)]
    broken = trouble in {Trouble.STALL, Trouble.CUT, Trouble.CUT_RESET, Trouble.STREAM_ERROR, Trouble.NO_END}
    assert (FRAMES[-1] not in sent) == broken
    assert sent[:2] == FRAMES[:2]
    assert all(
        isinstance(deed, Hang) == (i == len(deeds) - 1) for i, deed in enumerate(deeds) if isinstance(deed, Hang)
    )
    if trouble in (Trouble.SLOW_FIRST, Trouble.TRICKLE):
        assert sent == FRAMES and any(isinstance(deed, Wait) for deed in deeds)


@given(st.sampled_from(Trouble), st.floats(0, 1, exclude_max=True))
def test_a_broken_body_is_never_whole(trouble: Trouble, where: float) -> None:
    body = json.dumps({"a": [1, 2, {"b": "c"}]}).encode()
    sent = b"".join(deed.data for deed in whole(trouble, body, where, FaultPlan()) if isinstance(deed, Frame))
    cut = trouble in {Trouble.STALL, Trouble.CUT, Trouble.CUT_RESET, Trouble.BAD_CHUNK}
    assert body.startswith(sent) and (sent != body) == cut and sent


# --- small things ---


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 9)), max_size=40))
def test_a_window_sums_what_is_not_older_than_it(steps: list[tuple[float, int]]) -> None:
    window, now, seen = Window(60.0), 0.0, list[tuple[float, int]]()
    for pause, amount in steps:
        now += pause
        window.add(now, amount)
        seen.append((now, amount))
        assert window.sum == sum(a for at, a in seen if at > now - 60)
    room = window.sum // 2
    later = now + window.wait_s(now, room)
    assert window.trim(later + 1e-6) <= room


def test_marks_are_known_by_their_maker() -> None:
    assert made_by("google", sign("google", "x"))
    assert not made_by("google", sign("anthropic", "x"))
    assert decoded("not base64!") is None
    assert sign("anthropic", "x") != sign("anthropic", "y")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0ms"), (0.12, "120ms"), (1.5, "1.5s"), (7, "7s"), (360, "6m0s"), (3_600, "1h0m0s")]
)
def test_times_are_written_as_go_does(seconds: float, text: str) -> None:
    assert wait(seconds) == text


@given(TEXTS.filter(bool))
def test_vectors_have_length_one(text: str) -> None:
    length = sum(x * x for x in vector(text, 32))
    assert length == pytest.approx(1.0) or length == 0.0


# --- HTTP ---

POST = b"POST /v1/x?a=1&b=%20 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_requests_are_read_however_they_are_cut(cuts: list[int]) -> None:
    data, buffer, found = POST * 3, bytearray(), []
    while data:
        size = cuts[len(found) % len(cuts)]
        buffer += data[:size]
        data = data[size:]
        while (request := take(buffer)) is not None:
            found.append(request)
    assert [(r.method, r.path, r.query, r.body) for r in found] == [
        ("POST", "/v1/x", {"a": "1", "b": " "}, b"hello")
    ] * 3


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\n" + b"x" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(NotHttp) as caught:
        take(bytearray(data))
    assert caught.value.status == status

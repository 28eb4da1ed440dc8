"""JSON that a model was only asked for in words: one value with words around it is the answer, several are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.models.calls import call
from segue.models.prose import within
from tests.models.formats import CHAT, FORMATS, GEMINI, Format
from tests.models.test_calls import SCHEMA, at, key

__all__ = ["key"]
VALUES = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
BESIDE = st.text().filter(lambda text: not set("{}[]`") & set(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 3}',
        'Sure! Here is the JSON:\n```json\n{"n": 3}\n```',
        'Sure! Here is the JSON: ```json\n{"n": 3}\n```\nLet me know!',
        'Here: ```\n{"n": 3}```',
        'The answer (for {you}) is:\n```JSON\n{"n": 3}\n```',
        'Here it is: {"n": 3}',
        'Here it is: {"n": 3}. Is that all?',
    ],
)
def test_the_one_value_is_taken(text: str) -> None:
    assert json.loads(within(text)) == {"n": 3}


@pytest.mark.parametrize(
    "text",
    [
        'First ```json\n{"n": 3}\n``` or ```json\n{"n": 4}\n```',
        'Either {"n": 3} or {"n": 4}',
        'As [1] says: {"n": 3}',
        'It is {"n": {"n": 3}, broken',
        'It is {"n": 3',
        'Cut: ```json\n{"n": 3',
        "```json\nno JSON\n```",
        "Nothing at all.",
        "",
    ],
)
def test_what_is_not_just_one_stays_as_it_is(text: str) -> None:
    assert within(text) == text


@given(st.dictionaries(st.text(), VALUES) | st.lists(VALUES), BESIDE, BESIDE)
def test_a_value_with_words_around_it(value: Any, before: str, after: str) -> None:
    text = json.dumps(value)
    if "`" not in text:
        assert json.loads(within(f"{before} {text} {after}")) == value


SAID = 'Sure! Here is the JSON:\n```json\n{"n": 3}\n```'


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.provider)
async def test_an_answer_is_without_its_words_where_words_ask_for_it(format: Format) -> None:
    async with at(format, lambda asked: format.say(asked, SAID), output_schema=SCHEMA, output_mode="prompt") as (_, c):
        assert (await call(c)).text == '{"n": 3}'


@pytest.mark.parametrize("format", [CHAT, GEMINI], ids=lambda f: f.provider)
async def test_a_provider_that_keeps_a_schema_gives_no_words(format: Format) -> None:
    async with at(format, lambda asked: format.say(asked, SAID), output_schema=SCHEMA, output_mode="native") as (_, c):
        assert (await call(c)).text == SAID

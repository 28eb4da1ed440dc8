"""A request becomes the body of a call: what comes first, and what is allowed to come out."""

from __future__ import annotations

from dataclasses import replace

from segue.models import Example, Request
from segue.models.render import chat_body, text_body

SORT = Request(model="smollm2", prompt="Sort.", input="my card", examples=[Example("an apple", "fruit")])


def test_a_text_ends_where_the_output_begins() -> None:
    assert text_body(SORT)["prompt"] == "Sort.\n\nInput: an apple\nOutput: fruit\n\nInput: my card\nOutput:"


def test_a_text_names_input_and_output_as_asked() -> None:
    assert text_body(replace(SORT, words=("Message", "Topic")))["prompt"].endswith("Message: my card\nTopic:")


def test_free_text_stops_before_it_makes_up_the_next_input() -> None:
    assert text_body(SORT)["stop"] == ["\nInput:"]


def test_a_chat_shows_examples_as_turns() -> None:
    turns = chat_body(SORT)["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[-1]["content"] == "my card"


def test_requests_that_differ_in_their_input_share_a_prefix() -> None:
    one, two = text_body(SORT)["prompt"], text_body(replace(SORT, input="my phone"))["prompt"]
    assert one.split("my card")[0] == two.split("my phone")[0]


def test_choices_are_a_grammar_and_quotes_in_them_are_escaped() -> None:
    body = text_body(replace(SORT, choices=["yes", 'a "no"']))
    assert body["grammar"] == r'root ::= " " ("yes" | "a \"no\"")'
    assert chat_body(replace(SORT, choices=["yes"]))["grammar"] == 'root ::= ("yes")'


def test_a_schema_is_a_grammar_without_needless_space() -> None:
    grammar = text_body(replace(SORT, schema={"type": "integer"}))["grammar"]
    assert '%json {"type": "integer", "x-guidance": {"whitespace_flexible": false}}' in grammar

"""What the model behind the server says: the test's own answer, or one that fits what was asked, always the same."""

from __future__ import annotations

import json
from dataclasses import replace

from . import tokens
from .schemas import example
from .speech import Answer, Answerer, Asked, Call, Finish, Tool

ECHOED = 40
"""Tokens of the prompt that the default answer repeats."""


def answer(asked: Asked, own: Answerer | None = None) -> Answer:
    """The whole answer to a request: `own` answers, or the default; then stop sequences and `max_tokens` cut it."""
    said = own(asked) if own is not None else None
    if said is None:
        said = _default(asked)
    if isinstance(said, str):
        said = Answer(text=said)
    if asked.thinking and not said.thoughts:
        said = replace(said, thoughts=f"The user asks: {tokens.head(asked.prompt, 12)}")
    if said.calls and said.finish is Finish.STOP:
        said = replace(said, finish=Finish.TOOLS)
    return limited(_stopped(said, asked.stop), asked.max_tokens)


def limited(said: Answer, most: int) -> Answer:
    """The answer as a model gives it that may say `most` tokens: cut, with the finish saying so."""
    if said.tokens <= most:
        return said
    thoughts = tokens.head(said.thoughts, most)
    most -= tokens.count(thoughts)
    text = tokens.head(said.text, most)
    most -= tokens.count(text)
    calls: list[Call] = []
    for call in said.calls:
        most -= tokens.count(call.name)
        if most > 0:
            calls.append(call._replace(arguments=tokens.head(call.arguments, most)))
            most -= tokens.count(calls[-1].arguments)
    return Answer(text=text, calls=tuple(calls), thoughts=thoughts, finish=Finish.LENGTH)


def halved(said: Answer) -> Answer:
    """The answer cut in its middle, as if `max_tokens` had been that many."""
    thoughts = tokens.count(said.thoughts)
    return limited(said, thoughts + (said.tokens - thoughts) // 2)


def _default(asked: Asked) -> Answer:
    tool = _wanted(asked)
    if tool is not None:
        return Answer(calls=(Call(tool.name, json.dumps(example(tool.schema, asked.prompt))),))
    if asked.schema is not None:
        return Answer(text=json.dumps(example(asked.schema, asked.prompt), ensure_ascii=False))
    if asked.json:
        return Answer(text=json.dumps({"answer": tokens.head(asked.prompt, ECHOED)}, ensure_ascii=False))
    return Answer(text=f"You said: {tokens.head(asked.prompt, ECHOED)}")


def _wanted(asked: Asked) -> Tool | None:
    """The tool that must be called, or that the prompt names: that one once, not when its result is there.

    Of those of which any must be called it is the last: there clients put the one that ends their loop.
    """
    if asked.must_call not in (None, "*"):
        return next((tool for tool in asked.tools if tool.name == asked.must_call), None)
    if asked.turns and asked.turns[-1].role == "user":
        named = next((tool for tool in asked.tools if tool.name in asked.prompt), None)
        if named is not None:
            return named
    return asked.tools[-1] if asked.must_call and asked.tools else None


def _stopped(said: Answer, stop: tuple[str, ...]) -> Answer:
    ends = [at for word in stop if word and (at := said.text.find(word)) >= 0]
    return replace(said, text=said.text[: min(ends)]) if ends else said

"""A request as the body of a call to llama.cpp's server: a chat, or one text to continue. Pure."""

from __future__ import annotations

import json
from typing import Any

from .records import Request

_PLAIN = {"x-guidance": {"whitespace_flexible": False}}


def chat_body(request: Request) -> dict[str, Any]:
    """The instruction as the system's turn, each example as a turn of the user and one of the assistant."""
    turns = [{"role": "system", "content": request.prompt}]
    for example in request.examples:
        turns.append({"role": "user", "content": example.input})
        turns.append({"role": "assistant", "content": example.output})
    if request.input or len(turns) == 1:
        turns.append({"role": "user", "content": request.input})
    return _sampling(request) | {"messages": turns} | _constraint(request, "")


def text_body(request: Request) -> dict[str, Any]:
    """The same as one text that ends where the output begins. For models that were not taught to chat."""
    ask, answer = request.words
    parts = [request.prompt]
    parts += [f"{ask}: {example.input}\n{answer}: {example.output}" for example in request.examples]
    parts.append(f"{ask}: {request.input}\n{answer}:" if request.input else f"{answer}:")
    stop = {} if request.choices or request.schema else {"stop": [f"\n{ask}:"]}
    return _sampling(request) | {"prompt": "\n\n".join(parts)} | _constraint(request, " ") | stop


def _sampling(request: Request) -> dict[str, Any]:
    return {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "cache_prompt": True,
    }


def _constraint(request: Request, lead: str) -> dict[str, Any]:
    """A grammar. `lead` is what a text has between the colon and the output.

    Choices are written in llama.cpp's own GBNF. A schema goes to llguidance, which builds its index of a vocabulary
    anew whenever another model was used in between: it was seen to take two seconds for one of 262,000 tokens.
    """
    if request.choices:
        first = f"{_quoted(lead)} " if lead else ""
        return {"grammar": f"root ::= {first}({' | '.join(map(_quoted, request.choices))})"}
    if request.schema is not None:
        first = f"{_quoted(lead)} " if lead else ""
        return {"grammar": f"%llguidance {{}}\nstart: {first}value\nvalue: %json {json.dumps(request.schema | _PLAIN)}"}
    return {}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

"""What a call took: the provider's count as our record, or our own estimate where there is none. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ..core.records import Usage
from .spec import Model

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.usage import RequestUsage

CHARS_PER_TOKEN = 4
"""Of English. Other texts have fewer: an estimate for a bill, not a bound for a budget."""
TOKENS_PER_FILE = 1000
_TURN = 4
_DETAILS = ("web_search_requests", "web_searches", "file_search_calls", "code_execution_requests")


def usage_of(said: RequestUsage, model: Model, messages: Sequence[ModelMessage], text: str) -> Usage:
    """The usage of a call with its cost, where the model has a price.

    A provider's count that cannot be is replaced by an estimate: no input at all, or no output for an answer that is
    not empty. `text` is all that the model wrote, tool calls included.
    """
    counted = _counted(said)
    wrong = counted.tokens_in == 0 or (counted.tokens_out == 0 and bool(text))
    if wrong:
        counted = replace(
            counted,
            tokens_in=max(counted.tokens_in, estimate(messages)),
            tokens_out=max(counted.tokens_out, tokens(text)),
            estimated=True,
        )
    return counted if model.price is None else model.price.charged(counted)


def spent(model: Model, messages: Sequence[ModelMessage], text: str = "") -> Usage:
    """Our own estimate of what a call took that failed, after `text` of an answer had come: it is paid all the same."""
    usage = Usage(tokens_in=estimate(messages), tokens_out=tokens(text), estimated=True)
    return usage if model.price is None else model.price.charged(usage)


def estimate(messages: Sequence[ModelMessage]) -> int:
    """About how many tokens a conversation has; files count a thousand each."""
    return sum(_TURN + _size(part) for message in messages for part in message.parts)


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text) // CHARS_PER_TOKEN)


def _counted(said: RequestUsage) -> Usage:
    read, write = max(0, said.cache_read_tokens), max(0, said.cache_write_tokens)
    total_in = max(0, said.input_tokens)
    if read + write > total_in:
        total_in += read + write
    total_out = max(0, said.output_tokens)
    details: Mapping[str, Any] = said.details or {}
    thinking = details.get("reasoning_tokens") or details.get("thoughts_tokens") or 0
    return Usage(
        tokens_in=total_in,
        tokens_out=total_out,
        tokens_cache_read=read,
        tokens_cache_write=write,
        tokens_thinking=min(max(0, int(thinking)), total_out),
        tokens_audio_in=min(max(0, said.input_audio_tokens), total_in),
        tokens_audio_out=min(max(0, said.output_audio_tokens), total_out),
        other={name: details[name] for name in _DETAILS if details.get(name)},
    )


def _size(part: Any) -> int:
    content: Any = getattr(part, "content", None)
    if content is None:
        content = [getattr(part, "tool_name", ""), getattr(part, "args", "")]
    return sum(map(_size_of, cast("list[Any]", content))) if isinstance(content, list) else _size_of(content)


def _size_of(item: Any) -> int:
    if isinstance(item, str):
        return tokens(item)
    if hasattr(item, "media_type"):
        return TOKENS_PER_FILE
    return tokens(json.dumps(item, default=str))

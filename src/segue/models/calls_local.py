"""Calls to the models in this process: the conversation as worked examples and a last input."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.usage import RequestUsage

from ..core.records import Usage
from .conversation import fit, stamped, told_result
from .exchange import Call, Delta, Reply
from .local import complete
from .records import Completion, Example, Request


async def call(c: Call, began: float) -> Reply:
    """One answer, whole. Raises what `local.complete` raises."""
    return _reply(c, await complete(asked(c)), began)


async def stream(c: Call, began: float) -> AsyncGenerator[Delta | Reply, None]:
    """As `call`: a model in this process gives its answer in one piece."""
    reply = await call(c, began)
    yield Delta(reply.text)
    yield reply


def asked(c: Call) -> Request:
    """The call as a request: what is general first, turns as examples, so that calls share their prefix."""
    turns = fit(c.messages, c.model, tools=False, deployment=c.deployment.name)
    requests = [turn for turn in turns if isinstance(turn, ModelRequest)]
    answers = [turn for turn in turns if isinstance(turn, ModelResponse)]
    texts = [_text(request) for request in requests]
    settings: dict[str, Any] = {**c.model.settings, **c.settings}
    return Request(
        model=c.model.id,
        prompt=_prompt(requests),
        input=texts[-1],
        examples=[Example(text, _plain(c, answer.text or "")) for text, answer in zip(texts, answers, strict=False)],
        choices=_choices(c),
        schema=None if c.output_schema is None or _choices(c) else dict(c.output_schema),
        max_tokens=min(c.max_tokens, c.model.max_output),
        temperature=float(settings.get("temperature", 0.0)),
        seed=int(settings.get("seed", 1)),
        style=settings.get("style"),
        words=cast("tuple[str, str]", tuple(settings.get("words", ("Input", "Output")))),
    )


def _prompt(requests: Sequence[ModelRequest]) -> str:
    """System prompts, and the instructions that stand last."""
    said = [p.content for request in requests for p in request.parts if isinstance(p, SystemPromptPart)]
    last = next((r.instructions for r in reversed(requests) if r.instructions), None)
    return "\n".join([*said, last] if last else said)


def _text(request: ModelRequest) -> str:
    """What the user says, files named."""
    lines: list[str] = []
    for part in request.parts:
        if isinstance(part, UserPromptPart):
            items = [part.content] if isinstance(part.content, str) else part.content
            lines += [item for item in items if isinstance(item, str)]
        elif isinstance(part, ToolReturnPart):
            lines.append(told_result(part))
    return "\n".join(lines)


def _choices(c: Call) -> list[str]:
    """A schema that is a choice of texts: the words are written bare, which small models are better at."""
    words: Any = (c.output_schema or {}).get("enum", [])
    return list(words) if words and all(isinstance(w, str) for w in words) else []


def _plain(c: Call, answer: str) -> str:
    """An earlier answer as the model would write it."""
    if not _choices(c):
        return answer
    try:
        return str(json.loads(answer))
    except ValueError:
        return answer


def _reply(c: Call, done: Completion, began: float) -> Reply:
    usage = Usage(tokens_in=done.tokens_in, tokens_out=done.tokens_out, tokens_cache_read=done.tokens_cached)
    said = ModelResponse(
        parts=[TextPart(done.text)],
        usage=RequestUsage(input_tokens=done.tokens_in, output_tokens=done.tokens_out),
        model_name=done.model,
        provider_name="local",
    )
    return Reply(
        message=stamped(said, c.model.name, c.deployment.name),
        text=json.dumps(done.text) if _choices(c) else done.text,
        usage=usage if c.model.price is None else c.model.price.charged(usage),
        finish=done.finish,
        finish_raw=done.finish,
        answered_by=done.model,
        latency_s=asyncio.get_running_loop().time() - began,
    )

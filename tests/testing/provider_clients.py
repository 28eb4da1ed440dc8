"""The real clients of the providers, with retries off, behind one face; and a raw one that costs little."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from anthropic import AsyncAnthropic
from google import genai
from google.genai import types as google
from openai import AsyncOpenAI

from segue.testing.provider import Provider

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Got(NamedTuple):
    """What a client made of an answer."""

    text: str
    calls: list[tuple[str, Any]]
    finish: str
    tokens_in: int
    tokens_out: int


Ask = Callable[..., Awaitable[Got]]
"""ask(prompt, model="m", tool=False, schema=False, stream=False)"""


class Clients(NamedTuple):
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    google: Any
    ask: dict[str, Ask]


@asynccontextmanager
async def clients(provider: Provider, *, timeout_s: float = 5.0, url: str = "") -> AsyncIterator[Clients]:
    """All clients, closed at the end."""
    root = url or provider.url
    async with AsyncExitStack() as stack:
        openai = AsyncOpenAI(base_url=f"{root}/v1", api_key="sk-test-key", max_retries=0, timeout=timeout_s)
        anthropic = AsyncAnthropic(base_url=root, api_key="sk-ant-key", max_retries=0, timeout=timeout_s)
        await stack.enter_async_context(openai)
        await stack.enter_async_context(anthropic)
        options = google.HttpOptions(base_url=root, timeout=int(timeout_s * 1000))
        client = genai.Client(api_key="AIza-key", http_options=options)
        stack.callback(client.close)
        stack.push_async_callback(client.aio.aclose)
        ask = {
            "openai-chat": _chat(openai),
            "openai-responses": _responses(openai),
            "anthropic": _anthropic(anthropic),
            "google": _google(client),
        }
        yield Clients(openai, anthropic, client, ask)


async def raw(provider: Provider, prompt: str, model: str = "m", *, stream: bool = False) -> int:
    """One chat completion over a connection of its own. Gives the status, when all that is promised has come.

    Raises:
        EOFError: The answer was cut. OSError: The connection was reset.
    """
    asked = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream}
    body = json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer k\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(provider.host, provider.port)
    try:
        writer.write(head.encode() + body)
        said = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if "content-length" in said:
            await reader.readexactly(int(said.partition("content-length: ")[2].split()[0]))
        else:
            await reader.readuntil(b"0\r\n\r\n")
        return int(said.split()[1])
    finally:
        writer.close()


def _chat(client: AsyncOpenAI) -> Ask:
    async def ask(
        prompt: str, model: str = "m", *, tool: bool = False, schema: bool = False, stream: bool = False
    ) -> Got:
        more: dict[str, Any] = {}
        if tool:
            more["tools"] = [
                {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}
            ]
        if schema:
            named = {"name": "person", "schema": PERSON, "strict": True}
            more["response_format"] = {"type": "json_schema", "json_schema": named}
        if stream:
            more["stream_options"] = {"include_usage": True}
        call = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
        if not stream:
            said = await client.chat.completions.create(**call)
            choice, usage = said.choices[0], said.usage
            calls = [(c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls or ()]
            text = choice.message.content or choice.message.refusal or ""
            return Got(text, calls, choice.finish_reason, *_openai_usage(usage))
        text, names, arguments, finish, usage = "", [], [], "", None
        async for chunk in await client.chat.completions.create(**call, stream=True):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or choice.delta.refusal or ""
                finish = choice.finish_reason or finish
                for part in choice.delta.tool_calls or ():
                    if part.function.name:
                        names.append(part.function.name)
                        arguments.append("")
                    arguments[-1] += part.function.arguments or ""
        calls = [(n, json.loads(a)) for n, a in zip(names, arguments, strict=True)]
        return Got(text, calls, finish, *_openai_usage(usage))

    return ask


def _openai_usage(usage: Any) -> tuple[int, int]:
    if usage is None:
        return -1, -1
    tokens_in = getattr(usage, "prompt_tokens", None)
    if tokens_in is None:
        return usage.input_tokens, usage.output_tokens
    return tokens_in, usage.completion_tokens


def _responses(client: AsyncOpenAI) -> Ask:
    async def ask(
        prompt: str, model: str = "m", *, tool: bool = False, schema: bool = False, stream: bool = False
    ) -> Got:
        more: dict[str, Any] = {}
        if tool:
            more["tools"] = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
        if schema:
            more["text"] = {"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}}
        if not stream:
            said = await client.responses.create(model=model, input=prompt, **more)
        else:
            said, deltas = None, ""
            async for event in await client.responses.create(model=model, input=prompt, **more, stream=True):
                if event.type in ("error", "response.failed"):
                    raise ConnectionError(event.type)
                if event.type in ("response.completed", "response.incomplete"):
                    said = event.response
                if event.type in ("response.output_text.delta", "response.refusal.delta"):
                    deltas += event.delta
            if said is None:
                raise EOFError("the stream has no terminal event")
        found = [c for item in said.output if item.type == "message" for c in item.content]
        text = "".join(getattr(c, "text", "") or getattr(c, "refusal", "") for c in found)
        if stream:
            assert text == deltas
        calls = [(i.name, json.loads(i.arguments)) for i in said.output if i.type == "function_call"]
        finish = said.incomplete_details.reason if said.incomplete_details else said.status
        return Got(text, calls, finish, *_openai_usage(said.usage))

    return ask


def _anthropic(client: AsyncAnthropic) -> Ask:
    async def ask(
        prompt: str, model: str = "m", *, tool: bool = False, schema: bool = False, stream: bool = False
    ) -> Got:
        more: dict[str, Any] = {}
        if tool:
            more["tools"] = [{"name": "weather", "input_schema": WEATHER}]
        if schema:
            more["output_config"] = {"format": {"type": "json_schema", "schema": PERSON}}
        call = {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": prompt}], **more}
        if stream:
            async with client.messages.stream(**call) as events:
                said = await events.get_final_message()
            if said.stop_reason is None:
                raise EOFError("the stream has no stop reason")
        else:
            said = await client.messages.create(**call)
        text = "".join(block.text for block in said.content if block.type == "text")
        calls = [(block.name, block.input) for block in said.content if block.type == "tool_use"]
        return Got(text, calls, said.stop_reason or "", said.usage.input_tokens, said.usage.output_tokens)

    return ask


def _google(client: Any) -> Ask:
    async def ask(
        prompt: str, model: str = "m", *, tool: bool = False, schema: bool = False, stream: bool = False
    ) -> Got:
        config = google.GenerateContentConfig(
            automatic_function_calling=google.AutomaticFunctionCallingConfig(disable=True)
        )
        if tool:
            declared = google.FunctionDeclaration(name="weather", parameters_json_schema=WEATHER)
            config.tools = [google.Tool(function_declarations=[declared])]
        if schema:
            config.response_mime_type, config.response_json_schema = "application/json", PERSON
        call = {"model": model, "contents": prompt, "config": config}
        if stream:
            chunks = [chunk async for chunk in await client.aio.models.generate_content_stream(**call)]
        else:
            chunks = [await client.aio.models.generate_content(**call)]
        candidates = [chunk.candidates[0] for chunk in chunks if chunk.candidates]
        parts = [part for c in candidates for part in (c.content.parts if c.content and c.content.parts else ())]
        finish = next((c.finish_reason.value for c in reversed(candidates) if c.finish_reason), "")
        blocked = next((c.prompt_feedback.block_reason.value for c in chunks if c.prompt_feedback), "")
        if not finish and not blocked:
            raise EOFError("no finish reason")
        usage = chunks[-1].usage_metadata
        told = (usage.prompt_token_count, usage.candidates_token_count or 0) if usage else (-1, -1)
        text = "".join(part.text or "" for part in parts if not part.thought)
        calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
        return Got(text, calls, finish or blocked, *told)

    return ask

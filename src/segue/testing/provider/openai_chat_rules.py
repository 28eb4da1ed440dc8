"""What OpenAI chat completions take and refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from . import openai_checks as openai
from .mistral_rules import PARAMETERS as _OF_MISTRAL
from .mistral_rules import mistral_order
from .openai_checks import bad
from .served import Served
from .speech import Asked, Body, Json, Tool, Turn, object_of

PARAMETERS = frozenset(
    """audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
    metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
    web_search_options""".split()  # noqa: SIM905  words read best as words
)
ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_FIELDS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset(
        {"role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "annotations"}
    ),
    "tool": frozenset({"role", "content", "tool_call_id"}),
    "function": frozenset({"role", "content", "name"}),
}
_PARTS: Mapping[str, tuple[str, ...]] = {
    "system": ("text",),
    "developer": ("text",),
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "tool": ("text",),
    "function": ("text",),
}
_PART_TOKENS = 85
"""What an image, a sound or a file counts, each."""
_NO_REASONER = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


def read(body: Body, served: Served) -> Asked:
    """What is asked."""
    if served.strict_parameters:
        openai.known(body, PARAMETERS | _OF_MISTRAL if served.mistral else PARAMETERS)
    _ranges(body, served)
    listed = openai.some(openai.needed(body, "messages", list, ""), "messages")
    talk = _Talk(served)
    for i, message in enumerate(listed):
        talk.add(openai.typed(message, dict, f"messages[{i}]"), i)
    talk.closed(len(listed))
    if served.mistral:
        mistral_order(cast("list[Body]", listed))
    if not served.prefill and talk.turns and talk.turns[-1].role == "assistant":
        raise bad("Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant")
    offered = _tools(body)
    schema, as_json = _format(body)
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    stop = body.get("stop") or ()
    return Asked(
        model=body["model"],
        body=body,
        system="\n".join(talk.system),
        turns=tuple(talk.turns),
        tools=offered,
        schema=schema,
        json=as_json,
        must_call=_choice(body, offered, mistral=served.mistral),
        max_tokens=most or served.max_output,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        stream=body.get("stream") is True,
        thinking=served.thinking,
        mistral=served.mistral,
        extra_tokens=talk.extra_tokens,
    )


def _ranges(body: Body, served: Served) -> None:
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1), ("presence_penalty", -2, 2)):
        openai.within(body, name, float(low), float(high))
    openai.within(body, "n", 1, 128)
    if "stream_options" in body and body["stream_options"] is not None and body.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise bad(message, "stream_options")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise bad(message, "max_tokens", "invalid_parameter_combination")
    for name in ("max_tokens", "max_completion_tokens"):
        openai.within(body, name, 1, 1 << 40)
        if (body.get(name) or 0) > served.max_output:
            raise bad(
                f"{name} is too large: {body[name]}. This model supports at most {served.max_output} completion tokens,"
                f" whereas you provided {body[name]}.",
                name,
                "invalid_value",
            )
    if served.thinking:
        _reasoner(body)
    elif body.get("reasoning_effort") is not None:
        raise bad("Unrecognized request argument supplied: reasoning_effort")
    if (body.get("n") or 1) > 1:
        message = f"Unsupported value: 'n' does not support {body['n']} with this model. Only the default (1) value is"
        raise bad(f"{message} supported.", "n", "unsupported_value")


def _reasoner(body: Body) -> None:
    """What a model that reasons refuses."""
    if body.get("max_tokens") is not None:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
        raise bad(f"{message} instead.", "max_tokens", "unsupported_parameter")
    for name in _NO_REASONER:
        default = 0 if name.endswith("penalty") else 1
        if body.get(name) is not None and body[name] != default:
            message = f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the default"
            raise bad(f"{message} ({default}) value is supported.", name, "unsupported_value")


class _Talk:
    """The messages so far."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.system: list[str] = []
        self.turns: list[Turn] = []
        self.owed: dict[str, None] = {}
        self.extra_tokens = 0
        self.answerable: frozenset[str] = frozenset()

    def add(self, message: Body, i: int) -> None:
        path = f"messages[{i}]"
        role = openai.one_of(openai.needed(message, "role", str, path), ROLES, f"{path}.role")
        if self.served.strict_parameters:
            more = {"prefix"} if self.served.mistral else set[str]()
            openai.known(message, _FIELDS[role] | more, path)
        if role == "tool":
            return self.tool(message, i)
        self.closed(i)
        self.answerable = frozenset()
        text = self.text(message, role, i)
        if role in ("system", "developer"):
            return self.system.append(text)
        if role == "assistant":
            text = "".join([text, *self.calls(message, i)])
        return self.turn(Turn("assistant" if role == "assistant" else "user", text), i)

    def turn(self, turn: Turn, i: int) -> None:
        if self.served.alternate and self.turns and self.turns[-1].role == turn.role:
            raise bad("Conversation roles must alternate user/assistant/user/assistant/...", "messages")
        self.turns.append(turn)

    def tool(self, message: Body, i: int) -> None:
        called = openai.needed(message, "tool_call_id", str, f"messages[{i}]")
        if called not in self.answerable:
            raise bad(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                " 'tool_calls'.",
                f"messages.[{i}].role",
            )
        self.owed.pop(called, None)
        self.turns.append(Turn("tool", self.text(message, "tool", i)))

    def closed(self, i: int) -> None:
        """Here, no call may be without its result."""
        if self.owed:
            raise bad(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
                f" 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(self.owed)}",
                f"messages.[{i}].role",
            )

    def listed(self, value: Json, path: str, role: str, most: int = 1 << 30) -> list[Json]:
        """A list of a message. Mistral takes empty ones of an assistant, whose own client sends them."""
        given = openai.typed(value, list, path)
        empty = not given and self.served.mistral and role == "assistant"
        return given if empty else openai.some(given, path, most)

    def calls(self, message: Body, i: int) -> list[str]:
        if message.get("tool_calls") is None:
            return []
        path, said = f"messages[{i}].tool_calls", list[str]()
        for j, call in enumerate(self.listed(message["tool_calls"], path, "assistant", 128)):
            where = f"{path}[{j}]"
            named = openai.at_most(openai.needed(call, "id", str, where), 40, f"{where}.id")
            openai.one_of(openai.needed(call, "type", str, where), ("function", "custom"), f"{where}.type")
            function = openai.needed(call, "function", dict, where)
            name = openai.needed(function, "name", str, f"{where}.function")
            if not openai.TOOL_NAME.match(name):
                message_ = f"Invalid '{where}.function.name': string does not match pattern. Expected a string that"
                message_ += f" matches the pattern '{openai.TOOL_NAME.pattern}'."
                raise bad(message_, f"{where}.function.name", "invalid_value")
            said += [name, openai.needed(function, "arguments", str, f"{where}.function")]
            self.owed[named] = None
        self.answerable = frozenset(self.owed)
        return said

    def text(self, message: Body, role: str, i: int) -> str:
        content = message.get("content")
        if content is None and role == "assistant" and (message.get("tool_calls") or message.get("refusal")):
            return message.get("refusal") or ""
        if content is None:
            raise bad("Invalid value for 'content': expected a string, got null.", f"messages.[{i}].content")
        if isinstance(content, str):
            return content
        path, found = f"messages[{i}].content", list[str]()
        for j, part in enumerate(self.listed(content, path, role)):
            kind = openai.needed(openai.typed(part, dict, f"{path}[{j}]"), "type", str, f"{path}[{j}]")
            openai.one_of(kind, _PARTS[role], f"{path}[{j}].type")
            if kind in ("text", "refusal"):
                found.append(openai.needed(part, kind, str, f"{path}[{j}]"))
            else:
                openai.needed(part, kind, dict, f"{path}[{j}]")
                self.extra_tokens += _PART_TOKENS
        return "\n".join(found)


def _tools(body: Body) -> tuple[Tool, ...]:
    if body.get("tools") is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None and body[name] != "none":
                message = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
                raise bad(message, name)
        return ()
    found: list[Tool] = []
    for i, tool in enumerate(openai.some(openai.typed(body["tools"], list, "tools"), "tools", 128)):
        path = f"tools[{i}]"
        kind = openai.needed(openai.typed(tool, dict, path), "type", str, path)
        openai.one_of(kind, ("function", "custom"), f"{path}.type")
        if kind == "function":
            found.append(openai.function(openai.needed(tool, "function", dict, path), f"{path}.function"))
    return tuple(found)


def _choice(body: Body, offered: tuple[Tool, ...], *, mistral: bool) -> str | None:
    choice: Any = body.get("tool_choice")
    if isinstance(choice, Mapping):
        said = cast("Body", choice)
        if said.get("type") == "allowed_tools":
            return "*" if object_of(said.get("allowed_tools")).get("mode") == "required" else None
        name = object_of(said.get("function")).get("name")
        if name not in [tool.name for tool in offered]:
            message = f"Invalid value for 'tool_choice': function '{name}' is not in 'tools'."
            raise bad(message, "tool_choice")
        return name
    if choice is not None:
        openai.one_of(choice, ("none", "auto", "required", *(("any",) if mistral else ())), "tool_choice")
    return "*" if choice in ("required", "any") else None


def _format(body: Body) -> tuple[Json, bool]:
    wanted: Any = body.get("response_format")
    if wanted is None:
        return None, False
    kind = openai.needed(openai.typed(wanted, dict, "response_format"), "type", str, "response_format")
    openai.one_of(kind, ("json_object", "json_schema", "text"), "response_format.type")
    if kind == "json_schema":
        named = openai.needed(wanted, "json_schema", dict, "response_format")
        return openai.response_schema(named, "response_format.json_schema", "response_format"), True
    if kind == "json_object" and "json" not in json.dumps(body["messages"]).lower():
        raise bad(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
    return None, kind == "json_object"

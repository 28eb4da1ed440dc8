"""What OpenAI responses take and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from . import openai_checks as openai
from .marks import decoded, made_by
from .openai_checks import bad
from .served import Served
from .speech import Asked, Body, Json, Refused, Tool, Turn, Wrong

PARAMETERS = frozenset(
    """background context_management conversation include input instructions max_output_tokens max_tool_calls metadata
    model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options
    prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options temperature text
    tool_choice tools top_logprobs top_p truncation user""".split()  # noqa: SIM905  words read best as words
)
SEALED = "gAAAAAB"
"""What encrypted content begins with."""
_INCLUDE = (
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
    "reasoning.encrypted_content", "message.output_text.logprobs",
)  # fmt: skip
_PREFIX = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
_FIELDS: Mapping[str, frozenset[str]] = {
    "message": frozenset({"type", "role", "content", "id", "status", "phase"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments", "id", "status", "namespace"}),
    "function_call_output": frozenset({"type", "call_id", "output", "id", "status"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
    "item_reference": frozenset({"type", "id"}),
}
_GIVEN = ("input_text", "input_image", "input_file", "input_audio")
_PART_TOKENS = 85

Find = Callable[[str], "Body | None"]
"""The stored item of that id."""


def read(body: Body, served: Served, find: Find, before: list[Body]) -> Asked:
    """What is asked. `before` are the items of the previous response, and those before it."""
    if served.strict_parameters:
        openai.known(body, PARAMETERS)
    if body.get("input") is None and not body.get("previous_response_id"):
        message = "Missing required parameter: 'input'."
        raise bad(message, "input", "missing_required_parameter")
    _ranges(body, served)
    talk = _Talk(served, find, body.get("store") is not False)
    for item in before:
        talk.take(item, "input")
    talk.add_all(body.get("input") or [])
    talk.closed()
    offered = _tools(body)
    schema, as_json = _format(body)
    return Asked(
        model=body["model"],
        body=body,
        system="\n".join([body.get("instructions") or "", *talk.system]).strip("\n"),
        turns=tuple(talk.turns),
        tools=offered,
        schema=schema,
        json=as_json,
        must_call=_choice(body, offered),
        max_tokens=body.get("max_output_tokens") or served.max_output,
        stream=body.get("stream") is True,
        thinking=served.thinking,
        extra_tokens=talk.extra_tokens,
    )


def _ranges(body: Body, served: Served) -> None:
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1)):
        openai.within(body, name, float(low), float(high))
        if served.thinking and body.get(name) is not None:
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise bad(message, name, "unsupported_parameter")
    openai.within(body, "max_output_tokens", 16, 1 << 40)
    if (body.get("max_output_tokens") or 0) > served.max_output:
        raise bad(
            f"max_output_tokens is too large: {body['max_output_tokens']}. This model supports at most"
            f" {served.max_output} completion tokens, whereas you provided {body['max_output_tokens']}.",
            "max_output_tokens",
            "invalid_value",
        )
    for i, name in enumerate(body.get("include") or ()):
        openai.one_of(name, _INCLUDE, f"include[{i}]")
    if body.get("reasoning") and not served.thinking and body["reasoning"].get("effort"):
        message = "Unsupported parameter: 'reasoning.effort' is not supported with this model."
        raise bad(message, "reasoning.effort", "unsupported_parameter")
    if "reasoning.encrypted_content" in (body.get("include") or ()) and not served.thinking:
        raise bad("Encrypted content is not supported with this model.", "include")


class _Talk:
    """The items so far."""

    def __init__(self, served: Served, find: Find, stored: bool) -> None:
        self.served, self.find, self.stored = served, find, stored
        self.system: list[str] = []
        self.turns: list[Turn] = []
        self.called: dict[str, None] = {}
        self.owed: dict[str, None] = {}
        self.thought: str | None = None
        self.extra_tokens = 0

    def add_all(self, given: Json) -> None:
        if isinstance(given, str):
            self.turns.append(Turn("user", given))
            return
        for i, item in enumerate(openai.typed(given, list, "input")):
            self.add(openai.typed(item, dict, f"input[{i}]"), f"input[{i}]")

    def add(self, item: Body, path: str) -> None:
        kind: str = item.get("type") or ("message" if "role" in item else "")
        if not kind:
            raise bad(f"Missing required parameter: '{path}.type'.", f"{path}.type", "missing_required_parameter")
        if kind not in _FIELDS:
            return self.native(item, kind, path)
        if self.served.strict_parameters:
            openai.known(item, _FIELDS[kind], path)
        named = item.get("id")
        if named is not None and kind in _PREFIX:
            openai.at_most(named, 64, f"{path}.id")
            if not named.startswith(_PREFIX[kind]):
                message = f"Invalid '{path}.id': '{named}'. Expected an ID that begins with '{_PREFIX[kind]}'."
                raise bad(message, f"{path}.id", "invalid_value")
        return self.take(item, path)

    def native(self, item: Body, kind: str, path: str) -> None:
        """An item of a tool that the provider itself runs: taken where it made it."""
        if not kind.endswith(("_call", "_call_output", "_list_tools")):
            openai.one_of(kind, tuple(_FIELDS), path)
        if self.find(item.get("id") or "") is None:
            raise _unfound(item.get("id") or "", stored=self.stored)

    def take(self, item: Body, path: str) -> None:
        kind = item.get("type") or "message"
        if self.thought is not None and (kind == "function_call_output" or item.get("role") in ("user", "system")):
            self.lonely()
        match kind:
            case "reasoning":
                self.reasoning(item, path)
                return
            case "item_reference":
                found = self.find(openai.needed(item, "id", str, path))
                if found is None:
                    raise _unfound(item["id"], stored=self.stored)
                return self.take(found, path)
            case "function_call":
                self.call(item, path)
            case "function_call_output":
                self.output(item, path)
            case _:
                self.message(item, path)
        self.thought = None

    def lonely(self) -> None:
        raise bad(
            f"Item '{self.thought}' of type 'reasoning' was provided without its required following item.", "input"
        )

    def reasoning(self, item: Body, path: str) -> None:
        openai.needed(item, "summary", list, path)
        sealed: Any = item.get("encrypted_content")
        named = item.get("id") or ""
        if sealed:
            if not _ours(sealed):
                shown = f"{sealed[:4]}...{sealed[-4:]}"
                raise bad(
                    f"The encrypted content {shown} could not be verified. Reason: Encrypted content could not be"
                    " decrypted or parsed.",
                    None,
                    "invalid_encrypted_content",
                )
        elif self.find(named) is None:
            raise _unfound(named, stored=self.stored)
        self.thought = named

    def call(self, item: Body, path: str) -> None:
        called = openai.at_most(openai.needed(item, "call_id", str, path), 64, f"{path}.call_id")
        name = openai.needed(item, "name", str, path)
        if not openai.TOOL_NAME.match(name):
            message = f"Invalid '{path}.name': string does not match pattern. Expected a string that matches the"
            raise bad(f"{message} pattern '{openai.TOOL_NAME.pattern}'.", f"{path}.name", "invalid_value")
        self.called[called] = self.owed[called] = None
        self.turns.append(Turn("assistant", name + openai.needed(item, "arguments", str, path)))

    def output(self, item: Body, path: str) -> None:
        called = openai.needed(item, "call_id", str, path)
        if called not in self.called:
            raise bad(f"No tool call found for function call output with call_id {called}.", "input")
        if "output" not in item:
            message = f"Missing required parameter: '{path}.output'."
            raise bad(message, f"{path}.output", "missing_required_parameter")
        self.owed.pop(called, None)
        output = item["output"]
        self.turns.append(Turn("tool", output if isinstance(output, str) else self.parts(output, "user", path)))

    def message(self, item: Body, path: str) -> None:
        role = openai.needed(item, "role", str, path)
        openai.one_of(role, ("assistant", "system", "developer", "user"), f"{path}.role")
        content: Any = item.get("content")
        if content is None:
            raise bad(f"Missing required parameter: '{path}.content'.", f"{path}.content", "missing_required_parameter")
        text = content if isinstance(content, str) else self.parts(content, role, f"{path}.content")
        if role in ("system", "developer"):
            self.system.append(text)
        else:
            self.turns.append(Turn("assistant" if role == "assistant" else "user", text))

    def parts(self, content: Json, role: str, path: str) -> str:
        found: list[str] = []
        for j, part in enumerate(openai.typed(content, list, path)):
            kind = openai.needed(openai.typed(part, dict, f"{path}[{j}]"), "type", str, f"{path}[{j}]")
            allowed = ("output_text", "refusal") if role == "assistant" else _GIVEN
            openai.one_of(kind, allowed, f"{path}[{j}]")
            if kind in ("input_text", "output_text", "refusal"):
                field = "refusal" if kind == "refusal" else "text"
                found.append(openai.needed(part, field, str, f"{path}[{j}]"))
            else:
                self.extra_tokens += _PART_TOKENS
        return "\n".join(found)

    def closed(self) -> None:
        """Here, no call may be without its result, and no thought without what follows it."""
        if self.thought is not None:
            self.lonely()
        if self.owed:
            raise bad(f"No tool output found for function call {next(iter(self.owed))}.", "input")


def _ours(sealed: str) -> bool:
    return sealed.startswith(SEALED) and decoded(sealed[7:]) is not None and made_by("openai", sealed[7:])


def _unfound(named: str, *, stored: bool) -> Refused:
    message = f"Item with id '{named}' not found."
    if not stored:
        message += (
            " Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this"
            " item from your input."
        )
    return Refused(why=Wrong.NOT_FOUND, message=message, param="input")


def _tools(body: Body) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for i, tool in enumerate(openai.typed(body.get("tools") or [], list, "tools")):
        path = f"tools[{i}]"
        kind = openai.needed(openai.typed(tool, dict, path), "type", str, path)
        if kind == "function":
            if "function" in tool:
                message = f"Missing required parameter: '{path}.name'."
                raise bad(message, f"{path}.name", "missing_required_parameter")
            # Strict is the default of responses, where the schema allows it.
            found.append(openai.function({**tool, "strict": tool.get("strict") is True}, path))
    return tuple(found)


def _choice(body: Body, offered: tuple[Tool, ...]) -> str | None:
    choice: Any = body.get("tool_choice")
    if isinstance(choice, Mapping):
        said = cast("Body", choice)
        if said.get("type") == "allowed_tools":
            return "*" if said.get("mode") == "required" else None
        if said.get("type") == "function" and said.get("name") not in [tool.name for tool in offered]:
            message = f"Tool choice '{said.get('name')}' not found in 'tools' parameter."
            raise bad(message, "tool_choice")
        return said.get("name")
    if choice is not None:
        openai.one_of(choice, ("none", "auto", "required"), "tool_choice")
        if choice == "required" and not body.get("tools"):
            raise bad("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    return "*" if choice == "required" else None


def _format(body: Body) -> tuple[Json, bool]:
    text: Any = body.get("text") or {}
    wanted: Any = text.get("format")
    if wanted is None:
        return None, False
    kind = openai.needed(wanted, "type", str, "text.format")
    openai.one_of(kind, ("json_object", "json_schema", "text"), "text.format.type")
    if kind == "json_schema":
        return openai.response_schema(wanted, "text.format", "text.format.schema"), True
    if kind == "json_object" and "json" not in json.dumps([body.get("input"), body.get("instructions")]).lower():
        raise bad(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type"
            " 'json_object'.",
            "input",
        )
    return None, kind == "json_object"

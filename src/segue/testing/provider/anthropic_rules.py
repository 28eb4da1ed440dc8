"""What Anthropic messages take and refuse."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

from .marks import made_by, sign
from .schemas import objects
from .served import Served
from .speech import Asked, Body, Json, Refused, Tool, Turn, Wrong, object_of

PARAMETERS = frozenset(
    """cache_control container context_management diagnostics inference_geo max_tokens mcp_servers messages metadata
    model output_config output_format service_tier speed stop_sequences stream system temperature thinking tool_choice
    tools top_k top_p""".split()  # noqa: SIM905  words read best as words
)
_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "cache_control", "citations"),
    "image": ("source", "cache_control"),
    "document": ("source", "cache_control", "citations", "context", "title"),
    "search_result": ("content", "source", "title", "cache_control", "citations"),
    "tool_result": ("tool_use_id", "content", "is_error", "cache_control"),
    "tool_use": ("id", "name", "input", "cache_control", "caller"),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "server_tool_use": ("id", "name", "input", "cache_control", "caller"),
    "web_search_tool_result": ("tool_use_id", "content", "cache_control", "caller"),
    "container_upload": ("file_id", "cache_control"),
}
_OF_USER = ("text", "image", "document", "search_result", "tool_result", "container_upload")
_OF_ASSISTANT = ("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result")
_ID = re.compile(r"^[a-zA-Z0-9_-]+$")
_TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_HELP = "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
_PART_TOKENS = 85
_UNBOUND = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}


def bad(message: str) -> Refused:
    """A 400."""
    return Refused(why=Wrong.BAD_REQUEST, message=message)


class Block(NamedTuple):
    """A content block and the way to it."""

    path: str
    body: Body

    @property
    def kind(self) -> str:
        """Its type."""
        return self.body["type"]


class Group(NamedTuple):
    """Turns of one role that follow each other: the API reads them as one."""

    role: str
    first: int
    blocks: list[Block]

    def of(self, kind: str) -> list[Body]:
        """The blocks of one type."""
        return [block.body for block in self.blocks if block.kind == kind]


def read(body: Body, served: Served) -> Asked:
    """What is asked."""
    if served.strict_parameters:
        _known(body, PARAMETERS, "")
    for name in ("max_tokens", "messages"):
        if name not in body:
            raise bad(f"{name}: Field required")
    thinks = _numbers(body, served)
    groups = _groups(_listed(body["messages"], "messages"), served)
    _order(groups, body, served)
    offered = _tools(body)
    said = [_turns(group) for group in groups]
    return Asked(
        model=body["model"],
        body=body,
        system=_system(body.get("system")),
        turns=tuple(turn for turns in said for turn in turns),
        tools=offered,
        schema=(schema := _schema(body)),
        json=schema is not None,
        must_call=_choice(body, offered, thinks=thinks),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
        stream=body.get("stream") is True,
        thinking=thinks,
        extra_tokens=sum(
            _PART_TOKENS for g in groups for b in g.blocks if b.kind in ("image", "document", "container_upload")
        ),
    )


def _known(fields: Mapping[str, Json], allowed: Collection[str], path: str) -> None:
    for name in fields:
        if name not in allowed:
            raise bad(f"{path}{name}: Extra inputs are not permitted")


def _field(fields: Mapping[str, Json], name: str, kind: type, path: str) -> Any:
    """A field that must be there, of that type."""
    if name not in fields:
        raise bad(f"{path}.{name}: Field required")
    if not isinstance(fields[name], kind):
        words = {str: "string", dict: "dictionary", list: "list"}
        raise bad(f"{path}.{name}: Input should be a valid {words[kind]}")
    return fields[name]


def _listed(value: Json, path: str) -> list[Body]:
    if not isinstance(value, list):
        raise bad(f"{path}: Input should be a valid list")
    return cast("list[Body]", value)


def _numbers(body: Body, served: Served) -> bool:
    """Whether it thinks, when all numbers are in their ranges."""
    most: Any = body["max_tokens"]
    if not isinstance(most, int) or isinstance(most, bool):
        raise bad("max_tokens: Input should be a valid integer")
    if most < 1:
        raise bad("max_tokens: Input should be greater than or equal to 1")
    if most > served.max_output:
        raise bad(
            f"max_tokens: {most} > {served.max_output}, which is the maximum allowed number of output tokens for"
            f" {body['model']}"
        )
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None and not 0 <= value <= 1:
            bound = "less than or equal to 1" if value > 1 else "greater than or equal to 0"
            raise bad(f"{name}: Input should be {bound}")
    thinking: Body = body.get("thinking") or {"type": "disabled"}
    kind = thinking.get("type")
    if kind not in ("enabled", "disabled", "adaptive"):
        raise bad(
            f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'adaptive',"
            " 'disabled', 'enabled'"
        )
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if budget is None:
            raise bad("thinking.enabled.budget_tokens: Field required")
        if budget < 1024:
            raise bad("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= most:
            raise bad(
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at"
                f" {_HELP}#max-tokens-and-context-window-size"
            )
    if kind != "disabled" and body.get("temperature") not in (None, 1):
        raise bad(
            "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. Please consult our"
            f" documentation at {_HELP}#important-considerations-when-using-extended-thinking"
        )
    return kind != "disabled"


def _groups(messages: list[Body], served: Served) -> list[Group]:
    if not messages:
        raise bad("messages: at least one message is required")
    groups: list[Group] = []
    for i, message in enumerate(messages):
        role = _field(message, "role", str, f"messages.{i}")
        if role == "system":
            raise bad(
                'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not'
                ' "system" as an input message role.'
            )
        if role not in ("user", "assistant"):
            raise bad(f"messages.{i}.role: Input should be 'user' or 'assistant'")
        _known(message, ("role", "content"), f"messages.{i}.")
        blocks = _blocks(message, role, i, last=i == len(messages) - 1)
        if groups and groups[-1].role == role:
            if served.alternate:
                raise bad(
                    'messages: roles must alternate between "user" and "assistant", but found multiple'
                    f' "{role}" roles in a row'
                )
            groups[-1].blocks.extend(blocks)
        else:
            groups.append(Group(role, i, blocks))
    if groups[0].role != "user":
        raise bad('messages: first message must use the "user" role')
    return groups


def _blocks(message: Body, role: str, i: int, *, last: bool) -> list[Block]:
    content: Any = message.get("content")
    if "content" not in message:
        raise bad(f"messages.{i}.content: Field required")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else []
    found = [
        _block(block, role, f"messages.{i}.content.{j}") for j, block in enumerate(_listed(content, f"messages.{i}"))
    ]
    if not found and not (last and role == "assistant"):
        raise bad(f"messages.{i}: all messages must have non-empty content except for the optional final assistant"
                  " message")  # fmt: skip
    return found


def _block(block: Body, role: str, path: str) -> Block:
    kind = _field(block, "type", str, path)
    allowed = _OF_USER if role == "user" else _OF_ASSISTANT
    if kind not in allowed:
        tags = ", ".join(f"'{name}'" for name in sorted(allowed))
        raise bad(f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}")
    _known(block, ("type", *_BLOCKS[kind]), f"{path}.{kind}.")
    match kind:
        case "thinking" | "redacted_thinking":
            _signed(block, path)
        case "text":
            text = _field(block, "text", str, f"{path}.text")
            if not text:
                raise bad("messages: text content blocks must be non-empty")
            if not text.strip():
                raise bad("messages: text content blocks must contain non-whitespace text")
        case "tool_use":
            if not _ID.match(_field(block, "id", str, f"{path}.tool_use")):
                raise bad(f"{path}.tool_use.id: String should match pattern '{_ID.pattern}'")
            if not _TOOL_NAME.match(_field(block, "name", str, f"{path}.tool_use")):
                raise bad(f"{path}.tool_use.name: String should match pattern '{_TOOL_NAME.pattern}'")
            _field(block, "input", dict, f"{path}.tool_use")
        case "tool_result":
            _field(block, "tool_use_id", str, f"{path}.tool_result")
        case _:
            pass
    return Block(path, block)


def _signed(block: Body, path: str) -> None:
    """Thoughts are those that the provider made, unchanged."""
    if block["type"] == "redacted_thinking":
        if not made_by("anthropic", _field(block, "data", str, f"{path}.redacted_thinking")):
            raise bad(f"{path}: Invalid `data` in `redacted_thinking` block")
        return
    signature = _field(block, "signature", str, f"{path}.thinking")
    if signature != sign("anthropic", _field(block, "thinking", str, f"{path}.thinking")):
        raise bad(f"{path}: Invalid `signature` in `thinking` block")


def _order(groups: list[Group], body: Body, served: Served) -> None:
    """Calls have their results, in the next turn and first in it; results have their calls; the end is allowed."""
    seen: set[str] = set()
    for i, group in enumerate(groups):
        before = {call["id"] for call in groups[i - 1].of("tool_use")} if i else set[str]()
        for block in group.blocks:
            if block.kind == "tool_result" and (named := block.body["tool_use_id"]) not in before:
                raise bad(
                    f"{block.path}: unexpected `tool_use_id` found in `tool_result` blocks: {named}. Each `tool_result`"
                    " block must have a corresponding `tool_use` block in the previous message."
                )
        names = [call["id"] for call in group.of("tool_use")]
        if seen & set(names) or len(set(names)) < len(names):
            raise bad("messages: `tool_use` ids must be unique")
        seen |= set(names)
        _answered(group, names, groups[i + 1] if i + 1 < len(groups) else None)
    _ending(groups, body, served)


def _answered(group: Group, named: list[str], after: Group | None) -> None:
    results: list[str] = []
    for block in after.blocks if after else ():
        if block.kind != "tool_result":
            break
        results.append(block.body["tool_use_id"])
    if missing := [name for name in named if name not in results]:
        raise bad(
            f"messages.{group.first}: `tool_use` ids were found without `tool_result` blocks immediately after:"
            f" {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next"
            " message."
        )


def _ending(groups: list[Group], body: Body, served: Served) -> None:
    last = groups[-1]
    if last.role == "assistant":
        if not served.prefill or _schema(body) is not None:
            raise bad("This model does not support assistant message prefill. The conversation must end with a user"
                      " message.")  # fmt: skip
        if (
            last.blocks
            and last.blocks[-1].kind == "text"
            and last.blocks[-1].body["text"] != (last.blocks[-1].body["text"].rstrip())
        ):
            raise bad("messages: final assistant content cannot end with trailing whitespace")
    elif object_of(body.get("thinking")).get("type") == "enabled" and last.of("tool_result") and len(groups) > 1:
        first = _loop(groups).blocks[0]
        if first.kind not in ("thinking", "redacted_thinking"):
            raise bad(
                f"{first.path}.type: Expected `thinking` or `redacted_thinking`, but found `{first.kind}`. When"
                " `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the"
                " lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from"
                " previous turns. To avoid this requirement, disable `thinking`. Please consult our documentation at"
                f" {_HELP}"
            )


def _loop(groups: list[Group]) -> Group:
    """The turn of the model that the results at the end belong to: a loop of tools is one, from its first call on."""
    at = len(groups) - 2
    while at > 1 and groups[at - 1].of("tool_result"):
        at -= 2
    return groups[at]


def _turns(group: Group) -> list[Turn]:
    """Results first, each a turn of its own, then the rest as one."""
    found: list[Turn] = []
    texts: list[str] = []
    for block in group.blocks:
        match block.kind:
            case "tool_result":
                found.append(Turn("tool", _system(block.body.get("content"))))
            case "tool_use":
                texts.append(block.body["name"] + str(block.body["input"]))
            case "thinking":
                texts.append(block.body["thinking"])
            case _:
                texts.append(str(block.body.get("text") or ""))
    if texts:
        found.append(Turn("assistant" if group.role == "assistant" else "user", "\n".join(texts)))
    return found


def _system(content: Json) -> str:
    """The text of a string or of text blocks."""
    if content is None or isinstance(content, str):
        return content or ""
    blocks = cast("list[Body]", content)
    return "\n".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text")


def _tools(body: Body) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for i, tool in enumerate(_listed(body.get("tools") or [], "tools")):
        if tool.get("type") not in (None, "custom"):
            continue  # the provider's own tools
        path = f"tools.{i}.custom"
        if not _TOOL_NAME.match(_field(tool, "name", str, path)):
            raise bad(f"{path}.name: String should match pattern '{_TOOL_NAME.pattern}'")
        schema = _field(tool, "input_schema", dict, path)
        if "type" not in schema:
            raise bad(f"{path}.input_schema.type: Field required")
        if schema["type"] != "object":
            raise bad(f"{path}.input_schema.type: Input should be 'object'")
        if any(word in schema for word in ("oneOf", "allOf", "anyOf")):
            raise bad(f"{path}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level")
        if tool.get("strict"):
            _closed(schema, f"tools.{i}.custom.input_schema")
        found.append(Tool(tool["name"], schema))
    if len({tool.name for tool in found}) < len(found):
        raise bad("tools: Tool names must be unique.")
    return tuple(found)


def _choice(body: Body, offered: tuple[Tool, ...], *, thinks: bool) -> str | None:
    choice: Body = body.get("tool_choice") or {"type": "auto"}
    if body.get("tool_choice") and not body.get("tools"):
        raise bad("tool_choice may only be specified while providing tools")
    kind = choice.get("type")
    if kind in ("any", "tool") and thinks:
        raise bad("Thinking may not be enabled when tool_choice forces tool use.")
    if kind == "tool" and choice.get("name") not in [tool.name for tool in offered]:
        raise bad(f"Tool '{choice.get('name')}' not found in provided tools")
    return choice["name"] if kind == "tool" else "*" if kind == "any" else None


def _schema(body: Body) -> Body | None:
    wanted = object_of(object_of(body.get("output_config")).get("format") or body.get("output_format"))
    if not wanted:
        return None
    schema = _field(wanted, "schema", dict, "output_config.format")
    _closed(schema, "output_config.format.schema")
    return schema


def _closed(schema: Body, path: str) -> None:
    """What the grammar of structured outputs can hold."""
    for _, rules in objects(schema):
        kind = rules.get("type")
        if kind == "object" and rules.get("additionalProperties") is not False:
            raise bad(f"{path}: For 'object' type, 'additionalProperties' must be explicitly set to false")
        kind = str(kind)
        if unbound := [word for word in sorted(_UNBOUND.get(kind, ())) if word in rules]:
            raise bad(f"{path}: For '{kind}' type, properties {', '.join(unbound)} are not supported")

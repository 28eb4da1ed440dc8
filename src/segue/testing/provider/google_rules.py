"""What Google's generateContent takes and refuses."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

from .marks import decoded, made_by
from .served import Served
from .speech import Asked, Body, Json, Refused, Tool, Turn, Wrong

_FREE = frozenset({"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema",
                   "labels"})  # fmt: skip
"""Fields whose value has names of the caller's own."""
PARAMETERS = frozenset(
    [
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "cachedContent",
        "labels",
        "model",
        "store",
        "serviceTier",
    ]
)
_CONFIG = frozenset(
    """audioTimestamp candidateCount enableEnhancedCivicAnswers frequencyPenalty imageConfig logprobs maxOutputTokens
    mediaResolution presencePenalty responseJsonSchema responseLogprobs responseMimeType responseModalities
    responseSchema seed speechConfig stopSequences temperature thinkingConfig topK topP""".split()  # noqa: SIM905  words read best as words
)
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult")
_PART = frozenset({*_DATA, "thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"})
_FUNCTION = frozenset({"name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema",
                       "behavior"})  # fmt: skip
_SCHEMA = frozenset(
    """anyOf default description enum example format items maxItems maxLength maxProperties maximum minItems minLength
    minProperties minimum nullable pattern properties propertyOrdering required title type""".split()  # noqa: SIM905  words read best as words
)
_NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$")
UNSIGNED = (b"skip_thought_signature_validator", b"context_engineering_is_the_way_to_go")
"""Signatures that Google takes in the place of its own, for calls that another model made."""
_SIGNATURES = "https://ai.google.dev/gemini-api/docs/thought-signatures"
_PART_TOKENS = 258


def bad(message: str, *, field: str | None = None) -> Refused:
    """A 400, with the field as Google's details name it."""
    details: list[Body] = []
    if field is not None:
        violation = {"field": field, "description": message}
        details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    return Refused(why=Wrong.BAD_REQUEST, message=message, details=details)


def read(body: Body, model: str, served: Served, *, stream: bool) -> Asked:
    """What is asked."""
    body = camel(body)
    if served.strict_parameters:
        _known(body, PARAMETERS, "")
    config: Body = body.get("generationConfig") or {}
    _config(config, served)
    listed: Json = body.get("contents")
    if not listed:
        raise bad("* GenerateContentRequest.contents: contents is not specified\n")
    contents = [_content(content, i, served) for i, content in enumerate(cast("list[Body]", listed))]
    _order(contents, served)
    offered = _tools(body)
    wanted: Json = config.get("responseJsonSchema") or config.get("responseSchema")
    as_json = config.get("responseMimeType") == "application/json"
    if as_json and offered and not served.thinking:
        raise bad("Function calling with a response mime type: 'application/json' is unsupported")
    if wanted is not None and not as_json:
        raise bad("* GenerateContentRequest.generation_config.response_schema: only allowed with response mime type"
                  " 'application/json'\n")  # fmt: skip
    parts = [part for content in contents for part in content.parts]
    return Asked(
        model=model,
        body=body,
        system=_text(cast("Body", body.get("systemInstruction") or {}).get("parts") or []),
        turns=tuple(_turn(content) for content in contents),
        tools=offered,
        schema=wanted,
        json=as_json,
        must_call=_choice(body),
        max_tokens=config.get("maxOutputTokens") or served.max_output,
        stop=tuple(config.get("stopSequences") or ()),
        stream=stream,
        thinking=served.thinking,
        extra_tokens=sum(_PART_TOKENS for part in parts if "inlineData" in part or "fileData" in part),
    )


class Content(NamedTuple):
    """One turn."""

    role: str
    parts: list[Body]

    def of(self, kind: str) -> list[Body]:
        """The parts that hold this."""
        return [part for part in self.parts if kind in part]


def camel(value: Json) -> Json:
    """Names in the form of JSON: both forms are taken on the wire."""
    if isinstance(value, list):
        return [camel(item) for item in cast("list[Json]", value)]
    if not isinstance(value, dict):
        return value
    found: Body = {}
    for name, item in cast("Body", value).items():
        word = _camel_word(name)
        found[word] = item if word in _FREE else camel(item)
    return found


def snake(name: str) -> str:
    """As Google's messages write a name."""
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


def _known(fields: Mapping[str, Json], allowed: Collection[str], path: str) -> None:
    for name in fields:
        if name not in allowed:
            raise _unknown(name, path)


def _unknown(name: str, path: str, why: str = "Cannot find field.") -> Refused:
    at = f" at '{path}'" if path else ""
    return bad(f'Invalid JSON payload received. Unknown name "{name}"{at}: {why}', field=path)


def _config(config: Body, served: Served) -> None:
    if served.strict_parameters:
        _known(config, _CONFIG, "generation_config")
    most, heat = config.get("maxOutputTokens"), config.get("temperature")
    if most is not None and not 1 <= most <= served.max_output:
        raise bad(
            f"Unable to submit request because it has a maxOutputTokens value of {most} but the supported range is from"
            f" 1 (inclusive) to {served.max_output + 1} (exclusive). Update the value and try again."
        )
    if heat is not None and not 0 <= heat <= 2:
        raise bad(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n"
        )
    if config.get("thinkingConfig") and not served.thinking and config["thinkingConfig"].get("includeThoughts"):
        raise bad("Thinking is not enabled for this model. Remove thinking_config from your request and try again.")
    if config.get("responseSchema") is not None:
        _schema(config["responseSchema"], "generation_config.response_schema")


def _content(content: Body, i: int, served: Served) -> Content:
    path = f"contents[{i}]"
    if served.strict_parameters:
        _known(content, ("role", "parts"), path)
    role = content.get("role") or "user"
    if role not in ("user", "model", "function"):
        raise bad("Please use a valid role: user, model.")
    parts: list[Body] = content.get("parts") or []
    if not parts:
        raise bad(f"* GenerateContentRequest.{path}.parts: contents.parts must not be empty.\n")
    for j, part in enumerate(parts):
        _part(part, f"{path}.parts[{j}]", served)
    return Content("user" if role == "function" else role, parts)


def _part(part: Body, path: str, served: Served) -> None:
    if served.strict_parameters:
        _known(part, _PART, path)
    if not any(name in part for name in _DATA):
        raise bad(
            f"* GenerateContentRequest.{path}.data: required oneof field 'data' must have one initialized field\n"
        )
    for name in ("functionCall", "functionResponse"):
        if name in part:
            if not part[name].get("name"):
                raise bad(f"* GenerateContentRequest.{path}.{snake(name)}.name: Name cannot be empty.\n")
            _named(part[name]["name"], f"{path}.{snake(name)}.name")
    if "functionResponse" in part and not isinstance(part["functionResponse"].get("response"), dict):
        raise bad(f"Invalid value at '{path}.function_response.response' (type.googleapis.com/google.protobuf.Struct)")
    if (signed := part.get("thoughtSignature")) is not None:
        if (raw := decoded(signed)) is None:
            raise bad(
                f"Invalid value at '{path}.thought_signature' (TYPE_BYTES), Base64 decoding failed for \"{signed}\"",
                field=f"{path}.thought_signature",
            )
        if not made_by("google", signed) and raw not in UNSIGNED:
            raise bad("Corrupted thought signature.")


def _named(name: str, path: str) -> None:
    if not _NAME.match(name):
        raise bad(
            f"* GenerateContentRequest.{path}: Invalid function name. Must start with a letter or an underscore. Must"
            " be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum"
            " length of 64.\n"
        )


def _order(contents: list[Content], served: Served) -> None:
    for i, content in enumerate(contents):
        before = contents[i - 1] if i else None
        calls, results = content.of("functionCall"), content.of("functionResponse")
        if served.alternate and before is not None and before.role == content.role:
            raise bad("Please ensure that multiturn requests alternate between user and model.")
        if calls and content.role == "model" and (before is None or before.role != "user"):
            raise bad("Please ensure that function call turn comes immediately after a user turn or after a function"
                      " response turn.")  # fmt: skip
        if results and (before is None or not before.of("functionCall")):
            raise bad("Please ensure that function response turn comes immediately after a function call turn.")
        owed = len(before.of("functionCall")) if before is not None else 0
        if owed and len(results) != owed:
            raise bad("Please ensure that the number of function response parts is equal to the number of function"
                      " call parts of the function call turn.")  # fmt: skip
    if contents[-1].of("functionCall") or (contents[-1].role == "model" and not served.prefill):
        raise bad("Please ensure that single turn requests end with a user role or the role field is empty.")
    if served.thinking:
        _signed(contents)


def _signed(contents: list[Content]) -> None:
    """Since the user last spoke, the first call of each turn carries the signature of the thought behind it."""
    spoke = max((i for i, c in enumerate(contents) if c.role == "user" and not c.of("functionResponse")), default=0)
    for i, content in enumerate(contents):
        calls = content.of("functionCall")
        if i > spoke and calls and not calls[0].get("thoughtSignature"):
            raise bad(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work"
                " correctly, and missing thought_signature may lead to degraded model performance. Additional data,"
                f" function call `default_api:{calls[0]['functionCall']['name']}` , position {i + 1}. Please refer to"
                f" {_SIGNATURES} for more details."
            )


def _text(parts: list[Body]) -> str:
    return "\n".join(str(part.get("text") or "") for part in parts if "text" in part)


def _turn(content: Content) -> Turn:
    calls = "".join(
        part["functionCall"]["name"] + str(part["functionCall"].get("args")) for part in content.of("functionCall")
    )
    results = "".join(str(part["functionResponse"]["response"]) for part in content.of("functionResponse"))
    if results:
        return Turn("tool", results + _text(content.parts))
    return Turn("assistant" if content.role == "model" else "user", _text(content.parts) + calls)


def _tools(body: Body) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for i, tool in enumerate(cast("list[Body]", body.get("tools") or [])):
        for j, function in enumerate(cast("list[Body]", tool.get("functionDeclarations") or [])):
            path = f"tools[{i}].function_declarations[{j}]"
            _known(function, _FUNCTION, path)
            _named(function.get("name") or "", f"{path}.name")
            if function.get("parameters") is not None:
                _schema(function["parameters"], f"{path}.parameters")
            schema: Json = function.get("parametersJsonSchema") or function.get("parameters") or {"type": "object"}
            found.append(Tool(function["name"], schema))
    if len({tool.name for tool in found}) < len(found):
        name = next(t.name for i, t in enumerate(found) if t.name in [other.name for other in found[:i]])
        raise bad(f"Duplicate function declaration found: {name}")
    return tuple(found)


def _schema(schema: Any, path: str) -> None:
    """What the `Schema` of Google's own does not know."""
    if not isinstance(schema, dict):
        raise bad(f"Invalid value at '{path}'", field=path)
    rules: Body = {_camel_word(name): value for name, value in cast("Body", schema).items()}
    _known(rules, _SCHEMA, path)
    if isinstance(rules.get("type"), list):
        raise _unknown("type", path, "Proto field is not repeating, cannot start list.")
    kind = str(rules.get("type") or "").upper()
    if kind == "OBJECT" and rules.get("properties") == {}:
        raise bad(f"* GenerateContentRequest.{path}.properties: should be non-empty for OBJECT type\n")
    if "enum" in rules and kind not in ("STRING", ""):
        raise bad(f"* GenerateContentRequest.{path}.enum: only allowed for STRING type\n")
    if kind == "ARRAY" and "items" not in rules:
        raise bad(f"* GenerateContentRequest.{path}.items: missing field.\n")
    for i, part in enumerate(cast("Body", rules.get("properties") or {}).values()):
        _schema(part, f"{path}.properties[{i}].value")
    for i, part in enumerate(cast("list[Json]", rules.get("anyOf") or [])):
        _schema(part, f"{path}.any_of[{i}]")
    if "items" in rules:
        _schema(rules["items"], f"{path}.items")


def _camel_word(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest) if head else name


def _choice(body: Body) -> str | None:
    how: Body = cast("Body", body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if str(how.get("mode") or "").upper() != "ANY":
        return None
    allowed: list[str] = how.get("allowedFunctionNames") or []
    return allowed[0] if allowed else "*"

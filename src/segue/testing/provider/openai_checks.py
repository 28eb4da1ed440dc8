"""What OpenAI's APIs refuse in the same words: parameters, types, lengths, tools, schemas. And their errors."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, cast

from .faults import Trouble
from .formats import Words, retry_after, wait
from .http import Request
from .marks import Ids
from .meter import Over, Standing
from .schemas import strict_problem
from .speech import Asked, Body, Json, Refused, Tool, Wrong

TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]+$")
_TYPES: Mapping[type[Any], str] = {
    str: "a string",
    dict: "an object",
    list: "an array",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
}
_STATUS: Mapping[Wrong, tuple[int, str]] = {
    Wrong.BAD_REQUEST: (400, "invalid_request_error"),
    Wrong.NO_KEY: (401, "invalid_request_error"),
    Wrong.BAD_KEY: (401, "invalid_request_error"),
    Wrong.FORBIDDEN: (403, "request_forbidden"),
    Wrong.BILLING: (429, "insufficient_quota"),
    Wrong.NO_MODEL: (404, "invalid_request_error"),
    Wrong.NOT_FOUND: (404, "invalid_request_error"),
    Wrong.TOO_LARGE: (413, "invalid_request_error"),
    Wrong.RATE_LIMITED: (429, "requests"),
    Wrong.OVERLOADED: (503, "service_unavailable_error"),
    Wrong.SERVER_ERROR: (500, "server_error"),
}
_LIMITED = (
    "Rate limit reached for {model} in organization org-segue on requests per min (RPM): Limit 3, Used 3, Requested 1."
    " Please try again in {wait}. Visit https://platform.openai.com/account/rate-limits to learn more."
)
SAYS: Mapping[Trouble, Words] = {
    Trouble.RATE_LIMITED: Words(Wrong.RATE_LIMITED, _LIMITED, None, "rate_limit_exceeded"),
    Trouble.RATE_LIMITED_DATE: Words(Wrong.RATE_LIMITED, _LIMITED, None, "rate_limit_exceeded"),
    Trouble.RATE_LIMITED_OWN: Words(Wrong.RATE_LIMITED, _LIMITED, None, "rate_limit_exceeded"),
    Trouble.OVERLOADED: Words(Wrong.OVERLOADED, "The server is overloaded or not ready yet."),
    Trouble.SERVER_ERROR: Words(
        Wrong.SERVER_ERROR, "The server had an error while processing your request. Sorry about that!"
    ),
    Trouble.UNAUTHORISED: Words(
        Wrong.BAD_KEY,
        "Incorrect API key provided: sk-*****. You can find your API key at"
        " https://platform.openai.com/account/api-keys.",
        None,
        "invalid_api_key",
    ),
    Trouble.FORBIDDEN: Words(
        Wrong.FORBIDDEN, "Country, region, or territory not supported", None, "unsupported_country_region_territory"
    ),
    Trouble.BILLING: Words(
        Wrong.BILLING,
        "You exceeded your current quota, please check your plan and billing details. For more information on this"
        " error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        None,
        "insufficient_quota",
    ),
    Trouble.BAD_REQUEST: Words(
        Wrong.BAD_REQUEST,
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3.0 instead.",
        "temperature",
        "decimal_above_max_value",
    ),
    Trouble.CONTEXT_TOO_LONG: Words(
        Wrong.BAD_REQUEST,
        "This model's maximum context length is {window} tokens. However, your messages resulted in {used} tokens."
        " Please reduce the length of the messages.",
        "messages",
        "context_length_exceeded",
    ),
    Trouble.PROMPT_BLOCKED: Words(
        Wrong.BAD_REQUEST,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a"
        " different prompt: https://platform.openai.com/docs/guides/reasoning#advice-on-prompting",
        None,
        "invalid_prompt",
    ),
}


# --- errors ---


def bad(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """A 400."""
    return Refused(why=Wrong.BAD_REQUEST, message=message, param=param, code=code)


def error_body(refused: Refused) -> Body:
    """The error object of OpenAI's APIs."""
    if refused.mistral is not None:
        error: Body = {"object": "error", "message": refused.message, "type": refused.mistral, "param": None}
        return {**error, "code": refused.code, "raw_status_code": _STATUS[refused.why][0]}
    kind = _STATUS[refused.why][1]
    kind = "tokens" if kind == "requests" and "(TPM)" in refused.message else kind
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}}


def error(refused: Refused, ids: Ids) -> tuple[int, dict[str, str], Body]:
    """Status, headers and body."""
    headers = {**base_headers(ids), **retry_after(refused)}
    if refused.retry_after_s is not None and refused.tell == "seconds":
        headers["retry-after-ms"] = str(math.ceil(refused.retry_after_s * 1000))
    if refused.retry_after_s is not None and refused.tell == "own":
        headers |= {
            "x-ratelimit-limit-requests": "3",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": wait(refused.retry_after_s),
        }
    return _STATUS[refused.why][0], headers, error_body(refused)


def base_headers(ids: Ids) -> dict[str, str]:
    """Those of every response."""
    return {
        "x-request-id": ids.of("req_", length=32),
        "openai-organization": "org-segue",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "5",
    }


def headers(standing: Standing | None, ids: Ids) -> dict[str, str]:
    """Those of every response, with the limits where there are any."""
    found = base_headers(ids)
    if standing is None:
        return found
    for name, limit, left, reset in (
        ("requests", standing.rpm, standing.requests_left, standing.requests_reset_s),
        ("tokens", standing.tpm, standing.tokens_left, standing.tokens_reset_s),
    ):
        if limit is not None:
            found[f"x-ratelimit-limit-{name}"] = str(limit)
            found[f"x-ratelimit-remaining-{name}"] = str(left)
            found[f"x-ratelimit-reset-{name}"] = wait(reset)
    return found


def too_much(over: Over, asked: Asked, used: int) -> Refused:
    """A 429 for a limit. `used` is what this request would add."""
    if over.limit == "concurrency":
        message = f"Too many concurrent requests for {asked.model}: Limit {over.most}, Used {over.used}."
        return Refused(why=Wrong.RATE_LIMITED, message=message, code="rate_limit_exceeded")
    name = "requests per min (RPM)" if over.limit == "requests" else "tokens per min (TPM)"
    message = (
        f"Rate limit reached for {asked.model} in organization org-segue on {name}: Limit {over.most}, Used"
        f" {over.used}, Requested {1 if over.limit == 'requests' else used}. Please try again in {wait(over.wait_s)}."
        " Visit https://platform.openai.com/account/rate-limits to learn more."
    )
    if used > over.most and over.limit == "tokens":
        message = (
            f"Request too large for {asked.model} in organization org-segue on {name}: Limit {over.most}, Requested"
            f" {used}. The input or output tokens must be reduced in order to run successfully. Visit"
            " https://platform.openai.com/account/rate-limits to learn more."
        )
        return Refused(why=Wrong.RATE_LIMITED, message=message, code="rate_limit_exceeded")
    return Refused(why=Wrong.RATE_LIMITED, message=message, code="rate_limit_exceeded", retry_after_s=over.wait_s)


def key(request: Request) -> str:
    """The bearer token; `api-key` is Azure's."""
    said = request.headers.get("authorization", "")
    return said[7:].strip() if said[:7].lower() == "bearer " else request.headers.get("api-key", "")


def unkeyed(key: str) -> Refused:
    """No key, or one that does not hold."""
    if not key:
        return Refused(
            why=Wrong.NO_KEY,
            message="You didn't provide an API key. You need to provide your API key in an Authorization header using"
            " Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from"
            " https://platform.openai.com/account/api-keys.",
        )
    shown = f"{key[:3]}*****{key[-4:]}" if len(key) > 8 else "*****"
    message = (
        f"Incorrect API key provided: {shown}. You can find your API key at"
        " https://platform.openai.com/account/api-keys."
    )
    return Refused(why=Wrong.BAD_KEY, message=message, code="invalid_api_key")


def unknown_model(model: str) -> Refused:
    """No such model."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return Refused(why=Wrong.NO_MODEL, message=message, code="model_not_found")


def named_model(body: Body) -> str:
    """The model of a body."""
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise bad("you must provide a model parameter")
    return body["model"]


def unread() -> Refused:
    """The body is no JSON."""
    return bad(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library"
        " correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble"
        " figuring out how to fix this, please contact us through our help center at help.openai.com.)"
    )


# --- checks ---


def _kind_of(value: Any) -> str:
    return "null" if value is None else _TYPES.get(cast("type[Any]", type(value)), "something else")


def known(fields: Mapping[str, Json], allowed: Collection[str], path: str = "") -> None:
    """No field but those allowed."""
    for name in fields:
        if name not in allowed:
            where = f"{path}.{name}" if path else name
            raise bad(f"Unknown parameter: '{where}'.", where, "unknown_parameter")


def typed(value: Json, kind: type, path: str) -> Any:
    """A value of that type."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        got = _kind_of(value)
        raise bad(f"Invalid type for '{path}': expected {_TYPES[kind]}, but got {got} instead.", path, "invalid_type")
    return value


def needed(fields: Mapping[str, Json], name: str, kind: type, path: str) -> Any:
    """A field that must be there, of that type."""
    where = f"{path}.{name}" if path else name
    if name not in fields:
        raise bad(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    return typed(fields[name], kind, where)


def one_of(value: Json, allowed: Collection[str], path: str) -> str:
    """A value that is one of those."""
    if value not in allowed:
        names = [f"'{name}'" for name in allowed]
        said = f"{', '.join(names[:-1])}, and {names[-1]}" if len(names) > 2 else " and ".join(names)
        raise bad(f"Invalid value: '{value}'. Supported values are: {said}.", path, "invalid_value")
    return cast("str", value)


def at_most(text: str, most: int, path: str) -> str:
    """A text of that length or less."""
    if len(text) > most:
        raise bad(
            f"Invalid '{path}': string too long. Expected a string with maximum length {most}, but got a string with"
            f" length {len(text)} instead.",
            path,
            "string_above_max_length",
        )
    return text


def some(items: list[Json], path: str, most: int = 1 << 30) -> list[Json]:
    """A list that is not empty and not too long."""
    if not items:
        message = f"Invalid '{path}': empty array. Expected an array with minimum length 1, but got an empty array"
        raise bad(f"{message} instead.", path, "empty_array")
    if len(items) > most:
        raise bad(
            f"Invalid '{path}': array too long. Expected an array with maximum length {most}, but got an array with"
            f" length {len(items)} instead.",
            path,
            "array_above_max_length",
        )
    return items


def within(body: Body, name: str, low: float, high: float) -> None:
    """A number in its range, where it is given."""
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"Invalid type for '{name}': expected a decimal, but got {_kind_of(value)} instead."
        raise bad(message, name, "invalid_type")
    word = "integer" if isinstance(value, int) and isinstance(low, int) else "decimal"
    if value < low:
        message = f"Invalid '{name}': {word} below minimum value. Expected a value >= {low:g}, but got {value} instead."
        raise bad(message, name, f"{word}_below_min_value")
    if value > high:
        message = (
            f"Invalid '{name}': {word} above maximum value. Expected a value <= {high:g}, but got {value} instead."
        )
        raise bad(message, name, f"{word}_above_max_value")


def function(tool: Body, path: str) -> Tool:
    """The name and schema of a function tool, checked. `path` leads to the fields."""
    name = needed(tool, "name", str, path)
    if not TOOL_NAME.match(name):
        raise bad(
            f"Invalid '{path}.name': string does not match pattern. Expected a string that matches the pattern"
            f" '{TOOL_NAME.pattern}'.",
            f"{path}.name",
            "invalid_value",
        )
    at_most(name, 64, f"{path}.name")
    at_most(tool.get("description") or "", 1024, f"{path}.description")
    schema: Body = tool.get("parameters") or {"type": "object", "properties": {}}
    where, problem = f"{path}.parameters", None
    if schema.get("type") != "object":
        problem = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    elif tool.get("strict"):
        problem = strict_problem(schema)
    if problem:
        raise bad(f"Invalid schema for function '{name}': {problem}", where, "invalid_function_parameters")
    return Tool(name, schema)


def response_schema(named: Body, path: str, param: str) -> Body:
    """The schema of a `json_schema` response format, checked."""
    name = needed(named, "name", str, path)
    if not TOOL_NAME.match(name) or len(name) > 64:
        raise bad(
            f"Invalid '{path}.name': string does not match pattern. Expected a string that matches the pattern"
            f" '{TOOL_NAME.pattern}'.",
            f"{path}.name",
            "invalid_value",
        )
    schema = needed(named, "schema", dict, path)
    if named.get("strict") and (problem := strict_problem(schema)):
        code = "invalid_json_schema" if param != "response_format" else None
        raise bad(f"Invalid schema for response_format '{name}': {problem}", param, code)
    return schema

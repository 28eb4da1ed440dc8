"""What can be read off an error, whichever library raised it. Pure, and no library of a vendor is imported.

OpenAI's, Anthropic's and Groq's SDKs, google-genai, botocore, mistralai, httpx and pydantic-ai each keep the status,
the headers and the body of an answer under names of their own; the providers word their bodies in a dozen ways. Here
they become one `Evidence`, which `signals` turns into a fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

_TEXT_MOST = 600
_ERRORS = 300
"""A status from here on is none of an answer."""
_MESSAGES = ("message", "Message", "error_message", "msg", "detail")
WITHIN = "segue-within"
"""The header of an answer that claimed success, and was given the status of the error in it."""
UNTOLD = "untold"
"""The value of that header where the answer is no error in JSON either: the status is ours alone."""
HALVED = "segue-halved"
"""The header of an answer that claimed success, and whose JSON has no end."""
PART = "a part of the body had come"
"""The note of an error that stopped the reading of an answer's body midway."""
_NO_HEADERS: Mapping[str, str] = {}
_SECRETS = re.compile(r"\b(sk-[\w*-]{6,}|AIza[\w-]{10,}|gsk_\w{10,}|AKIA\w{12,})|(?<=[?&]key=)[^&\s]+|(?<=Bearer )\S+")
_MARKUP = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.S | re.I)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What an error says. Texts are empty and numbers None where it says nothing."""

    status: int | None = None
    within: bool = False
    """Whether the status is only what a body says: that of the answer claims success, or is not known."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names in lower case."""
    code: str = ""
    """The provider's code: `rate_limit_exceeded`, `ThrottlingException`, `RESOURCE_EXHAUSTED`, `3051`."""
    kind: str = ""
    """The provider's type beside it: `invalid_request_error`, `tokens`."""
    param: str = ""
    """The field of the request that it complains of."""
    message: str = ""
    """At most 600 characters, markup and keys taken out."""
    details: tuple[Mapping[str, Any], ...] = ()
    """Google's `details`: RetryInfo, QuotaFailure, ErrorInfo."""
    markup: bool = False
    """Whether the body is a page for people: a proxy has answered."""
    flagged: bool = False
    """Whether moderation says so beside the message, as OpenRouter does."""
    names: frozenset[str] = frozenset()
    """The names of the error's classes and of its causes', bases included."""
    retry_after_s: float | None = None
    """What a library has already read of the headers."""
    half: bool = False
    """Whether the connection broke off within an answer."""
    untold: bool = False
    """Whether the status is ours alone: the answer was none, nor an error."""

    @property
    def text(self) -> str:
        """Code, type and message in lower case, to search in."""
        return f"{self.code} {self.kind} {self.message}".lower()


_HALVES = frozenset({"ClientPayloadError", "IncompleteRead", "IncompleteReadError"})
_BROKEN_OFF = "complete message body"
"""What the HTTP library says of an answer that it has had a part of; its class is that of a connection without any."""
_NONE_OF_IT = "received 0 bytes"
"""What it adds where no more than the headers came."""


def evidence_of(error: BaseException) -> Evidence:
    """What an error and its causes say; the outer one counts first."""
    chain = list(_chain(error))
    said = [_said(link) for link in chain]
    status, claimed = next(((s.status, s.within) for s in said if s.status is not None), (None, False))
    headers = next((s.headers for s in said if s.headers), _NO_HEADERS)
    found = next((s.found for s in said if s.found.message or s.found.code), _Found())
    status, within = _told(status, found)
    untold = headers.get(WITHIN) == UNTOLD
    return Evidence(
        status=status,
        within=within or claimed or WITHIN in headers,
        headers={**found.headers, **headers},
        code=found.code or _attribute(chain, "provider_error_code"),
        kind=found.kind or _attribute(chain, "provider_error_type"),
        param=found.param,
        message=clean(found.message or ("" if untold else _message(chain))),
        details=found.details,
        markup=any(s.found.markup for s in said),
        flagged=found.flagged,
        names=frozenset(cls.__name__ for link in chain for cls in type(link).__mro__),
        retry_after_s=next(
            (s for s in (_number(getattr(e, "retry_after", None)) for e in chain) if s is not None), None
        ),
        untold=untold,
        half=HALVED in headers or any(_is_half(link) for link in chain),
    )


def _is_half(error: BaseException) -> bool:
    said = str(error)
    if PART in getattr(error, "__notes__", ()) or type(error).__name__ in _HALVES:
        return True
    return _BROKEN_OFF in said and _NONE_OF_IT not in said


def evidence_in(body: object, status: int | None = None, headers: Mapping[str, str] | None = None) -> Evidence:
    """What the body of an answer says, as bytes, text or JSON."""
    found = _found(body)
    lower = {str(name).lower(): str(value) for name, value in (headers or {}).items()}
    status, within = _told(status, found)
    return Evidence(
        status=status,
        within=within,
        headers={**found.headers, **lower},
        code=found.code,
        kind=found.kind,
        param=found.param,
        message=clean(found.message),
        details=found.details,
        markup=found.markup,
        flagged=found.flagged,
    )


def _told(status: int | None, found: _Found) -> tuple[int | None, bool]:
    """The status, and whether only the body says so."""
    within = status is None or status < _ERRORS
    return (found.status if within else status), within and found.status is not None


def holds_error(body: object) -> bool:
    """Whether the body of an answer that claims success is none: an error, a page, or nothing that can be read."""
    read = _read(body)
    if isinstance(read, str):
        return True
    said = _object(_first(read))
    return bool(said.get("error") or said.get("errors")) or "error" in (said.get("object"), said.get("type"))


def clean(text: str) -> str:
    """A provider's text for a journal: one line, no markup, no keys, not without end."""
    plain = _MARKUP.sub(" ", text) if is_markup(text) else text
    plain = _SECRETS.sub("…", " ".join(plain.split()))
    return plain if len(plain) <= _TEXT_MOST else plain[: _TEXT_MOST - 1] + "…"


def is_markup(text: str) -> bool:
    """Whether a text is a page of HTML or XML."""
    start = text.lstrip("\ufeff \t\r\n")[:200].lower()
    return start.startswith(("<!doctype", "<html", "<head", "<body", "<?xml", "<center", "<h1", "<title"))


@dataclass(frozen=True, slots=True)
class _Found:
    """What a body says."""

    code: str = ""
    kind: str = ""
    param: str = ""
    message: str = ""
    details: tuple[Mapping[str, Any], ...] = ()
    markup: bool = False
    flagged: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """OpenRouter passes those of the provider on within the body."""


@dataclass(frozen=True, slots=True)
class _Said:
    status: int | None
    headers: Mapping[str, str]
    found: _Found
    within: bool = False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, groups unpacked to their first.

    Not what was being handled when it was raised: a mistake in the code that handles a rate limit is no rate limit.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            current = cast("BaseExceptionGroup[BaseException]", current).exceptions[0]
        else:
            current = current.__cause__


def _said(error: BaseException) -> _Said:
    response: Any = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore's ClientError
        return _said_by_aws(cast("Mapping[str, Any]", response))
    status = _status(getattr(error, "status_code", None))
    sent, within = _status(getattr(response, "status_code", None)), False
    if status is None and "APIError" in {cls.__name__ for cls in type(error).__mro__}:
        status = _status(getattr(error, "code", None))  # google-genai's; of an error in a stream it is the body's
        within = status is not None and (sent is None or sent < _ERRORS)
    if status is None:
        status = sent
    headers: object = getattr(error, "headers", None) or getattr(response, "headers", None)
    return _Said(status, _lower(headers), _found(_body_of(error, response)), within)


def _body_of(error: BaseException, response: Any) -> object:
    body: object = getattr(error, "body", None)
    if body is None and type(error).__name__ == "ValidationError":
        return _refused_by_pydantic(error)
    if body is None:
        body = getattr(error, "details", None)
    if body is None or body == "":
        try:
            body = getattr(response, "text", None)
        except Exception:  # noqa: BLE001  httpx: the body of a stream was never read
            body = None
    return body


def _refused_by_pydantic(error: Any) -> object:
    """An error that an SDK took for an answer, and found to be none."""
    inputs = [_object(each.get("input")) for each in error.errors(include_url=False)]
    return next((given for given in inputs if given and holds_error(given)), None)


def _said_by_aws(response: Mapping[str, Any]) -> _Said:
    metadata = _object(response.get("ResponseMetadata"))
    return _Said(_status(metadata.get("HTTPStatusCode")), _lower(metadata.get("HTTPHeaders")), _found(response))


def _found(body: object) -> _Found:
    """Bodies as they come: bytes, text, JSON; an error wrapped in an object, in a list, or bare."""
    read = _read(body)
    if isinstance(read, str):
        return _Found(message=read, markup=is_markup(read))
    return _in_object(_object(_first(read)))


def _read(body: object) -> object:
    """Bytes and text as JSON where they are; a text where they are not."""
    if isinstance(body, (bytes, bytearray)):
        body = bytes(body).decode("utf-8", "replace")
    if not isinstance(body, str):
        return body
    try:
        read: object = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return body if read is None else read


def _in_object(body: Mapping[str, Any]) -> _Found:
    inner = _first(body.get("error") or body.get("Error") or body.get("errors") or body)
    if isinstance(inner, str):
        return _Found(message=inner, code=_text(body.get("code")), kind=_text(body.get("type")))
    error = _object(inner)
    metadata = _object(error.get("metadata") or error.get("innererror"))
    status = error.get("status")
    code = status if isinstance(status, str) else _text(error.get("code") or error.get("Code") or error.get("__type"))
    return _Found(
        code=code.rpartition("#")[2],
        kind=_text(error.get("type")),
        param=_text(error.get("param")) or _location(_first(error.get("detail") or body.get("detail"))),
        message=_worded(error) or _worded(body),
        details=tuple(detail for item in _list(error.get("details")) if (detail := _object(item))),
        flagged=not metadata.keys().isdisjoint(("flagged_input", "reasons", "content_filter_result")),
        status=_status(error.get("code")) or _status(error.get("status")),
        headers=_lower(metadata.get("headers")),
    )


def _worded(error: Mapping[str, Any]) -> str:
    """The message, under any of its names. OpenRouter puts the provider's own beside it."""
    message: object = next((error[name] for name in _MESSAGES if error.get(name)), "")
    if items := _list(message):
        message = "; ".join(_complaint(item) for item in items)
    text = message if isinstance(message, str) else json.dumps(message, default=str)
    raw = _object(error.get("metadata")).get("raw")
    return f"{text}: {raw}" if isinstance(raw, str) and raw else text


def _complaint(item: object) -> str:
    """One of FastAPI's complaints: where, and what."""
    said = _object(item)
    return f"{_location(said)}: {said.get('msg', '')}".strip(": ") if said else str(item)


def _location(complaint: object) -> str:
    return ".".join(str(step) for step in _list(_object(complaint).get("loc")))


def _first(value: object) -> object:
    """Of a list its first item; anything else as it is."""
    items = _list(value)
    return items[0] if items else value


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 1000 else None


def _lower(headers: object) -> Mapping[str, str]:
    try:
        items = dict(cast("Mapping[object, object]", headers or {})).items()
    except (TypeError, ValueError):
        return {}
    return {str(name).lower(): str(value) for name, value in items}


def _text(value: object) -> str:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None


def _attribute(chain: Sequence[BaseException], name: str) -> str:
    return next((text for link in chain if (text := _text(getattr(link, name, None)))), "")


def _message(chain: Sequence[BaseException]) -> str:
    for link in chain:
        try:
            text = str(getattr(link, "message", "") or link)
        except Exception:  # noqa: BLE001  an error's __str__ may raise anything
            continue
        if text:
            return text
    return type(chain[0]).__name__

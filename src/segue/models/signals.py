"""What the providers say, as faults: the one place that knows their codes, statuses and phrases. Pure.

The rules are tried in order, from what is told most clearly to what is told least: a code, a phrase within a status
that allows it, the status, a failure of the connection, the class of the error. Texts count only where a provider has
no code for the case. tests/models/test_signals.py has an answer of each provider for every rule.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from ..core.faults import Fault, FaultKind, classify, rebuild
from ..errors import SegueError
from .errors import (
    BadOutput,
    ContentRefused,
    ContextTooLong,
    ModelError,
    ModelFailed,
    NotAuthorised,
    Overloaded,
    RateLimited,
    RequestRefused,
    TooSlow,
    Unreachable,
)
from .evidence import Evidence, evidence_in, evidence_of, holds_error
from .retry_after import exhausted, quotas, retry_after
from .vocabulary import (
    BILLING,
    BROKEN,
    CODES,
    DOWN,
    KEYS,
    LIMITS,
    PREFILL,
    REFUSED,
    STATUSES,
    TOO_LARGE,
    TOO_LONG,
    TRANSPORT,
    UNCONNECTED,
    UNKNOWN_MODEL,
    WINDOWS,
)

ERRORS: Mapping[FaultKind, type[ModelError]] = {
    FaultKind.RATE_LIMITED: RateLimited,
    FaultKind.OVERLOADED: Overloaded,
    FaultKind.TIMED_OUT: TooSlow,
    FaultKind.UNREACHABLE: Unreachable,
    FaultKind.CONTEXT_TOO_LONG: ContextTooLong,
    FaultKind.CONTENT_REFUSED: ContentRefused,
    FaultKind.BAD_OUTPUT: BadOutput,
    FaultKind.BAD_REQUEST: RequestRefused,
    FaultKind.UNAUTHORISED: NotAuthorised,
}
"""The error that each kind of fault of a provider becomes."""

REMEDY: Mapping[FaultKind, str] = {
    FaultKind.CONTEXT_TOO_LONG: "shorten the input, or choose a model with a larger window",
    FaultKind.BAD_REQUEST: "change what the message names: the same request would be refused again",
    FaultKind.CONTENT_REFUSED: 'reword the request; with refused="next" another model is asked for it too',
}
"""What can be done about a kind of fault, wherever it is from."""
_AUTHORITY: Mapping[str, str] = {
    "billing": "a person must see to the account's credit or billing at the provider",
    "model": "check the model's id and url in the catalogue, and whether the key may use it",
    "": "check the key that the catalogue's key_env names, and what it may be used for",
}
_WAITS = frozenset({FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.UNREACHABLE, FaultKind.TIMED_OUT})
_DECODING = frozenset({"JSONDecodeError", "UnicodeDecodeError", "ResponseValidationError", "ParserError"})


def fault_of(error: BaseException, *, model: str = "", address: str = "", now: float | None = None) -> Fault:
    """The fault that an error of a model's call stands for.

    It names an error of `models.errors`, so that a replay builds it without a vendor's library. `state` holds the HTTP
    `status` (`within`: only the body of an answer says so), that nothing was sent (`unconnected`), that the connection
    broke off within an answer (`half`), that an adapter could not read it (`unread`), what the provider `said` (its
    code), and for a context that is too long the
    `window` where it is told.
    `model` begins the message, and `address`, where it was called, follows if nobody was met there. `now`, in seconds
    since the epoch, is what dates are counted from where the answer has no Date of its own; the clock's time if none is
    given. What is no provider's error is classified as `core` does.
    """
    if isinstance(error, SegueError):
        return classify(error)
    seen = evidence_of(error)
    kind, limit = _rule(seen)
    if kind is None:
        return classify(error)
    met = kind is not FaultKind.UNREACHABLE or seen.status is not None or seen.half or _by_transport(seen)[0] is None
    return _fault(seen, (kind, limit), (model, "" if met else address), time.time() if now is None else now)


def fault_in(
    body: object,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    model: str = "",
    now: float | None = None,
) -> Fault | None:
    """The fault that an answer stands for: its body as bytes, text or JSON, and its status and headers if it has any.

    None for one that claims success and holds no error. An answer of 200 that is a page, empty or no JSON is a fault.
    """
    if (status is None or status < 300) and not holds_error(body):
        return None
    seen = evidence_in(body, status, headers)
    kind, limit = _rule(seen)
    if kind is None:
        kind = FaultKind.OVERLOADED if seen.details or isinstance(body, Mapping) else FaultKind.UNREACHABLE
    return _fault(seen, (kind, limit), (model, ""), time.time() if now is None else now)


def error_of(error: Exception, *, model: str = "", address: str = "", now: float | None = None) -> Exception:
    """The error of `models.errors` for what a provider's library raised; any other error as it is."""
    fault = fault_of(error, model=model, address=address, now=now)
    ours = not isinstance(error, SegueError) and fault.error.startswith(f"{ModelError.__module__}:")
    return rebuild(fault) if ours else error


def made(kind: FaultKind, message: str, **state: str | int | float | None) -> Fault:
    """A fault of our own finding: an answer that is none, a stream without an end."""
    kept = {name: value for name, value in state.items() if value is not None and value != ""}
    made_of = ERRORS.get(kind, ModelFailed)
    name = f"{made_of.__module__}:{made_of.__qualname__}"
    waits, limit = kept.get("retry_after_s"), kept.get("limit")
    return Fault(
        kind,
        name,
        message,
        [message],
        retry_after_s=float(waits) if waits is not None else None,
        limit=str(limit) if limit is not None else None,
        state=kept or None,
    )


def _fault(seen: Evidence, ruled: tuple[FaultKind, str], of: tuple[str, str], now: float) -> Fault:
    """`of` is the model, and the address where nobody was met; empty where that is not the matter."""
    kind, limit = ruled
    waits = retry_after(seen, now, limited=kind is FaultKind.RATE_LIMITED) if kind in _WAITS else None
    return made(
        kind,
        _worded(seen, *of),
        status=seen.status,
        unconnected=int(seen.status is None and not UNCONNECTED.isdisjoint(seen.names)) or None,
        half=int(seen.half) or None,
        within=int(seen.within) or None,
        unread=int(kind is FaultKind.BAD_OUTPUT and not (seen.code or seen.kind)) or None,
        said=seen.code or seen.kind,
        retry_after_s=waits,
        limit=limit or (_limit(seen) if kind is FaultKind.RATE_LIMITED else ""),
        window=_window(seen) if kind is FaultKind.CONTEXT_TOO_LONG else None,
        field=seen.param if kind is FaultKind.BAD_REQUEST else "",
        remedy=_remedy(kind, limit, of[1]),
    )


def _remedy(kind: FaultKind, limit: str, where: str) -> str | None:
    if kind is FaultKind.UNAUTHORISED:
        return _AUTHORITY.get(limit, _AUTHORITY[""])
    return f"see that {where} is up and can be reached from here" if where else REMEDY.get(kind)


def _worded(seen: Evidence, model: str, where: str) -> str:
    """`fast: 429 rate_limit_exceeded: Rate limit reached for …`, the field in front where one is named."""
    code = " ".join(filter(None, () if seen.untold else (str(seen.status or ""), seen.code or seen.kind)))
    message = "a page of HTML, not an answer: " + seen.message if seen.markup else seen.message
    if seen.untold:
        message = f"the answer broke off: {message}" if seen.half else message or "the answer is empty"
    if seen.param and seen.param not in message:
        message = f"{seen.param}: {message}"
    return ": ".join(filter(None, (model, where, code, message)))


Ruled = tuple[FaultKind | None, str]
"""A kind and which limit; None where a rule says nothing."""
_NOTHING: Ruled = (None, "")


def _rule(seen: Evidence) -> Ruled:
    return next((ruled for rule in _RULES if (ruled := rule(seen))[0] is not None), _NOTHING)


def _by_page(seen: Evidence) -> Ruled:
    """A proxy's page: its status says more than its words. Only a firewall's 403 is about the caller."""
    if not seen.markup:
        return _NOTHING
    return _by_status(seen) if seen.status is not None else (FaultKind.UNREACHABLE, "")


def _by_refusal(seen: Evidence) -> Ruled:
    """A filter or a moderation, under any status that is not about load."""
    if seen.flagged or (seen.status in _COMPLAINTS and REFUSED.search(seen.text)):
        return FaultKind.CONTENT_REFUSED, ""
    return _NOTHING


def _by_size(seen: Evidence) -> Ruled:
    """Too long for the window, or too large for a limit whatever one waits. Code and phrase, as none has both."""
    if TOO_LARGE.search(seen.text) and (seen.status in (413, 429) or seen.code == "rate_limit_exceeded"):
        return FaultKind.CONTEXT_TOO_LONG, _limit(seen)
    if seen.status == 429 or "throttl" in seen.text:
        return _NOTHING
    if seen.code == "3051" or (seen.status in _COMPLAINTS and TOO_LONG.search(seen.text)):
        return FaultKind.CONTEXT_TOO_LONG, ""
    return _NOTHING


def _by_credit(seen: Evidence) -> Ruled:
    """No money, no plan, no more quota: waiting does not help."""
    if seen.status == 402 or BILLING.search(seen.text):
        return FaultKind.UNAUTHORISED, "billing"
    return _NOTHING


def _by_model(seen: Evidence) -> Ruled:
    """A model that is not there, or not for this key: an alarm, but no fault of the caller."""
    if seen.status in (None, 400, 403, 404, 410, 422) and UNKNOWN_MODEL.search(seen.text):
        return FaultKind.UNAUTHORISED, "model"
    return _NOTHING


def _by_key(seen: Evidence) -> Ruled:
    return (FaultKind.UNAUTHORISED, "") if seen.status in (None, 400) and KEYS.search(seen.text) else _NOTHING


def _by_loss(seen: Evidence) -> Ruled:
    return (FaultKind.OVERLOADED, "") if seen.status in (None, 400) and DOWN.search(seen.text) else _NOTHING


def _by_code(seen: Evidence) -> Ruled:
    for said in (seen.code, seen.kind):
        kind = CODES.get(said.lower()) if said else None
        if kind is FaultKind.BAD_REQUEST and seen.status is not None and seen.status not in (200, 400, 422):
            continue  # `invalid_request_error` comes with 401, 404 and 429 too
        if kind is not None:
            return kind, ""
    return _NOTHING


def _by_status(seen: Evidence) -> Ruled:
    status = seen.status
    if status is None:
        return _NOTHING
    if status in STATUSES:
        return STATUSES[status], "model" if status in (404, 405, 410) else ""
    if status < 400:
        return FaultKind.UNREACHABLE, ""
    return (FaultKind.BAD_REQUEST if status < 500 else FaultKind.OVERLOADED), ""


def _by_transport(seen: Evidence) -> Ruled:
    """A connection that failed, by the classes of httpx, httpx2, botocore, urllib3, ssl and asyncio."""
    kind = next((kind for name, kind in TRANSPORT.items() if name in seen.names), None)
    return (kind, "") if kind is not None else _NOTHING


def _by_class(seen: Evidence) -> Ruled:
    """What pydantic-ai has made of an answer that says nothing itself."""
    if not _DECODING.isdisjoint(seen.names) or BROKEN.search(seen.message):
        return FaultKind.UNREACHABLE, ""
    if "ContentFilterError" in seen.names:
        return FaultKind.CONTENT_REFUSED, ""
    if "UnexpectedModelBehavior" in seen.names:
        return FaultKind.BAD_OUTPUT, ""
    if "UserError" in seen.names:
        return FaultKind.BAD_REQUEST, ""
    return (FaultKind.OVERLOADED, "") if "ModelAPIError" in seen.names or "APIError" in seen.names else _NOTHING


_COMPLAINTS = (None, 200, 400, 403, 413, 422, 451, 500)
"""Statuses under which a provider says that the request itself is the matter. 500: proxies that pass on a 400."""
_RULES: tuple[Callable[[Evidence], Ruled], ...] = (
    _by_page, _by_refusal, _by_size, _by_credit, _by_model, _by_key, _by_loss, _by_code, _by_status, _by_transport,
    _by_class,
)  # fmt: skip


def _limit(seen: Evidence) -> str:
    """Which limit: `tokens per minute`, `requests per day`, `input tokens`, `concurrency`; empty if nobody says."""
    text = " ".join((seen.message, *quotas(seen)))
    for pattern, name in LIMITS:
        if pattern.search(text):
            return name
    return exhausted(seen.headers) or (seen.kind if seen.kind in ("tokens", "requests") else "")


def _window(seen: Evidence) -> int | None:
    """The window in tokens, where the refusal tells it."""
    found = next((m for pattern in WINDOWS if (m := pattern.search(seen.message))), None)
    return int(re.sub(r"\D", "", found.group(1))) if found else None


def tells_of_prefill(fault: Fault) -> bool:
    """Whether a model refused that the conversation ends with a turn of its own."""
    return fault.kind is FaultKind.BAD_REQUEST and bool(PREFILL.search(fault.message))

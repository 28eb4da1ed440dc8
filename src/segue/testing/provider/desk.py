"""What is asked of the server beside calls of models: lists of models, counts of tokens, and its own state.

`GET /-/counts`, `GET /-/log`, and `POST /-/fail`, `/-/next`, `/-/heal` let a test in another process see and steer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from ...errors import UsageError
from .anthropic import Anthropic
from .anthropic_rules import read as read_messages
from .formats import asked_tokens
from .http import Request
from .marks import Ids
from .speech import Body, Json, Refused

if TYPE_CHECKING:
    from .server import Provider

_BODIES = {
    "fail": '{"model": "small", "trouble": "overloaded"}',
    "next": '{"model": "small", "troubles": ["cut", null]}',
    "heal": '{"model": "small"}, or {} for all of them',
}
"""What is posted to each act."""
Reply = tuple[int, Json]
"""A status and a body."""


def reply(provider: Provider, request: Request, path: str) -> Reply:
    """The answer to whatever is no call of a model."""
    if path.startswith("/-/"):
        return _own(provider, request, path[3:])
    if request.method == "GET" and "/models" in path:
        return 200, _models(provider, request, path)
    if path.endswith("/messages/count_tokens"):
        return _count(provider, request)
    message = f"Invalid URL ({request.method} {request.path})"
    return 404, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _models(provider: Provider, request: Request, path: str) -> Body:
    if "/v1beta/" in path:
        return {
            "models": [
                {"name": f"models/{n}", "inputTokenLimit": m.window, "outputTokenLimit": m.max_output}
                for n, m in provider.models.items()
            ]
        }
    if "anthropic-version" in request.headers:
        data = [
            {"type": "model", "id": n, "display_name": n, "created_at": "2026-01-01T00:00:00Z"} for n in provider.models
        ]
        return {"data": data, "has_more": False, "first_id": None, "last_id": None}
    data = [{"id": n, "object": "model", "created": 1_767_225_600, "owned_by": "segue"} for n in provider.models]
    return {"object": "list", "data": data}


def _count(provider: Provider, request: Request) -> Reply:
    try:
        body: Body = {"max_tokens": 1, **json.loads(request.body)}
        served = provider.models.get(body.get("model") or "")
        if served is None:
            raise Anthropic().unknown(str(body.get("model")))
        return 200, {"input_tokens": asked_tokens(read_messages(body, served))}
    except Refused as refused:
        status, _, error = Anthropic().error(refused, Ids(0))
        return status, error


def _own(provider: Provider, request: Request, what: str) -> Reply:
    if request.method == "GET" and what == "counts":
        return 200, {name: provider.counts(name).as_dict() for name in provider.models}
    if request.method == "GET" and what == "log":
        since = int(request.query.get("since", "0"))
        return 200, [entry.as_dict() for entry in provider.log.entries[since:]]
    acts: Mapping[str, Callable[[Body], None]] = {
        "fail": lambda said: provider.fail(said["model"], said["trouble"]),
        "next": lambda said: provider.next(said["model"], *said["troubles"]),
        "heal": lambda said: provider.heal(said.get("model")),
    }
    if request.method != "POST" or what not in acts:
        return 404, {"error": f"there are: counts, log, {', '.join(acts)}"}
    try:
        acts[what](cast("Body", json.loads(request.body or b"{}")))
    except UsageError as error:
        return 400, {"error": str(error)}
    except (AttributeError, KeyError, TypeError, ValueError):
        return 400, {"error": f"the body is {_BODIES[what]}"}
    return 200, {"ok": True}

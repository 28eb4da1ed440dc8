"""Anthropic's message batches: `/v1/messages/batches`, and what it refuses."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from .anthropic import Anthropic
from .batches import BatchTrouble, Job
from .files import JSON, Reply
from .http import Request
from .marks import Ids
from .speech import Body, Refused, Wrong

if TYPE_CHECKING:
    from .server import Provider

_LINES = {"content-type": "application/x-jsonl"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MOST, _PAGE = 100_000, 20
_FORMAT = Anthropic()


class AnthropicBatches:
    """The batches of a server, in Anthropic's format."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._order: list[str] = []

    def reply(self, request: Request, path: str, place: str, ids: Ids) -> Reply | None:
        """The answer; None where the connection is reset before it."""
        try:
            if not _FORMAT.key(request):
                raise _FORMAT.unkeyed("")
            words = path.rstrip("/").split("/batches")[1].strip("/").split("/")
            if words == [""]:
                return self._create(request, place, ids) if request.method == "POST" else self._list(request)
            return self._of(request, words, place)
        except Refused as refused:
            status, headers, body = _FORMAT.error(refused, ids)
            return status, {**JSON, **headers}, to_json(body)

    def _of(self, request: Request, words: list[str], place: str) -> Reply:
        job = self._provider.batches.jobs.get(words[0]) if words[0] in self._order else None
        if job is None:
            raise Refused(why=Wrong.NOT_FOUND, message=f"Message batch {words[0]} not found.")
        if words[1:] == ["results"]:
            if not _ended(job):
                raise Refused(why=Wrong.NOT_FOUND, message=f"Message batch {job.id} has no results yet.")
            return 200, _LINES, b"".join(to_json(_line(job, *one)) + b"\n" for one in job.shown)
        if words[1:] == ["cancel"] and job.status == "in_progress":
            job.status = "canceling"
        return 200, JSON, to_json(self._shown(job, place))

    def _create(self, request: Request, place: str, ids: Ids) -> Reply | None:
        try:
            body = cast("dict[str, Any]", json.loads(request.body))
        except ValueError:
            raise _bad("The request body is not valid JSON.") from None
        requests = self._checked(body)
        batches = self._provider.batches
        trouble = batches.draw()
        if trouble in (BatchTrouble.REFUSED, BatchTrouble.FAILED):
            raise Refused(why=Wrong.RATE_LIMITED, message="Too many requests are in processing.", retry_after_s=1.0)
        if trouble is BatchTrouble.BROKEN:
            raise Refused(why=Wrong.SERVER_ERROR, message="Internal server error")
        job = Job(ids.of("msgbatch_"), requests, time.time(), trouble=trouble)
        self._order.insert(0, job.id)
        batches.begin(job, _FORMAT, request._replace(path="/v1/messages"), place)
        return None if trouble is BatchTrouble.ANSWER_LOST else (200, JSON, to_json(self._shown(job, place)))

    def _checked(self, body: dict[str, Any]) -> list[tuple[str, Body]]:
        asked: Any = body.get("requests")
        if unknown := body.keys() - {"requests"}:
            raise _bad(f"{sorted(unknown)[0]}: Extra inputs are not permitted")
        if not isinstance(asked, list) or not 1 <= len(cast("list[Any]", asked)) <= _MOST:
            raise _bad("requests: List should have at least 1 item after validation, not 0")
        found: dict[str, Body] = {}
        for at, one in enumerate(cast("list[dict[str, Any]]", asked)):
            name, params = one.get("custom_id"), one.get("params")
            if not isinstance(name, str) or not isinstance(params, dict):
                raise _bad(f"requests.{at}.{'params' if isinstance(name, str) else 'custom_id'}: Field required")
            if len(name) > 64:
                raise _bad(f"requests.{at}.custom_id: String should have at most 64 characters")
            if not _NAME.fullmatch(name):
                raise _bad(f"requests.{at}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
            if name in found:
                raise _bad(f"requests.{at}.custom_id: Duplicate custom_id '{name}' found in the request")
            said = cast("dict[str, Any]", params)
            if said.get("stream"):
                raise _bad(f"requests.{at}.params.stream: Extra inputs are not permitted")
            found[name] = said
        return list(found.items())

    def _list(self, request: Request) -> Reply:
        limit, after = int(request.query.get("limit", _PAGE)), request.query.get("after_id")
        order = self._order[self._order.index(after) + 1 :] if after in self._order else self._order
        page = [self._shown(self._provider.batches.jobs[one], "") for one in order[:limit]]
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return 200, JSON, to_json({"data": page, "has_more": len(order) > limit, **ends})

    def _shown(self, job: Job, place: str) -> Body:
        root = self._provider.at(place) if place else self._provider.url
        ended = _ended(job)
        kinds = [_kind(job, said) for _, said in reversed(job.shown)] if ended else []
        counts = {name: kinds.count(name) for name in ("succeeded", "errored", "canceled", "expired")}
        status = "ended" if ended else "canceling" if job.status == "canceling" else "in_progress"
        return {
            "id": job.id, "type": "message_batch", "processing_status": status,
            "request_counts": {"processing": 0 if ended else len(job.requests), **counts},
            "created_at": _moment(job.made_at), "expires_at": _moment(job.made_at + 86_400),
            "ended_at": _moment(job.made_at) if ended else None, "archived_at": None,
            "cancel_initiated_at": _moment(job.made_at) if job.trouble is BatchTrouble.CANCELLED and ended else None,
            "results_url": f"{root}/v1/messages/batches/{job.id}/results" if ended else None,
        }  # fmt: skip


def _ended(job: Job) -> bool:
    return job.status in ("completed", "expired", "cancelled")


def _kind(job: Job, said: tuple[int, Body] | None) -> str:
    if said is None:
        return "canceled" if job.trouble is BatchTrouble.CANCELLED else "expired"
    return "succeeded" if said[0] < 400 else "errored"


def _line(job: Job, name: str, said: tuple[int, Body] | None) -> Body:
    kind = _kind(job, said)
    result: Body = {"type": kind}
    if said is not None:
        result |= {"message" if kind == "succeeded" else "error": said[1]}
    return {"custom_id": name, "result": result}


def _bad(message: str) -> Refused:
    return Refused(why=Wrong.BAD_REQUEST, message=message)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")

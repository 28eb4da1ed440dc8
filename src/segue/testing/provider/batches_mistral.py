"""Mistral's batch jobs: `/v1/batch/jobs`, over the files of `/v1/files`, and what they refuse."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from .batches import BatchTrouble, Job
from .files import JSON, Reply
from .http import Request
from .marks import Ids
from .speech import Body

if TYPE_CHECKING:
    from .server import Provider

_ENDPOINT = "/v1/chat/completions"
_STATUS = {
    "validating": "QUEUED", "in_progress": "RUNNING", "finalizing": "RUNNING", "cancelling": "CANCELLATION_REQUESTED",
    "completed": "SUCCESS", "expired": "TIMEOUT_EXCEEDED", "cancelled": "CANCELLED", "failed": "FAILED",
}  # fmt: skip
_PAGE, _HOURS, _INLINE = 100, 168, 10_000


class _Refused(Exception):
    def __init__(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.reply: Reply = (
            status,
            JSON,
            to_json({"object": "error", "message": message, "type": kind, "param": None, "code": None}),
        )


class MistralBatches:
    """The batch jobs of a server, in Mistral's format."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._order: list[str] = []

    def reply(self, request: Request, path: str, place: str, ids: Ids) -> Reply | None:
        """The answer; None where the connection is reset before it."""
        try:
            if not request.headers.get("authorization", "").removeprefix("Bearer "):
                raise _Refused(401, "Unauthorized")
            words = path.rstrip("/").split("/")[4:]
            if not words:
                return self._create(request, place, ids) if request.method == "POST" else self._list(request)
            if words[0] not in self._order:
                raise _Refused(404, "Batch job not found")
            job = self._provider.batches.jobs[words[0]]
            if words[1:] == ["cancel"] and job.status == "in_progress":
                job.status = "cancelling"
            return 200, JSON, to_json(self._shown(job))
        except _Refused as refused:
            return refused.reply

    def _create(self, request: Request, place: str, ids: Ids) -> Reply | None:
        body = cast("dict[str, Any]", json.loads(request.body or b"{}"))
        lines = self._checked(body)
        batches = self._provider.batches
        trouble = batches.draw()
        if trouble is BatchTrouble.REFUSED:
            raise _Refused(429, "Too many batch jobs are queued", "rate_limited")
        if trouble is BatchTrouble.BROKEN:
            raise _Refused(500, "Internal Server Error", "internal_server_error")
        errors: list[Body] = [{"message": "The job could not be started", "count": 1}]
        job = Job(
            ids.of("", length=32), lines, time.time(), body, trouble=trouble,
            errors=errors if trouble is BatchTrouble.FAILED else [],
        )  # fmt: skip
        self._order.insert(0, job.id)
        route = self._provider.route(_ENDPOINT)
        assert route.format is not None
        batches.begin(job, route.format, request._replace(path=_ENDPOINT), place)
        return None if trouble is BatchTrouble.ANSWER_LOST else (200, JSON, to_json(self._shown(job)))

    def _checked(self, body: dict[str, Any]) -> list[tuple[str, Body]]:
        if body.get("endpoint") != _ENDPOINT:
            raise _Refused(422, "Input should be a supported endpoint")
        if body.get("model") not in self._provider.models:
            raise _Refused(400, f"Invalid model: {body.get('model')}", "invalid_model")
        if not 1 <= int(body.get("timeout_hours", 24)) <= _HOURS:
            raise _Refused(422, f"timeout_hours: Input should be less than or equal to {_HOURS}")
        given: list[dict[str, Any]] = body.get("requests") or []
        files: list[str] = body.get("input_files") or []
        if bool(given) == bool(files):
            raise _Refused(400, "Give either input_files or requests")
        found: dict[str, Body] = {}
        for line in given[:_INLINE] if given else self._lines(files):
            name, asked = line.get("custom_id"), line.get("body")
            if not isinstance(name, str) or not isinstance(asked, dict):
                raise _Refused(400, "Each request needs a custom_id and a body")
            if name in found:
                raise _Refused(400, f"custom_id {name} is not unique")
            said = cast("dict[str, Any]", asked)
            if said.get("stream"):
                raise _Refused(400, "Streaming is not supported in batches")
            found[name] = {**said, "model": body["model"]}
        return list(found.items())

    def _lines(self, files: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for one in files:
            file = self._provider.files.get(one)
            if file is None or file.purpose != "batch":
                raise _Refused(404, f"File {one} not found")
            try:
                found += [json.loads(line) for line in file.data.splitlines()]
            except ValueError:
                raise _Refused(400, f"File {one} is not valid JSONL") from None
        return found

    def _list(self, request: Request) -> Reply:
        page, size = int(request.query.get("page", 0)), int(request.query.get("page_size", _PAGE))
        after = request.query.get("created_after")
        since = datetime.fromisoformat(after).timestamp() if after else 0.0
        jobs = [job for one in self._order if (job := self._provider.batches.jobs[one]).made_at >= since]
        shown = [self._shown(job) for job in jobs[page * size : (page + 1) * size]]
        return 200, JSON, to_json({"object": "list", "data": shown, "total": len(jobs)})

    def _shown(self, job: Job) -> Body:
        ended = job.status in ("completed", "expired", "cancelled")
        files = self._written(job) if ended else {}
        good = sum(status < 400 for status, _ in job.results.values())
        at = int(job.made_at)
        return {
            "id": job.id, "object": "batch", "input_files": job.fields.get("input_files") or [],
            "endpoint": job.fields["endpoint"], "model": job.fields["model"], "agent_id": None, "errors": job.errors,
            "metadata": job.fields.get("metadata"), "status": _STATUS[job.status], "created_at": at,
            "total_requests": len(job.requests), "completed_requests": len(job.results), "succeeded_requests": good,
            "failed_requests": len(job.results) - good, "output_file": files.get("output"),
            "error_file": files.get("error"), "started_at": at, "completed_at": at if ended else None,
        }  # fmt: skip

    def _written(self, job: Job) -> dict[str, str]:
        """The files of results, made when they are first asked about; what a job did not come to has no line."""
        if "files" not in job.fields:
            lines: dict[str, list[bytes]] = {"output": [], "error": []}
            for at, (name, said) in enumerate(job.shown):
                if said is not None:
                    response = {"status_code": said[0], "body": said[1]}
                    line = {"id": f"batch-{job.id[:8]}-{at}", "custom_id": name, "response": response, "error": None}
                    lines["output" if said[0] < 400 else "error"].append(to_json(line))
            files = {where: f"{where}-{job.id}" for where, some in lines.items() if some}
            for where, file in files.items():
                self._provider.files.keep(file, f"{job.id}_{where}.jsonl", b"\n".join(lines[where]), "batch")
            job.fields["files"] = files
        return job.fields["files"]

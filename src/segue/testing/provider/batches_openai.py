"""OpenAI's files and batches: `/v1/files`, `/v1/batches`, and what both refuse. Groq's are the same under `/openai`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from .batches import BatchTrouble, Job
from .files import JSON, Refusal, Reply
from .http import Request
from .marks import Ids
from .speech import Body

if TYPE_CHECKING:
    from .server import Provider

_ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")
_MOST, _NAME, _VALUE, _KEYS = 50_000, 64, 512, 16
_PAGE = 20
_GROQ = "/openai"


class OpenAIBatches:
    """The files and batches of a server, in OpenAI's format."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._files = provider.files
        self._order: list[str] = []

    def reply(self, request: Request, path: str, place: str, ids: Ids) -> Reply | None:
        """The answer; None where the connection is reset before it."""
        try:
            if not request.headers.get("authorization", "").removeprefix("Bearer "):
                raise Refusal(401, "You didn't provide an API key.", "invalid_api_key")
            words = path.removeprefix(_GROQ).rstrip("/").split("/")[2:]
            if words[0] == "files":
                return self._files.reply(request, words[1:], ids)
            return self._batch(request, path, words[1:], place, ids)
        except Refusal as refusal:
            return refusal.reply

    def _batch(self, request: Request, path: str, words: list[str], place: str, ids: Ids) -> Reply | None:
        jobs = self._provider.batches.jobs
        if not words:
            return self._create(request, place, ids) if request.method == "POST" else self._list(request, path)
        if words[0] not in self._order:
            raise Refusal(404, f"No batch found with id '{words[0]}'.", None, "id")
        job = jobs[words[0]]
        if words[1:] == ["cancel"] and job.status == "in_progress":
            job.status = "cancelling"
        return 200, JSON, to_json(self._shown(job))

    def _create(self, request: Request, place: str, ids: Ids) -> Reply | None:
        body = cast("dict[str, Any]", json.loads(request.body or b"{}"))
        self._check(body)
        batches = self._provider.batches
        trouble = batches.draw()
        if trouble is BatchTrouble.REFUSED:
            raise Refusal(429, "You have sent too many batches.", "rate_limit_exceeded")
        if trouble is BatchTrouble.BROKEN:
            raise Refusal(500, "The server had an error while processing your request.")
        file = self._files.get(body["input_file_id"])
        assert file is not None
        lines, errors = self._lines(file.data, body["endpoint"], place)
        if trouble is BatchTrouble.FAILED:
            errors = [_error("token_limit_exceeded", "Enqueued token limit reached for this model.", None)]
        job = Job(ids.of("batch_", length=32), lines, time.time(), body, trouble=trouble, errors=errors)
        self._order.insert(0, job.id)
        route = self._provider.route(body["endpoint"])
        assert route.format is not None
        batches.begin(job, route.format, request._replace(path=body["endpoint"]), place)
        return None if trouble is BatchTrouble.ANSWER_LOST else (200, JSON, to_json(self._shown(job)))

    def _check(self, body: dict[str, Any]) -> None:
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(body.get(name), str):
                raise Refusal(400, f"Missing required parameter: '{name}'.", "missing_required_parameter", name)
        if body["endpoint"] not in _ENDPOINTS:
            raise Refusal(400, f"Invalid value: '{body['endpoint']}'.", "invalid_value", "endpoint")
        if body["completion_window"] != "24h":
            raise Refusal(400, "Invalid value. Supported values are: '24h'.", "invalid_value", "completion_window")
        metadata: Any = body.get("metadata") or {}
        fine = len(metadata) <= _KEYS and all(
            isinstance(v, str) and len(k) <= _NAME and len(v) <= _VALUE for k, v in metadata.items()
        )
        if not fine:
            raise Refusal(400, "Invalid 'metadata'.", "invalid_value", "metadata")
        file = self._files.get(body["input_file_id"])
        if file is None or file.purpose != "batch":
            raise Refusal(400, f"Invalid input file: {body['input_file_id']}.", "invalid_file", "input_file_id")

    def _lines(self, data: bytes, endpoint: str, place: str) -> tuple[list[tuple[str, Body]], list[Body]]:
        """The requests, and what is wrong with which line."""
        found: list[tuple[str, Body]] = []
        errors: list[Body] = []
        models: set[str] = set()
        for at, raw in enumerate(data.splitlines(), 1):
            try:
                line = cast("dict[str, Any]", json.loads(raw))
                name, body, url = str(line["custom_id"]), cast("Body", line["body"]), line["url"]
            except (ValueError, KeyError, TypeError):
                errors.append(_error("invalid_json_line", "This line is not parseable as valid JSON.", at))
                continue
            models.add(str(body.get("model")))
            if line.get("method") != "POST" or url != endpoint:
                errors.append(_error("invalid_url", f"The URL provided for this request is not {endpoint}.", at))
            elif name in dict(found):
                errors.append(_error("duplicate_custom_id", f"The custom_id '{name}' is not unique.", at))
            elif len(models) > 1:
                errors.append(_error("mismatched_model", "All requests of a batch must be to one model.", at))
            elif not {body.get("model"), f"{place}/{body.get('model')}"} & self._provider.models.keys():
                errors.append(_error("model_not_found", f"The model '{body.get('model')}' does not exist.", at))
            elif body.get("stream"):
                errors.append(_error("invalid_request", "Streaming is not supported in the Batch API.", at))
            found.append((name, body))
        if not found or len(found) > _MOST:
            errors.append(_error("invalid_file", f"A batch has 1 to {_MOST} requests.", None))
        return found, errors

    def _list(self, request: Request, path: str) -> Reply:
        groq = path.startswith(_GROQ)
        limit, after = int(request.query.get("limit", _PAGE)), request.query.get("cursor" if groq else "after")
        order = self._order[self._order.index(after) + 1 :] if after in self._order else self._order
        page = [self._shown(self._provider.batches.jobs[one]) for one in order[:limit]]
        if groq:
            paging = {"next_cursor": page[-1]["id"]} if len(order) > limit else None
            return 200, JSON, to_json({"object": "list", "data": page, "paging": paging})
        body: Body = {"object": "list", "data": page, "has_more": len(order) > limit}
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return 200, JSON, to_json({**body, **ends})

    def _shown(self, job: Job) -> Body:
        ended = job.status in ("completed", "expired", "cancelled")
        files = self._written(job) if ended else {}
        good = sum(status < 400 for status, _ in job.results.values())
        counts = {"total": len(job.requests), "completed": good, "failed": len(job.results) - good}
        errors = {"object": "list", "data": job.errors} if job.status == "failed" else None
        at = int(job.made_at)
        return {
            "id": job.id, "object": "batch", "endpoint": job.fields["endpoint"], "errors": errors,
            "input_file_id": job.fields["input_file_id"], "completion_window": "24h", "status": job.status,
            "output_file_id": files.get("output"), "error_file_id": files.get("error"), "created_at": at,
            "in_progress_at": at, "expires_at": at + 86_400, "completed_at": at if ended else None,
            "request_counts": counts if job.status not in ("validating", "failed") else dict.fromkeys(counts, 0),
            "metadata": job.fields.get("metadata"),
        }  # fmt: skip

    def _written(self, job: Job) -> dict[str, str]:
        """The files of results, made when they are first asked about."""
        if "files" not in job.fields:
            lines: dict[str, list[bytes]] = {"output": [], "error": []}
            for at, (name, said) in enumerate(job.shown):
                if said is None and job.trouble is BatchTrouble.CANCELLED:
                    continue
                where = "output" if said is not None and said[0] < 400 else "error"
                lines[where].append(to_json(_line(f"batch_req_{job.id[-12:]}{at}", name, said)))
            files = {where: f"file-{where}-{job.id[-16:]}" for where, some in lines.items() if some}
            for where, file in files.items():
                self._files.keep(file, f"{job.id}_{where}.jsonl", b"\n".join(lines[where]) + b"\n", "batch_output")
            job.fields["files"] = files
        return job.fields["files"]


def _line(id: str, name: str, said: tuple[int, Body] | None) -> Body:
    if said is None:
        message = "This request could not be executed before the completion window expired."
        return {"id": id, "custom_id": name, "response": None, "error": {"code": "batch_expired", "message": message}}
    response: Body = {"status_code": said[0], "request_id": f"req_{id}", "body": said[1]}
    return {"id": id, "custom_id": name, "response": response, "error": None}


def _error(code: str, message: str, line: int | None) -> Body:
    return {"code": code, "message": message, "param": None, "line": line}

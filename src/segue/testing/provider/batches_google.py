"""Gemini's files and batches: resumable uploads, `:batchGenerateContent`, `/v1beta/batches`, and what they refuse."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from .batches import BatchTrouble, Job
from .files import JSON, Reply
from .google import Google
from .http import Request
from .marks import Ids
from .speech import Body, Refused, Wrong

if TYPE_CHECKING:
    from .server import Provider

_UPLOAD, _FILES, _BATCHES, _CREATE = (
    "/upload/v1beta/files",
    "/v1beta/files/",
    "/v1beta/batches",
    ":batchGenerateContent",
)
_FORMAT = Google()
_PAGE, _INLINE_BYTES = 50, 20_000_000
_STATE = {"validating": "PENDING", "completed": "SUCCEEDED", "expired": "EXPIRED", "cancelled": "CANCELLED"}
_RPC = {400: 3, 401: 16, 403: 7, 404: 5, 413: 3, 429: 8, 500: 13, 503: 14, 504: 4}


class GoogleBatches:
    """The files and batches of a server, in Gemini's format."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._files = provider.files
        self._begun: dict[str, tuple[str, bytes]] = {}
        """Uploads under way: the name of the file, and what has come of it."""
        self._order: list[str] = []

    def reply(self, request: Request, path: str, place: str, ids: Ids) -> Reply | None:
        """The answer; None where the connection is reset before it."""
        try:
            if not _FORMAT.key(request) and "upload_id" not in request.query:
                raise _FORMAT.unkeyed("")
            if path.startswith(_UPLOAD):
                return self._upload(request, place, ids)
            if path.endswith(_CREATE):
                return self._create(request, path, place, ids)
            if path.startswith(_FILES):
                return self._download(path.removeprefix(_FILES))
            return self._of(request, path.removeprefix(_BATCHES).strip("/"))
        except Refused as refused:
            status, headers, body = _FORMAT.error(refused, ids)
            return status, {**JSON, **headers}, to_json(body)

    # --- files ---

    def _upload(self, request: Request, place: str, ids: Ids) -> Reply:
        command = request.headers.get("x-goog-upload-command", "")
        if command == "start":
            upload = ids.of("")
            told: dict[str, str] = cast("dict[str, Any]", json.loads(request.body or b"{}")).get("file") or {}
            self._begun[upload] = (told.get("displayName", ""), b"")
            root = self._provider.at(place) if place else self._provider.url
            url = f"{root}{_UPLOAD}?upload_id={upload}&upload_protocol=resumable"
            return 200, {**JSON, "x-goog-upload-url": url, "x-goog-upload-status": "active"}, b""
        upload = request.query.get("upload_id", "")
        name, data = self._begun.get(upload, ("", b""))
        if upload not in self._begun or int(request.headers.get("x-goog-upload-offset", -1)) != len(data):
            raise _bad("The upload is not known, or goes on at another offset.")
        self._begun[upload] = (name, data + request.body)
        if "finalize" not in command:
            return 200, {**JSON, "x-goog-upload-status": "active"}, b""
        _, data = self._begun.pop(upload)
        file = self._files.keep(f"files/{upload}", name, data, "batch")
        body: Body = {
            "name": file, "displayName": name, "mimeType": "application/jsonl", "sizeBytes": str(len(data)),
            "state": "ACTIVE", "source": "UPLOADED", "uri": f"{self._provider.url}/v1beta/{file}",
        }  # fmt: skip
        return 200, {**JSON, "x-goog-upload-status": "final"}, to_json({"file": body})

    def _download(self, name: str) -> Reply:
        file = self._files.get(f"files/{name.removesuffix(':download')}")
        if file is None or file.purpose == "batch":
            raise Refused(why=Wrong.NOT_FOUND, message="Requested entity was not found.")
        return 200, {"content-type": "application/octet-stream"}, file.data

    # --- batches ---

    def _create(self, request: Request, path: str, place: str, ids: Ids) -> Reply | None:
        model = path.rpartition("/models/")[2].removesuffix(_CREATE)
        if model not in self._provider.models:
            raise _FORMAT.unknown(model)
        batch: Any = cast("dict[str, Any]", json.loads(request.body or b"{}")).get("batch") or {}
        given: dict[str, Any] = batch.get("inputConfig") or {}
        inline = "requests" in given
        if not batch.get("displayName") or inline == ("fileName" in given):
            raise _bad("* CreateBatch.batch: display_name and one of the sources of input_config must be set")
        lines = self._inline(request, given["requests"]) if inline else self._lines(str(given["fileName"]))
        batches = self._provider.batches
        trouble = batches.draw()
        if trouble is BatchTrouble.REFUSED:
            raise Refused(why=Wrong.RATE_LIMITED, message="Resource has been exhausted (e.g. check quota).")
        if trouble is BatchTrouble.BROKEN:
            raise Refused(why=Wrong.SERVER_ERROR, message="An internal error has occurred.")
        fields = {"name": batch["displayName"], "model": f"models/{model}", "inline": inline}
        failed: list[Body] = [{"code": 13, "message": "Internal error"}] if trouble is BatchTrouble.FAILED else []
        job = Job(ids.of(""), lines, time.time(), fields, trouble=trouble, errors=failed, in_part=False)
        self._order.insert(0, job.id)
        batches.begin(job, _FORMAT, request._replace(path=f"/v1beta/models/{model}:generateContent"), place)
        return None if trouble is BatchTrouble.ANSWER_LOST else (200, JSON, to_json(self._shown(job)))

    def _inline(self, request: Request, given: Any) -> list[tuple[str, Body]]:
        if len(request.body) > _INLINE_BYTES:
            raise _bad("Request payload size exceeds the limit: 20971520 bytes.")
        return _named((one.get("metadata") or {}, one) for one in given.get("requests") or ())

    def _lines(self, name: str) -> list[tuple[str, Body]]:
        file = self._files.get(name)
        if file is None or file.purpose != "batch":
            raise Refused(why=Wrong.NOT_FOUND, message="Requested entity was not found.")
        try:
            lines = [cast("dict[str, Any]", json.loads(line)) for line in file.data.splitlines()]
        except ValueError:
            raise _bad("The file is no valid JSONL.") from None
        return _named((line, line) for line in lines)

    def _of(self, request: Request, what: str) -> Reply:
        if not what:
            return self._list(request)
        name, _, verb = what.partition(":")
        job = self._provider.batches.jobs.get(name) if name in self._order else None
        if job is None:
            raise Refused(why=Wrong.NOT_FOUND, message="Requested entity was not found.")
        if verb == "cancel":
            if job.status == "in_progress":
                job.status = "cancelling"
            return 200, JSON, b"{}"
        return 200, JSON, to_json(self._shown(job))

    def _list(self, request: Request) -> Reply:
        size, start = int(request.query.get("pageSize", _PAGE)), int(request.query.get("pageToken", 0))
        page = [self._shown(self._provider.batches.jobs[one]) for one in self._order[start : start + size]]
        more = {"nextPageToken": str(start + size)} if len(self._order) > start + size else {}
        return 200, JSON, to_json({"operations": page, **more})

    def _shown(self, job: Job) -> Body:
        """A long-running operation."""
        state = f"BATCH_STATE_{_STATE.get(job.status, 'FAILED' if job.status == 'failed' else 'RUNNING')}"
        ended, at = job.status in ("completed", "failed", "expired", "cancelled"), _moment(job.made_at)
        output = self._output(job) if job.status == "completed" else None
        kind = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
        metadata: Body = {
            "@type": kind, "name": f"batches/{job.id}", "model": job.fields["model"], "state": state,
            "displayName": job.fields["name"], "createTime": at, "updateTime": at,
            "batchStats": {"requestCount": str(len(job.requests))}, **({"output": output} if output else {}),
            **({"endTime": at} if ended else {}),
        }  # fmt: skip
        shown: Body = {"name": f"batches/{job.id}", "metadata": metadata}
        if job.status == "failed":
            shown |= {"done": True, "error": job.errors[0]}
        elif ended:
            shown |= {"done": True, "response": {"@type": f"{kind}Output", **(output or {})}}
        return shown

    def _output(self, job: Job) -> Body:
        found = [(name, _said(said)) for name, said in job.shown if said is not None]
        if job.fields["inline"]:
            return {"inlinedResponses": {"inlinedResponses": [{"metadata": {"key": n}, **said} for n, said in found]}}
        data = b"".join(to_json({"key": name, **said}) + b"\n" for name, said in found)
        return {"responsesFile": self._files.keep(f"files/batch-{job.id}", f"{job.id}.jsonl", data, "output")}


def _named(requests: Any) -> list[tuple[str, Body]]:
    """Requests by their keys; one without has its number."""
    found: list[tuple[str, Body]] = []
    for at, (named, one) in enumerate(requests):
        if not isinstance(one.get("request"), dict):
            raise _bad(f"Request {at} has no `request`.")
        found.append((str(named.get("key", at)), one["request"]))
    if not found:
        raise _bad("* CreateBatch.batch.input_config: no requests")
    return found


def _said(said: tuple[int, Body]) -> Body:
    """An answer, or the status of google.rpc that an error is."""
    if said[0] < 400:
        return {"response": said[1]}
    error: dict[str, Any] = said[1].get("error") or {}
    return {"error": {"code": _RPC.get(said[0], 2), "message": error.get("message", "")}}


def _bad(message: str) -> Refused:
    return Refused(why=Wrong.BAD_REQUEST, message=message)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")

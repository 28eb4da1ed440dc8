"""Files as OpenAI, Groq and Mistral keep them: `/v1/files`, taken as a form."""

from __future__ import annotations

import time
from email.parser import BytesParser
from typing import Any, NamedTuple, cast

from pydantic_core import to_json

from .http import Request
from .marks import Ids
from .speech import Body

__all__ = ["JSON", "File", "Files", "Refusal", "Reply"]

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

JSON = {"content-type": "application/json"}


class Refusal(Exception):
    """A request that is refused."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.reply: Reply = status, JSON, to_json(
            {"error": {"message": message, "type": kind, "param": param, "code": code}}
        )  # fmt: skip


class File(NamedTuple):
    """One file."""

    name: str
    purpose: str
    data: bytes
    at: int


class Files:
    """The files of a server, by their ids."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}

    def get(self, id: str) -> File | None:
        """The file of this id."""
        return self._files.get(id)

    def keep(self, id: str, name: str, data: bytes, purpose: str) -> str:
        """A file, from now on; its id."""
        self._files[id] = File(name, purpose, data, int(time.time()))
        return id

    def reply(self, request: Request, words: list[str], ids: Ids) -> Reply:
        """What is said to a request about files; `words` are what stands after `/v1/files`. Raises Refusal."""
        if request.method == "POST" and not words:
            return self._upload(request, ids)
        file = self._files.get(words[0]) if words else None
        if file is None:
            raise Refusal(404, f"No such File object: {words[0] if words else ''}", None, "id")
        if words[1:] == ["content"]:
            return 200, {"content-type": "application/octet-stream"}, file.data
        return 200, JSON, to_json(_shown(words[0], file, request))

    def _upload(self, request: Request, ids: Ids) -> Reply:
        head = b"content-type: " + request.headers.get("content-type", "").encode() + b"\r\n\r\n"
        message = BytesParser().parsebytes(head + request.body)
        if not message.is_multipart():
            raise Refusal(400, "Invalid multipart form data.")
        fields: dict[str, tuple[str | None, bytes]] = {}
        for part in cast("list[Any]", message.get_payload()):
            name = part.get_param("name", header="content-disposition")
            fields[str(name)] = (part.get_filename(), part.get_payload(decode=True) or b"")
        if "purpose" not in fields or "file" not in fields:
            raise Refusal(400, "'purpose' and 'file' are required properties", None, "purpose")
        purpose, (name, data) = fields["purpose"][1].decode(), fields["file"]
        if purpose == "batch" and not (name or "").endswith(".jsonl"):
            raise Refusal(400, "Invalid file format for Batch API. Must be .jsonl")
        made = self.keep(ids.of("file-"), name or "", data, purpose)
        return 200, JSON, to_json(_shown(made, self._files[made], request))


def _shown(id: str, file: File, request: Request) -> Body:
    body: Body = {
        "id": id, "object": "file", "bytes": len(file.data), "created_at": file.at, "filename": file.name,
        "purpose": file.purpose, "status": "processed", "status_details": None, "expires_at": None,
    }  # fmt: skip
    if "mistral" in request.headers.get("user-agent", ""):
        body |= {"sample_type": "batch_request", "source": "upload", "num_lines": file.data.count(b"\n")}
    return body

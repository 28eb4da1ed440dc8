"""Gemini's Batch API: a file of lines up, a job, a file of lines down.

Requests go by file and not inline: the SDK would build inline ones anew from types of its own, and a file holds, to the
byte, the body that an ordinary call would have sent.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, ClassVar, TypeVar, cast

from google.genai import Client, types

from .api import CANCELLED, EXPIRED, PASSES, Request, Result, Standing, answered, refused
from .limits import send_s
from .lines import read, written

__all__ = ["GoogleBatches"]

T = TypeVar("T")

_CUT = {"JOB_STATE_EXPIRED": EXPIRED, "JOB_STATE_CANCELLED": CANCELLED}
_ENDED = frozenset({*_CUT, "JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED", "JOB_STATE_FAILED"})
_FAILED = refused(PASSES, "batch_failed", "the batch failed; Google says no more of it")
_LINES = "application/jsonl"
_RPC: Mapping[int, tuple[int, str]] = {
    1: (499, "CANCELLED"), 2: (500, "UNKNOWN"), 3: (400, "INVALID_ARGUMENT"), 4: (504, "DEADLINE_EXCEEDED"),
    5: (404, "NOT_FOUND"), 6: (409, "ALREADY_EXISTS"), 7: (403, "PERMISSION_DENIED"), 8: (429, "RESOURCE_EXHAUSTED"),
    9: (400, "FAILED_PRECONDITION"), 10: (409, "ABORTED"), 11: (400, "OUT_OF_RANGE"), 12: (501, "UNIMPLEMENTED"),
    13: (500, "INTERNAL"), 14: (503, "UNAVAILABLE"), 15: (500, "DATA_LOSS"), 16: (401, "UNAUTHENTICATED"),
}  # fmt: skip
"""The codes of google.rpc.Code, as google.api maps them to HTTP."""
_HTTP = 100


class GoogleBatches:
    """A `BatchApi`. A job carries our name as its display name, so one that nobody heard of is found again."""

    whole: ClassVar[bool] = True

    def __init__(self, sdk: Client, model: str) -> None:
        self._sdk, self._model = sdk, model

    async def submit(self, name: str, requests: Sequence[Request]) -> str:
        """As the protocol says. The upload has a thread of its own: where it fails, the SDK sleeps and tries again."""
        data = written({"key": one.id, "request": one.body} for one in requests)
        of = types.UploadFileConfig(
            display_name=name, mime_type=_LINES, http_options=types.HttpOptions(timeout=round(send_s(len(data)) * 1000))
        )
        file = await _in_a_thread(partial(self._sdk.files.upload, file=io.BytesIO(data), config=of))
        job = await self._sdk.aio.batches.create(
            model=self._model, src={"file_name": file.name}, config={"display_name": name}
        )
        return job.name or ""

    async def find(self, name: str, many: int, since: float, not_ours: Sequence[str]) -> tuple[str, bool] | None:
        """As the protocol says: among all, since nothing is said of their order."""
        async for job in await self._sdk.aio.batches.list(config={"page_size": 100}):
            if job.display_name == name and job.name:
                return job.name, True
        return None

    async def look(self, id: str) -> Standing:
        """As the protocol says. The SDK does not hand on how many are done."""
        job = await self._sdk.aio.batches.get(name=id)
        state = str(getattr(job.state, "value", job.state))
        failed: dict[int | None, dict[str, Any]] | None = {None: _FAILED} if state == "JOB_STATE_FAILED" else None
        return Standing(ended=state in _ENDED, failed=failed, rest=_CUT.get(state))

    async def results(self, id: str) -> AsyncIterator[Result]:
        """As the protocol says. A job that was cut short has no file."""
        job = await self._sdk.aio.batches.get(name=id)
        if job.dest is not None and job.dest.file_name:
            data = await self._sdk.aio.files.download(file=job.dest.file_name)
            async for line in read(_once(data)):
                yield Result(str(line.get("key")), _said(line))


def _said(line: Mapping[str, Any]) -> dict[str, Any]:
    if (response := line.get("response")) is not None:
        return answered(200, response)
    error: dict[str, Any] = dict(line.get("error") or {})
    code = int(error.get("code") or 0)
    status, word = _RPC.get(code, (PASSES, "UNKNOWN")) if code < _HTTP else (code, "UNKNOWN")
    told = {"code": status, "status": word, "message": "the batch has neither an answer nor an error for it"}
    return answered(status, {"error": {**told, **error, "code": status}})


async def _in_a_thread(call: Callable[[], T]) -> T:
    """What a call gives that may hang: the process does not wait for it, and nobody else needs its thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(value: T | None, error: BaseException | None) -> None:
        if not future.done():  # else nobody waits any more
            future.set_exception(error) if error is not None else future.set_result(cast("T", value))

    def run() -> None:
        value, failed = None, None
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001  whoever waits is told
            failed = error
        with suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(tell, value, failed)

    Thread(target=run, name="segue-upload", daemon=True).start()
    return await future


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data

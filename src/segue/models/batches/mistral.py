"""Mistral's batch jobs: a file of lines up, a job for one model, two files of lines down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from mistralai.client import Mistral
from mistralai.client.models import BatchJob

from .api import CANCELLED, EXPIRED, NAME, PASSES, SKEW_S, Request, Result, Standing, refused
from .lines import read, result, written

__all__ = ["MistralBatches"]

_ENDPOINT = "/v1/chat/completions"
_CUT = {"TIMEOUT_EXCEEDED": EXPIRED, "CANCELLED": CANCELLED}
_ENDED = frozenset({*_CUT, "SUCCESS", "FAILED"})
_PAGE = 100


class MistralBatches:
    """A `BatchApi`. Jobs carry our name as metadata, so one that nobody heard of is found again."""

    whole: ClassVar[bool] = False

    def __init__(self, sdk: Mistral, model: str) -> None:
        self._sdk, self._model = sdk, model

    async def submit(self, name: str, requests: Sequence[Request]) -> str:
        """As the protocol says. The model is the job's, not the requests'."""
        data = written({"custom_id": one.id, "body": _without_model(one.body)} for one in requests)
        file = await self._sdk.files.upload_async(
            file={"file_name": f"{name}.jsonl", "content": data, "content_type": "application/jsonl"}, purpose="batch"
        )
        job = await self._sdk.batch.jobs.create_async(
            endpoint=_ENDPOINT, input_files=[file.id], model=self._model, metadata={NAME: name}, timeout_hours=24
        )
        return job.id

    async def find(self, name: str, many: int, since: float, not_ours: Sequence[str]) -> tuple[str, bool] | None:
        """As the protocol says; the newest stand first."""
        after, page = datetime.fromtimestamp(since - SKEW_S, UTC), 0
        while True:
            said = await self._sdk.batch.jobs.list_async(
                page=page, page_size=_PAGE, created_after=after, order_by="-created"
            )
            for job in said.data or ():
                if isinstance(job.metadata, dict) and job.metadata.get(NAME) == name:
                    return job.id, True
            if len(said.data or ()) < _PAGE:
                return None
            page += 1

    async def look(self, id: str) -> Standing:
        """As the protocol says. A job of which every request failed has failed, and says why of each."""
        job = await self._sdk.batch.jobs.get_async(job_id=id)
        rest = _CUT.get(job.status)
        if job.status == "FAILED":
            why = "; ".join(error.message for error in job.errors) or "Mistral says no more of it"
            rest = refused(PASSES, "batch_failed", f"the batch failed: {why}")
        failed: dict[int | None, dict[str, Any]] | None = None
        if rest is not None and job.status == "FAILED" and not _files(job):
            failed = {None: rest}
        return Standing(
            ended=job.status in _ENDED, done=job.completed_requests, total=job.total_requests, failed=failed, rest=rest
        )

    async def results(self, id: str) -> AsyncIterator[Result]:
        """As the protocol says: the file of answers, then that of errors."""
        for file in _files(await self._sdk.batch.jobs.get_async(job_id=id)):
            content: Any = await self._sdk.files.download_async(file_id=file)
            try:
                async for line in read(content.aiter_bytes()):
                    yield result(line)
            finally:
                await content.aclose()


def _without_model(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "model"}


def _files(job: BatchJob) -> list[str]:
    return [file for file in (job.output_file, job.error_file) if isinstance(file, str) and file]

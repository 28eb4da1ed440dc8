"""The server's batch APIs, by the providers' own clients: what they give, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic import BadRequestError as AnthropicRefused
from google.genai import Client as Google
from google.genai.errors import ClientError
from google.genai.types import HttpOptions
from groq import AsyncGroq
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types import Batch

from segue.testing.provider import Provider, serve

CHAT = "/v1/chat/completions"


def line(name: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    said = {"model": "small", "messages": [{"role": "user", "content": f"Say {name}"}], **body}
    return {"custom_id": name, "method": "POST", "url": url, "body": said}


def client(server: Provider) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.openai_url, api_key="k", max_retries=0)


async def made(openai: AsyncOpenAI, *lines: Any, name: str = "x.jsonl", **more: Any) -> Batch:
    data = b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)
    file = await openai.files.create(file=(name, data), purpose="batch")
    return await openai.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **more
    )


async def ended(openai: AsyncOpenAI, batch: Batch) -> Batch:
    while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
        await asyncio.sleep(0.02)
        batch = await openai.batches.retrieve(batch.id)
    return batch


async def lines_of(openai: AsyncOpenAI, file: str | None) -> list[dict[str, Any]]:
    if file is None:
        return []
    return [json.loads(one) for one in (await openai.files.content(file)).text.splitlines()]


async def test_a_batch_of_openai_s_gives_answers_and_errors_in_two_files() -> None:
    async with serve(["small"]) as server, client(server) as openai:
        server.next("small", None, "bad-request")
        batch = await ended(openai, await made(openai, line("a"), line("b"), line("c"), metadata={"our": "name"}))
        assert (batch.status, batch.metadata) == ("completed", {"our": "name"})
        assert batch.request_counts is not None
        assert batch.request_counts.model_dump() == {"total": 3, "completed": 2, "failed": 1}
        good, bad = await lines_of(openai, batch.output_file_id), await lines_of(openai, batch.error_file_id)
        assert [one["custom_id"] for one in good] == ["c", "a"]
        assert "Say a" in good[1]["response"]["body"]["choices"][0]["message"]["content"]
        assert [(one["custom_id"], one["response"]["status_code"]) for one in bad] == [("b", 400)]
        assert [entry.batch for entry in server.log] == [batch.id] * 3
        assert [one.id async for one in openai.batches.list()] == [batch.id]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"{", line("a")], "invalid_json_line"),
        ([line("a"), line("a")], "duplicate_custom_id"),
        ([line("a"), line("b", model="other")], "mismatched_model"),
        ([line("a", model="other")], "model_not_found"),
        ([line("a", url="/v1/responses")], "invalid_url"),
        ([line("a", stream=True)], "invalid_request"),
    ],
)
async def test_a_file_that_is_wrong_fails_the_batch_and_names_the_line(lines: list[Any], code: str) -> None:
    async with serve(["small"]) as server, client(server) as openai:
        batch = await ended(openai, await made(openai, *lines))
        assert batch.status == "failed"
        assert batch.errors is not None
        assert code in [error.code for error in batch.errors.data or []]
        assert not server.log.entries


async def test_what_openai_refuses_at_once() -> None:
    async with serve(["small"]) as server, client(server) as openai:
        with pytest.raises(BadRequestError, match=r"Must be \.jsonl"):
            await made(openai, line("a"), name="x.txt")
        with pytest.raises(BadRequestError, match="metadata"):
            await made(openai, line("a"), metadata={"k": "v" * 600})
        with pytest.raises(NotFoundError):
            await openai.batches.retrieve("batch_none")


async def test_an_expired_batch_says_so_of_what_it_did_not_come_to() -> None:
    async with serve(["small"]) as server, client(server) as openai:
        server.batches.next("expired")
        batch = await ended(openai, await made(openai, line("a"), line("b")))
        assert batch.status == "expired"
        (error,) = await lines_of(openai, batch.error_file_id)
        assert (error["custom_id"], error["error"]["code"]) == ("b", "batch_expired")


async def test_a_batch_can_be_cancelled_on_its_way() -> None:
    async with serve(["small"]) as server, client(server) as openai:
        server.batches.pace_s = 1.0
        batch = await made(openai, *(line(f"l{n}") for n in range(16)))
        while (await openai.batches.retrieve(batch.id)).status == "validating":
            await asyncio.sleep(0.02)
        assert (await openai.batches.cancel(batch.id)).status == "cancelling"
        assert (await ended(openai, batch)).status == "cancelled"
        assert 0 < len(server.log) < 16


def asked(*names: str, **more: Any) -> Any:
    message = {"role": "user", "content": "Say it"}
    return [
        {"custom_id": n, "params": {"model": "small", "max_tokens": 9, "messages": [message], **more}} for n in names
    ]


async def test_a_batch_of_anthropic_s_gives_each_request_its_result() -> None:
    async with serve(["small"]) as server, AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as claude:
        server.next("small", None, "overloaded")
        batch = await claude.messages.batches.create(requests=asked("a", "b", "c"))
        assert batch.results_url is None
        while batch.processing_status != "ended":
            await asyncio.sleep(0.02)
            batch = await claude.messages.batches.retrieve(batch.id)
        counts = batch.request_counts
        assert (counts.succeeded, counts.errored, counts.processing) == (2, 1, 0)
        found = {one.custom_id: one.result.type async for one in await claude.messages.batches.results(batch.id)}
        assert list(found.items()) == [("c", "succeeded"), ("b", "errored"), ("a", "succeeded")]


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        (asked("a", "a"), "Duplicate custom_id"),
        (asked("x" * 65), "at most 64 characters"),
        (asked("a b"), "should match pattern"),
        (asked("a", stream=True), "stream: Extra inputs"),
        ([], "at least 1 item"),
    ],
)
async def test_what_anthropic_refuses_at_once(requests: Any, says: str) -> None:
    async with serve(["small"]) as server, AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as claude:
        with pytest.raises(AnthropicRefused, match=says):
            await claude.messages.batches.create(requests=requests)


async def test_a_batch_of_groq_s_is_as_openai_s_and_its_list_has_cursors() -> None:
    async with serve(["small"]) as server, AsyncGroq(base_url=server.url, api_key="k", max_retries=0) as groq:
        file = await groq.files.create(file=("x.jsonl", json.dumps(line("a")).encode()), purpose="batch")
        made = [
            await groq.batches.create(
                completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id or ""
            )
            for _ in range(21)
        ]
        while (batch := await groq.batches.retrieve(made[0].id)).status != "completed":
            await asyncio.sleep(0.02)
        said = await groq.files.content(batch.output_file_id or "")
        assert "Say a" in json.loads(await said.text())["response"]["body"]["choices"][0]["message"]["content"]
        first: Any = await groq.batches.list()
        second: Any = await groq.batches.list(extra_query={"cursor": first.paging["next_cursor"]})
        assert [one.id for one in [*first.data, *second.data]] == [one.id for one in reversed(made)]
        assert second.paging is None


def mistral(server: Provider) -> Mistral:
    return Mistral(api_key="k", server_url=server.url)


def body(name: str, **more: Any) -> dict[str, Any]:
    return {"custom_id": name, "body": {"messages": [{"role": "user", "content": f"Say {name}"}], **more}}


async def test_a_job_of_mistral_s_gives_answers_and_errors_in_two_files() -> None:
    async with serve(["small"]) as server, mistral(server) as client:
        server.next("small", None, "bad-request")
        data = b"\n".join(json.dumps(body(name)).encode() for name in "abc")
        file = await client.files.upload_async(file={"file_name": "x.jsonl", "content": data}, purpose="batch")
        job = await client.batch.jobs.create_async(
            endpoint="/v1/chat/completions", input_files=[file.id], model="small", metadata={"our": "name"}
        )
        assert job.status == "QUEUED"
        while job.status in ("QUEUED", "RUNNING"):
            await asyncio.sleep(0.02)
            job = await client.batch.jobs.get_async(job_id=job.id)
        assert (job.status, job.metadata, job.total_requests) == ("SUCCESS", {"our": "name"}, 3)
        assert (job.succeeded_requests, job.failed_requests) == (2, 1)
        found = [await client.files.download_async(file_id=str(one)) for one in (job.output_file, job.error_file)]
        good, bad = [[json.loads(one) for one in (await file.aread()).splitlines()] for file in found]
        assert [one["custom_id"] for one in good] == ["c", "a"]
        assert [(one["custom_id"], one["response"]["status_code"]) for one in bad] == [("b", 400)]
        listed = await client.batch.jobs.list_async()
        assert [one.id for one in listed.data or ()] == [job.id]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "other", "requests": [body("a")]}, "Invalid model"),
        ({"model": "small"}, "either"),
        ({"model": "small", "input_files": ["none"]}, "not found"),
        ({"model": "small", "requests": [body("a"), body("a")]}, "not unique"),
        ({"model": "small", "requests": [body("a", stream=True)]}, "Streaming"),
        ({"model": "small", "requests": [body("a")], "timeout_hours": 1000}, "timeout_hours"),
    ],
)
async def test_what_mistral_refuses_at_once(asked: dict[str, Any], says: str) -> None:
    async with serve(["small"]) as server, mistral(server) as client:
        with pytest.raises(SDKError, match=says):
            await client.batch.jobs.create_async(endpoint="/v1/chat/completions", **asked)


def google(server: Provider) -> Google:
    return Google(api_key="k", http_options=HttpOptions(base_url=server.url))


def wanted(name: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": f"Say {name}"}]}]}


async def test_a_batch_of_google_s_gives_a_line_for_each_key(tmp_path: Any) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps({"key": name, "request": wanted(name)}) for name in "abc"))
    async with serve(["small"]) as server, google(server).aio as client:
        server.next("small", None, "overloaded")
        file = await client.files.upload(file=path, config={"mime_type": "jsonl", "display_name": "x"})
        job = await client.batches.create(model="small", src=file.name or "", config={"display_name": "our name"})
        assert str(job.state) == "JobState.JOB_STATE_PENDING"
        while job.dest is None:
            await asyncio.sleep(0.02)
            job = await client.batches.get(name=job.name or "")
        assert (str(job.state), job.display_name) == ("JobState.JOB_STATE_SUCCEEDED", "our name")
        lines = (await client.files.download(file=job.dest.file_name or "")).splitlines()
        said = {one["key"]: one for one in map(json.loads, lines)}
        assert list(said) == ["c", "b", "a"]
        assert said["b"]["error"]["code"] == 14
        assert "Say a" in said["a"]["response"]["candidates"][0]["content"]["parts"][0]["text"]
        assert [one.name async for one in await client.batches.list()] == [job.name]


async def test_requests_may_stand_in_a_batch_of_google_s_itself() -> None:
    async with serve(["small"]) as server, google(server).aio as client:
        job = await client.batches.create(model="small", src=[wanted("a")], config={"display_name": "x"})  # pyright: ignore[reportArgumentType]
        while job.dest is None:
            await asyncio.sleep(0.02)
            job = await client.batches.get(name=job.name or "")
        (said,) = job.dest.inlined_responses or [None]
        assert said is not None
        assert said.response is not None
        assert "Say a" in (said.response.text or "")


async def test_what_google_refuses_at_once() -> None:
    async with serve(["small"]) as server, google(server).aio as client:
        with pytest.raises(ClientError, match="not found"):
            await client.batches.create(model="small", src="files/none", config={"display_name": "x"})
        with pytest.raises(ClientError, match="not found"):
            await client.batches.create(model="other", src="files/none", config={"display_name": "x"})
        with pytest.raises(ClientError, match="not found"):
            await client.batches.get(name="batches/none")
        server.batches.next("refused")
        with pytest.raises(ClientError, match="exhausted"):
            await client.batches.create(model="small", src=[wanted("a")], config={"display_name": "x"})  # pyright: ignore[reportArgumentType]

"""Parts that are no text: only who can take them is asked, they arrive as they are, and each is stored once."""

from __future__ import annotations

import random
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, Media, RunFailed, ask, flow
from segue.agent.media import media_of, needs_of, split
from segue.errors import InputError
from segue.models import Capability, Catalogue
from segue.models.errors import CannotSee
from segue.testing.provider import serve
from tests.agent.served import CAN, FORMATS, KEYS, model, opened

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@flow
async def look(model: str | None = None, times: int = 1) -> list[str]:
    return [await ask("What is on it?", Media(PNG, "image/png"), f"Time {n}.", model=model) for n in range(times)]


@flow
async def read(model: str | None = None) -> str:
    return await ask("What does it say?", Media(PDF, "application/pdf"), model=model)


@pytest.mark.parametrize("name", FORMATS)
async def test_an_image_arrives_as_it_is(tmp_path: Path, name: str) -> None:
    async with serve([name]) as server, opened(tmp_path, server, name) as engine:
        await engine.run(look)
        body = str(server.log.entries[0].body)
    assert "iVBORw0KGgo" in body
    assert "Time 0." in body


async def test_only_who_can_see_is_asked(tmp_path: Path) -> None:
    async with serve(["chat", "claude", "gpt"]) as server:
        blind, deaf = CAN - {Capability.VISION, Capability.DOCUMENTS}, CAN - {Capability.DOCUMENTS}
        models = Catalogue.of(model(server, "chat", blind), model(server, "claude"), model(server, "gpt", deaf))
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": models}) as engine:
            await engine.run(look)
            assert (server.counts("chat").calls, server.counts("claude").calls) == (0, 1)
            for made, pin, needs, can in (
                (look, "chat", "vision", "claude, gpt"),
                (read, "gpt", "documents", "claude"),
            ):
                with pytest.raises(RunFailed) as failed:
                    await engine.run(made, pin)
                error = failed.value.__cause__
                assert isinstance(error, CannotSee)
                assert (error.needs, error.can) == (needs, can)
        assert server.counts().calls == 1


async def test_one_image_in_many_questions_is_stored_once(tmp_path: Path) -> None:
    big = Media(PNG + random.Random(1).randbytes(200_000), "image/png")

    @flow(name="many")
    async def many() -> None:
        for n in range(5):
            await ask("What is on it?", big, f"Time {n}.")

    async with serve(["chat"]) as server, opened(tmp_path, server, "chat") as engine:
        await engine.run(many)
        rows = engine.journal.query("select sum(size) from blobs")
    assert rows[0][0] < 2 * 4 / 3 * len(big.data)


async def test_nobody_can_see(tmp_path: Path) -> None:
    async with serve(["chat"]) as server:
        blind = Catalogue.of(model(server, "chat", CAN - {Capability.VISION}))
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": blind}) as engine:
            with pytest.raises(RunFailed, match="no model of the catalogue can take an image") as failed:
                await engine.run(look)
    assert 'capabilities = ["vision"]' in str(failed.value.__cause__)


def test_objects_of_other_libraries_are_taken() -> None:
    from pydantic_ai.messages import BinaryContent

    assert media_of(BinaryContent(PNG, media_type="image/png")) == Media(PNG, "image/png")
    assert media_of("text") is None and media_of({"data": b"x"}) is None
    plain, media = split(["a", Media(PNG, "image/png"), {"b": 1}, Media(b"x", "audio/wav")])
    assert (plain, [one.at for one in media]) == (["a", {"b": 1}], [1, 2])
    assert needs_of(media) == {"vision", "audio"}


def test_a_file_says_its_type(tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(PDF)
    assert Media.open(tmp_path / "x.pdf") == Media(PDF, "application/pdf")
    with pytest.raises(InputError, match="does not say"):
        Media.open(tmp_path / "noname")


@pytest.mark.parametrize("given", [(b"", "image/png"), (b"x", "png")])
def test_what_is_no_media_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="Media:"):
        Media(*given)

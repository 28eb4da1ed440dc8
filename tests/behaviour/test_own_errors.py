"""A flow catches a step's own error, with what it carries; an odd one ends its step as any other."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segue import RunFailed, flow, step
from segue.core.faults import classify, rebuild
from tests.behaviour.world import World


class Denied(Exception):
    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status, self.connection = status, object()


class Careless(Exception):
    def __init__(self, message: str, **details: object):
        super().__init__(message)
        self.details = details

    def __getattr__(self, name: str) -> object:
        return self.details[name]  # KeyError, where it should be AttributeError


@step
def calls_a_program() -> None:
    code = "import sys; sys.stderr.write('disk full'); sys.exit(3)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


@step
async def denies() -> None:
    raise Denied("denied", status=403)


@step
def opens_a_file() -> None:
    Path("/not/there.txt").read_text()


made: list[int] = []


@step
async def is_careless() -> None:
    made.append(1)
    raise Careless("denied", code=403)


@flow
async def catches() -> list[Any]:
    caught = list[Any]()
    try:
        await calls_a_program()
    except subprocess.CalledProcessError as error:
        caught += [error.returncode, error.stderr]
    try:
        await denies()
    except Denied as error:
        caught.append(error.status)
    try:
        await opens_a_file()
    except FileNotFoundError as error:
        caught += [error.errno, error.filename]
    return caught


@flow
async def catches_nothing() -> None:
    await is_careless()


async def test_an_error_is_caught_with_what_it_carries_live_and_on_replay(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(catches)
        assert await run.result() == [3, "disk full", 403, 2, "/not/there.txt"]
        again = await run.fork()
        assert await again.result() == [3, "disk full", 403, 2, "/not/there.txt"]


async def test_an_error_whose_type_raises_as_it_is_read_fails_its_step_once(world: World) -> None:
    made.clear()
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="denied"):
            await asyncio.wait_for(engine.run(catches_nothing), 20)
    assert len(made) == 1


def test_what_is_no_json_or_long_stays_behind() -> None:
    error = Denied("denied", status=403)
    error.__dict__ |= {"page": "x" * 20_000, "segue_at": 3}
    fault = classify(error)
    assert fault.attributes == {"status": 403}
    assert json.loads(json.dumps(fault.body()))["attributes"] == {"status": 403}
    again = rebuild(fault)
    assert isinstance(again, Denied) and again.status == 403 and "page" not in vars(again)
    assert classify(ValueError("plain")).attributes is None


@step(redact="email")
async def names_somebody() -> None:
    error = Denied("denied")
    error.__dict__["asked_by"] = "ann@example.com"
    raise error


@flow
async def looks_who_asked() -> str:
    try:
        await names_somebody()
    except Denied as error:
        return str(vars(error)["asked_by"])
    return ""


async def test_what_a_step_redacts_does_not_go_with_its_error(world: World) -> None:
    async with world.engine() as engine:
        assert "ann@" not in await engine.run(looks_who_asked)


@step
def renames() -> None:
    os.rename("/not/there", "/not/there/either")


@step
async def notes(build: bool) -> None:
    error = Denied("denied") if build else json.JSONDecodeError("no JSON", "{", 1)
    error.add_note("asked twice")
    error.add_note("at: run r-1 other, attempt 1")
    raise error


@flow
async def reads_notes(build: bool) -> list[str]:
    try:
        await notes(build)
    except Exception as error:  # noqa: BLE001
        return error.__notes__
    return []


@flow
async def catches_a_rename() -> list[Any]:
    try:
        await renames()
    except FileNotFoundError as error:
        return [error.errno, error.filename, error.filename2]
    return []


async def test_an_error_of_two_files_is_caught_as_itself(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(catches_a_rename)
        assert await run.result() == [2, "/not/there", "/not/there/either"]
        assert await (await run.fork()).result() == await run.result()


@pytest.mark.parametrize("build", [True, False])
async def test_notes_on_an_error_reach_the_flow_before_the_place_of_the_call(world: World, build: bool) -> None:
    async with world.engine() as engine:
        run = await engine.start(reads_notes, build, id="n")
        said = await run.result()
        assert said[0] == "asked twice" and len(said) == 2
        assert said[1].startswith("at: run n notes[")
        assert (await (await run.fork()).result())[0] == "asked twice"

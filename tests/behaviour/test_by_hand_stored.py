"""What people say is stored as a step's result is, and comes back as what they said: also where a type writes another
form than it reads.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr, computed_field

from segue import flow, step, wait_for
from tests.behaviour.world import World, in_state, keys_of


class Total(BaseModel, extra="forbid"):
    net: int

    @computed_field
    @property
    def gross(self) -> int:
        return 2 * self.net


class Login(BaseModel):
    user: str
    password: SecretStr


class Left(BaseModel):
    kept: int
    hidden: int = Field(exclude=True)


VALUES: dict[str, tuple[Any, dict[str, Any], object]] = {
    "computed": (Total, {"net": 5}, 10),
    "secret": (Login, {"user": "a", "password": "hush"}, "hush"),
    "excluded": (Left, {"kept": 1, "hidden": 2}, 2),
}


def told(value: Any) -> object:
    if isinstance(value, Login):
        return value.password.get_secret_value()
    return value.gross if isinstance(value, Total) else value.hidden


@flow
async def waits(name: str) -> Any:
    return told(await wait_for("word", returns=VALUES[name][0]))


@pytest.mark.parametrize("name", VALUES)
async def test_an_override_gives_what_was_said(world: World, name: str) -> None:
    """It was stored in a form that was turned down as it was read, and was lost; of a secret the asterisks went on."""
    async with world.parking() as engine:
        run = await engine.start(waits, name, id="r")
        await in_state(run, "parked")
        await run.override("wait[word]#1", VALUES[name][1], by="ann")
        assert await run.result() == VALUES[name][2]


@step
async def key_of(user: str) -> bytes:
    return user.encode()


@flow
async def holds_a_key(user: str) -> bytes:
    return await key_of(user)


@flow
async def waits_for_bytes() -> str:
    return repr(await wait_for("key", returns=bytes))


@flow
async def waits_for_anything() -> str:
    return repr(await wait_for("key"))


@flow
async def takes_either(key: str | bytes) -> str:
    await wait_for("go")
    return repr(key)


@pytest.mark.parametrize("given", [b"abcd", b"hello", b"\xff\x00"], ids=["base64", "text", "neither"])
async def test_bytes_by_hand_are_those_bytes(world: World, given: bytes) -> None:
    """They went as text, and were read as base64: other bytes came of it, and nobody was told."""
    async with world.parking() as engine:
        run = await engine.start(holds_a_key, "ada")
        assert await run.result() == b"ada"
        (key,) = await keys_of(run)
        assert await (await run.fork(results={key: given})).result() == given
        for flow_ in (waits_for_bytes, waits_for_anything):
            told, overridden = await engine.start(flow_), await engine.start(flow_)
            await told.signal("key", given)
            await in_state(overridden, "parked")
            await overridden.override("wait[key]#1", given)
            assert [await told.result(), await overridden.result()] == [repr(given)] * 2


async def test_bytes_for_a_parameter_that_takes_text_too_stay_bytes(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(takes_either, b"abcd")
        await in_state(run, "parked")
        fork = await run.fork(input={"key": b"\xff"})
        for one in (run, fork):
            await one.signal("go")
        assert [await run.result(), await fork.result()] == ["b'abcd'", "b'\\xff'"]

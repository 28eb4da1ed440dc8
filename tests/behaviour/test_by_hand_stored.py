"""What people say is stored as a step's result is, and comes back as what they said: also where a type writes another
form than it reads.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr, computed_field

from segue import flow, wait_for
from tests.behaviour.world import World, in_state


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

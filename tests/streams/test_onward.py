"""A model that was to go on from what went out, and says its answer anew: what is out stands once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import Engine
from segue.agent.onward import Onward, added, adds
from segue.models.errors import ModelError
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from segue.testing.provider import Served, serve
from segue.testing.provider.speech import Asked
from tests.streams.test_faults import FORMATS, LONG, MIDWAY, answers, catalogue, text_of

WHOLE = f"Small: {LONG}"
BEGUN = "The quick brown fox jumps"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "test")


def begun_in(asked: Asked) -> str:
    return next((turn.text for turn in reversed(asked.turns) if turn.role == "assistant"), "")


async def rescued(path: Path, name: str, answer: Callable[[Asked], str]) -> str:
    """What goes out where the first model breaks off midway and another one gives this answer."""
    models = {"small": answers("Small:"), "large": Served(answer=answer, token_s=0.001)}
    async with serve(models, faults=MIDWAY) as server:
        routes = {"cheap": Cheapest(name="cheap", explore=NEVER, rescue="continue")}
        resources = {"catalogue": catalogue(server, FORMATS[name]), "routes": routes}
        async with Engine(str(path / "x.db"), resources=resources):
            server.next("small", "cut")
            return await text_of("How?")


@pytest.mark.parametrize("name", FORMATS)
async def test_what_is_said_once_more_does_not_go_out_twice(name: str, tmp_path: Path) -> None:
    assert await rescued(tmp_path, name, lambda _: f" \n{WHOLE}") == WHOLE


async def test_one_that_says_what_is_out_and_no_more_says_that_it_was_all(tmp_path: Path) -> None:
    out = await rescued(tmp_path, "chat", begun_in)
    assert WHOLE.startswith(out) and 20 <= len(out) < len(WHOLE)


async def test_one_that_ends_before_what_is_out_adds_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing was added to it"):
        await rescued(tmp_path, "chat", lambda asked: begun_in(asked)[:-2])


@given(st.text(max_size=60), st.text(max_size=60), st.data())
def test_what_comes_in_pieces_is_what_comes_whole(begun: str, text: str, data: st.DataObject) -> None:
    said = data.draw(st.sampled_from([text, begun + text, " " + begun + text, begun[:-1] + text]))
    size, onward = data.draw(st.integers(1, 30)), Onward(begun)
    pieces = [onward.take(said[i : i + size]) for i in range(0, len(said), size)]
    assert "".join(pieces) + onward.rest() == added(begun, said)
    assert said.endswith(added(begun, said))


def test_it_is_held_no_longer_than_it_may_be_the_beginning() -> None:
    onward = Onward(BEGUN)
    assert [onward.take(piece) for piece in ("The", " quick", " red", " fox")] == ["", "", "The quick red", " fox"]
    onward = Onward(BEGUN)
    assert [onward.take(piece) for piece in re.split("(?<=x)", BEGUN + " high")] == ["", " high"]


def test_a_beginning_that_tells_nothing_may_come_again() -> None:
    assert added("Ha, ", "Ha, ha!") == "Ha, ha!"
    assert Onward("Ha, ").take("Ha") == "Ha", "at once"


@pytest.mark.parametrize(
    ("text", "does"), [(" over", True), (BEGUN, True), (f"\n{BEGUN} over", True), (BEGUN[:-1], False), (" \n", False)]
)
def test_what_adds_to_a_beginning(text: str, does: bool) -> None:
    assert adds(BEGUN, text) is does

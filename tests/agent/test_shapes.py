"""Answers of any shape, at every provider: a list, a number, a choice, a model that refers to itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, WithJsonSchema

from segue import Engine, ask, flow
from segue.agent.form import form_of
from segue.models import Capability, Catalogue, Model
from segue.models.wrapping import FIELD, is_object, unwrapped, wrapped
from segue.testing.provider import Served, serve
from tests.agent.served import CAN, FORMATS, KEYS, model


class Node(BaseModel):
    name: str
    below: list[Node] = []


class Free(BaseModel):
    name: str
    value: Any


SHAPES: dict[str, Any] = {
    "list": list[int], "number": float, "choice": Literal["a", "b"], "maybe": int | None, "nodes": list[Node],
    "table": dict[str, int], "anything": list[Any], "free": Free,
    "by pattern": dict[Annotated[str, Field(pattern="^x")], int],
    "annotated": Annotated[int, WithJsonSchema({"type": "integer"})],
}  # fmt: skip


@flow
async def shaped(name: str) -> Any:
    value = await ask("Give one.", returns=SHAPES[name], timeout_s=5)
    return TypeAdapter(SHAPES[name]).dump_python(value, mode="json")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@pytest.mark.parametrize("native", [True, False], ids=["native", "tool"])
@pytest.mark.parametrize("name", FORMATS)
async def test_every_shape_at_every_format(tmp_path: Path, name: str, native: bool) -> None:
    """The servers refuse what the real ones refuse, and answer by the schema that they are sent."""
    async with serve({name: Served()}) as server:
        can = CAN if native else CAN - {Capability.JSON_SCHEMA}
        async with over(tmp_path, replace(model(server, name), capabilities=can)) as engine:
            for shape, of in SHAPES.items():
                value = await engine.run(shaped, shape)
                TypeAdapter(of).validate_python(value)
        assert server.counts(name).calls == len(SHAPES)


def over(path: Path, *models: Model) -> Engine:
    """An engine over these models."""
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(*models)})


@pytest.mark.parametrize("of", SHAPES.values(), ids=SHAPES)
def test_an_answer_comes_out_of_what_it_is_wrapped_in(of: Any) -> None:
    schema = TypeAdapter(of).json_schema()
    assert is_object(wrapped(schema))
    assert wrapped(wrapped(schema)) == wrapped(schema)


def test_types_in_another_order_are_asked_for_in_theirs() -> None:
    """They are equal to Python. A question is named by its schema, which may not rest on who asked before."""
    for one, other in (
        (Literal["a", "b"], Literal["b", "a"]),
        (int | str, str | int),
        (list[int | str], list[str | int]),
    ):
        assert [form_of(of).schema for of in (one, other)] == [TypeAdapter(of).json_schema() for of in (one, other)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
)


@given(VALUES)
def test_unwrapping_takes_one_layer_and_no_more(value: Any) -> None:
    assert json.loads(unwrapped(json.dumps({FIELD: value}))) == value
    other = json.dumps({FIELD: value, "more": 1})
    assert unwrapped(other) == other
    assert unwrapped("no JSON") == "no JSON"

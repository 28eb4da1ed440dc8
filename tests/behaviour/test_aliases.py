"""Models whose fields have aliases, as those of web APIs do: they are stored by name, and given by either."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from segue import ask, ask_human, flow, step, testing, wait_for
from segue.core.codec import codec, roundtrip
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, opened
from tests.behaviour.world import until

asked: list[str] = []


class Line(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    unit_price: float


class Order(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    order_id: int
    lines: list[Line] = []


class Single(BaseModel):
    order_id: int = Field(alias="orderId")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: int = Field(validation_alias="orderId")


class Chosen(BaseModel):
    order_id: int = Field(validation_alias=AliasChoices("orderId", "id"))


class Deep(BaseModel):
    order_id: int = Field(validation_alias=AliasPath("order", "id"))


class Told(BaseModel):
    order_id: int = Field(serialization_alias="orderId")


@dataclass
class Record:
    order_id: Annotated[int, Field(alias="orderId")]


class Row(TypedDict):
    order_id: Annotated[int, Field(alias="orderId")]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Order, {"orderId": 7, "lines": [{"unitPrice": 1.5}]}), (Single, {"orderId": 7}), (Strict, {"orderId": 7}),
        (Chosen, {"id": 7}), (Deep, {"order": {"id": 7}}), (Told, {"order_id": 7}), (Record, {"orderId": 7}),
        (dict[str, list[Order]], {"a": [{"orderId": 7}]}), (Order | None, {"orderId": 7}),
    ],
)  # fmt: skip
def test_what_is_stored_is_read_again(kind: Any, given: Any) -> None:
    of = codec(kind)
    value = of.validate(given)
    data, again = roundtrip(of, value)
    assert again == value
    assert of.encode(of.decode(data)) == data


@step
async def priced(order: Order) -> Line:
    asked.append("priced")
    return Line(unitPrice=order.order_id * 2)


@flow
async def parcel(order: Order) -> Line:
    line = await priced(order)
    await wait_for("go", returns=Order)
    return line


@flow
async def sells(order: Order) -> Order:
    line = await parcel(order)
    return Order(orderId=order.order_id, lines=[line])


@testing.simulated
async def test_they_are_inputs_results_signals_and_arguments_and_survive_a_crash() -> None:
    asked.clear()
    order = Order(orderId=7, lines=[Line(unitPrice=1.5)])
    async with testing.Engine() as engine:
        await engine.start(sells, order, id="r")
        await until(lambda: bool(asked))
        engine.kill()
    async with testing.Engine(after=engine) as after:
        (child,) = [row.id for row in after.reader.runs() if row.parent]
        await (await after.get(child)).signal("go", {"orderId": 1})
        run = await after.get("r")
        assert await run.result() == Order(orderId=7, lines=[Line(unitPrice=14)])
        fork = await run.fork(input={"order": {"orderId": 8}})
        children: list[str] = []
        await until(lambda: children.extend(row.id for row in after.reader.runs() if row.parent == fork.id) or children)
        await (await after.get(children[0])).signal("go", {"orderId": 1})
        assert await fork.result() == Order(orderId=8, lines=[Line(unitPrice=16)])


@flow
async def reads(text: str) -> int:
    order = await ask("Which order?", text, returns=Order, examples=[("Order 5", Order(orderId=5))])
    told = await ask_human("Is it this one?", order, returns=Order)
    return order.order_id + told.order_id


async def test_a_model_and_a_person_answer_by_the_names_of_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")
    shown: list[str] = []

    def says(seen: Any) -> str:
        shown.append(str(seen.body))
        return '{"orderId": 7}'

    async with serve({"chat": Served(answer=says)}) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(reads, "Order 7, please.")
        async with asyncio.timeout(20):
            while not (items := await engine.inbox()):
                await asyncio.sleep(0.01)
        await items[0].answer({"orderId": 3}, by="ann")
        assert await run.result() == 10
    assert "orderId" in shown[0] and "order_id" not in shown[0]


NINE = ({"orderId": 9, "lines": [{"unitPrice": 2}]}, {"order_id": 9, "lines": [{"unit_price": 2}]})


@pytest.mark.parametrize("named", NINE)
@testing.simulated
async def test_what_a_fork_is_given_is_stored_by_name(named: dict[str, Any]) -> None:
    asked.clear()
    async with testing.Engine() as engine:
        run = await engine.start(parcel, Order(orderId=7), id="r")
        await until(lambda: any(e.type == "step.completed" for e in engine.history("r")))
        again = await run.fork(input={"order": named}, id="f", at=1)
        (_, first, *_) = engine.history("f")
        assert first.args == b'{"order":{"order_id":9,"lines":[{"unit_price":2.0}]}}'
        for other in NINE:
            assert (await run.fork(input={"order": other}, id="f", at=1)).id == again.id
        key = next(e.key for e in engine.history("r") if e.type == "step.completed") or ""
        for n, price in enumerate(({"unitPrice": 3}, {"unit_price": 3})):
            told = await run.fork(results={key: price}, id=f"g{n}")
            assert engine.journal.get(told.id).replaced[key] == '{"unit_price":3.0}'
            await told.override("wait[go]#1", named)
            assert await told.result() == Line(unitPrice=3)
            (said,) = [e.value for e in engine.history(told.id) if e.type == "operator.acted"]
            assert said == b'{"order_id":9,"lines":[{"unit_price":2.0}]}'

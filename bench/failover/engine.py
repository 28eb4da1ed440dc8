"""Segue itself: each ask is a flow of its own in an engine, journaled; the processes share one database."""

from __future__ import annotations

from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel, create_model

from segue import Engine, flow
from segue.agent import Allowance, Budgets
from segue.agent.ask import answer
from segue.agent.request import Tried
from segue.errors import BudgetExceeded
from segue.models import ModelError

from .bare import catalogue_of, connect
from .lines import Answered, Client, serve
from .tasks import Wanted

_setup: dict[str, Any] = {}


class Filed(BaseModel):
    """What a flow gives back."""

    text: str | None
    tried: list[Tried]
    error: str = ""


class Engined:
    """One engine."""

    def __init__(self, engine: Engine, stack: AsyncExitStack) -> None:
        self._engine, self._stack = engine, stack

    async def ask(self, prompt: str, schema: dict[str, Any]) -> Answered:
        """As the protocol says."""
        ticket = str(schema["properties"]["ticket"]["const"])
        filed = await self._engine.run(file_ticket, prompt, ticket, id=ticket)
        tried = filed.tried
        own = (tried[-1].tokens_in, tried[-1].tokens_out) if filed.text is not None else (0, 0)
        into, out = sum(t.tokens_in for t in tried), sum(t.tokens_out for t in tried)
        return Answered(filed.text, len(tried), into, out, *own, filed.error)

    async def close(self) -> None:
        """As the protocol says."""
        await self._stack.aclose()


@flow
async def file_ticket(prompt: str, ticket: str) -> Filed:
    """One ask, typed: the ticket's number is part of the type, so that its answer is known again."""
    wanted = create_model("Filed", __base__=Wanted, ticket=(Literal[ticket], ...))
    try:
        got = await answer(
            prompt, returns=wanted, max_tokens=_setup["max_tokens"], timeout_s=_setup["timeout_s"],
            needs=("json-schema",), budget_usd=_setup["run_usd"],
        )  # fmt: skip
    except (ModelError, BudgetExceeded) as error:
        return Filed(text=None, tried=list(getattr(error, "tried", ())), error=f"{error}"[:300])
    return Filed(text=got.value.model_dump_json(), tried=list(got.tried))


async def make(setup: dict[str, Any]) -> Client:
    """Make one."""
    _setup.update(setup)
    stack = AsyncExitStack()
    models = catalogue_of(setup)
    await connect(models)
    budgets = Budgets(tenants={"default": Allowance(usd=setup["budget_usd"])})
    resources = {"catalogue": models, "routes": {}, "budgets": budgets}
    engine = await stack.enter_async_context(Engine(setup["database"], resources=resources, capacity=1000))
    return Engined(engine, stack)


if __name__ == "__main__":
    serve(make, f"segue {version('segue')}")

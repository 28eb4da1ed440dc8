"""How long answers are is known from the journal: to the first ask of a new engine, and to `segue route`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow
from segue.cli.route import router_of
from segue.core.records import Decision, record_of
from segue.routing import Request
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS

TEXT = "Name a colour."
MODEL = """
[models.{name}]
provider = "openai-compatible"
url = "{url}"
window = 32000
max_output = 4000
price = {{ in = {price}, out = {price} }}
"""
ROUTE = """
[routes.default]
policy = "cheapest"
explore = { floor = 0.0, ceiling = 0.0 }
"""


@flow
async def asks(model: str | None) -> str:
    return await ask(TEXT, model=model)


async def decided(engine: Engine) -> Decision:
    run = await engine.start(asks, None)
    await run.result()
    (found,) = [record_of(e) async for e in run.events(follow=False) if e.type == "decision.made"]
    assert isinstance(found, Decision)
    return found


async def test_the_dearer_one_that_says_little_is_cheaper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, "test")
    long, short = Served(answer=lambda _: "word " * 600), Served(answer=lambda _: "red")
    async with serve({"small": long, "mid": short}) as server:
        config, db = str(tmp_path / "segue.toml"), str(tmp_path / "x.db")
        Path(config).write_text(
            "".join(MODEL.format(name=n, url=server.openai_url, price=p) for n, p in (("small", 1.0), ("mid", 2.0)))
            + ROUTE
        )
        resources: dict[str, Any] = {"config": config}
        async with Engine(db, resources=resources) as engine:
            for model in ("small", "mid") * 4:
                await engine.run(asks, model)
            soon = await decided(engine)
            assert soon.chosen is not None and soon.chosen.target.name == "mid", "learned at once"
        async with Engine(db, resources=resources) as engine:
            first = await decided(engine)
        assert first.chosen is not None and first.chosen.target.name == "mid", "a process that asks once knows it, too"
    with router_of(db, config) as router:
        told = router.decide(Request(text=TEXT, tokens_out_max=1024), id="d", luck=0.5)
    assert told.chosen is not None and told.chosen.target.name == "mid"

"""The caller's own check of an answer: what it may say, and what is on record where it is wrong itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, RunFailed, ask, flow
from segue.core.records import AttemptEnd, AttemptRecorded, record_of
from segue.errors import InputError
from segue.testing.provider import serve
from tests.agent.served import KEYS, catalogue


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def later(value: object) -> None:
    """A check that nobody awaits."""


def broken(value: int) -> None:
    raise KeyError(value)


CHECKS: dict[str, Callable[[Any], Any]] = {
    "yes": lambda value: value >= 0, "no": lambda value: value < 0, "later": later, "broken": broken,
}  # fmt: skip


@flow(budget_usd=0.001)
async def asks(check: str, times: int, stream: bool = False) -> None:
    for n in range(times):
        try:
            await ask("How many?", returns=int, check=CHECKS[check], max_tokens=200, stream=stream, key=f"{n}")
        except (InputError, KeyError):
            if n == times - 1:
                raise


@pytest.mark.parametrize("check", ["yes", "no", "later"])
async def test_a_check_that_says_yes_or_no_is_refused(tmp_path: Path, check: str) -> None:
    """Taken at its word, False would be an answer that is fine, and True one that is not."""
    async with serve(["chat"]) as server, opened(tmp_path, server) as engine:
        with pytest.raises(RunFailed, match="a check says what is wrong with an answer, as a text, or None") as error:
            await engine.run(asks, check, 1)
        assert isinstance(error.value.__cause__, InputError)
        assert server.counts("chat").calls == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_whose_check_is_a_bug_is_on_record_and_costs_what_it_took(tmp_path: Path, stream: bool) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, server) as engine:
        with pytest.raises(RunFailed) as error:
            await engine.run(asks, "broken", 8, stream, id="r")
        assert isinstance(error.value.__cause__, KeyError)
        events = [e async for e in (await engine.get("r")).events(follow=False)]
        records = [r for e in events if isinstance(r := record_of(e), AttemptRecorded)]
        assert [(r.end, r.checks) for r in records] == [(AttemptEnd.REJECTED, ())] * 8
        assert all(r.usage is not None and not r.usage.estimated for r in records)
        assert sum(r.usage.tokens_out for r in records if r.usage is not None) == server.counts("chat").tokens_out
        assert server.counts("chat").calls == 8


def opened(path: Path, server: Any) -> Engine:
    return Engine(str(path / "x.db"), resources={"catalogue": catalogue(server, "chat")})

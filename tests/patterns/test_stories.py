"""What a person is told of a pattern that has failed: all of whom it asked, in a flow, a child and a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from segue import escalate, flow, step
from segue.agent.options import Options
from segue.agent.patterns import Side, debate, improve, map_reduce, plan_and_work, vote
from segue.errors import RunFailed
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, opened
from tests.behaviour.test_asking_people import waiting


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@step
async def measure(what: str) -> str:
    """Measures rooms."""
    raise LookupError("no tape")


@step
async def paint(what: str) -> str:
    """Paints walls."""
    raise LookupError("no paint")


@step
async def hang(what: str) -> str:
    """Paints walls."""
    return "painted"


def words(text: str) -> int:
    return len(text.split())


async def votes() -> object:
    return await vote("Ship?", by=["chat", "gpt"], options={"attempts": 1})


async def debates() -> object:
    sides = [Side(name, options={"model": name, "attempts": 1}) for name in ("chat", "gpt")]
    return await debate("Ship?", sides=sides, rounds=1)


async def plans() -> object:
    return await plan_and_work("A room", workers=[measure, paint], planner={"model": "claude"})


async def improves() -> object:
    return await improve("Ship?", options={"model": "chat", "attempts": 1})


async def reduces() -> object:
    return await map_reduce("Risks?", "One. Two.", tokens=1, count=words, options={"model": "chat", "attempts": 1})


async def joins() -> object:
    asked: Options = {"model": "claude", "attempts": 1, "repairs": 0}
    return await map_reduce("Risks?", "One. Two. Three. Four.", tokens=1, count=words, fan=2, options=asked)


async def judges() -> object:
    sides = [Side(name, options={"model": name, "attempts": 1}) for name in ("chat", "claude")]
    return await debate("Ship?", sides=sides, rounds=2, judged={"model": "gpt", "attempts": 1})


async def finishes() -> object:
    last: Options = {"model": "gpt", "attempts": 1}
    return await plan_and_work(
        "A room", workers=[measure, hang], planner={"model": "claude"}, finisher=last, delegating={"attempts": 1}
    )


async def combines() -> object:
    asked: Options = {"model": "claude", "attempts": 1, "repairs": 0}
    return await map_reduce("Risks?", "One. Lost. Three.", tokens=1, count=words, options=asked, missing_max=0.5)


async def cannot_judge() -> object:
    sides = [Side(name, options={"model": name, "attempts": 1}) for name in ("chat", "claude")]
    return await debate("Ship?", sides=sides, rounds=1, judged={"model": "nosuch"})


async def cannot_evaluate() -> object:
    return await improve("Ship?", options={"model": "claude"}, evaluator={"model": "nosuch"})


async def plans_badly() -> object:
    return await plan_and_work("A room", workers=[measure], planner={"model": "chat", "attempts": 1})


MADE: dict[str, tuple[Callable[[], Awaitable[object]], list[str], str]] = {
    "vote": (votes, ["chat chat", "gpt gpt"], "NoMajority"),
    "debate": (debates, ["chat chat", "gpt gpt"], "Nobody"),
    "plan": (plans, ["measure measure", "paint paint"], "NothingDone"),
    "improve": (improves, ["chat"], ""),
    "reduce": (reduces, ["piece 1 chat", "piece 2 chat"], "Incomplete"),
    "join": (joins, ["combiner 2 claude", "combiner 1 claude"], ""),
    "judge": (judges, ["chat chat", "chat chat", "judge gpt"], ""),
    "no judge": (cannot_judge, ["chat chat", "judge ask"], ""),
    "no evaluator": (cannot_evaluate, ["evaluator ask"], ""),
    "planner": (plans_badly, ["planner chat"], ""),
    "finisher": (finishes, ["measure measure", "finisher gpt"], ""),
    "combiner": (combines, ["piece 2 claude", "combiner 1 claude"], ""),
}


@flow
async def child(which: str) -> str:
    return str(await MADE[which][0]())


@step
async def inside(which: str) -> str:
    return str(await MADE[which][0]())


@flow
async def hands_over(which: str, where: str) -> str:
    try:
        return str(await {"flow": child.function, "child": child, "step": inside}[where](which))
    except Exception:  # noqa: BLE001  whatever it is
        return await escalate("What now?", by="lead")


def answer(asked: Asked) -> str:
    """The plan and the pieces; nothing of what is put together, nor of one piece."""
    if "Piece 2 of 3" in asked.prompt or "These are results" in f"{asked.system} {asked.prompt}":
        return ""
    tasks = '{"id": "a", "what": "Measures rooms", "needs": []}, {"id": "b", "what": "Paints walls", "needs": []}'
    return f'{{"tasks": [{tasks}]}}'


def told(story: Any) -> list[str]:
    """Who had it, and the model or the call; where none is said, the error. Nothing of who was left out."""
    lines = list[str]()
    for one in [one for one in story if "left out" not in one]:
        call = one.get("model") or one.get("what", "").rpartition("/")[2].partition("[")[0].partition("#")[0]
        lines.append(f"{one.get('who', '')} {call or one['error'].partition(':')[0]}".strip())
    return lines


@pytest.mark.parametrize("where", ["flow", "child", "step"])
@pytest.mark.parametrize("which", MADE)
async def test_all_whom_a_pattern_has_asked_are_told_of(tmp_path: Path, which: str, where: str) -> None:
    models = {"chat": Served(answer=lambda _: ""), "gpt": Served(answer=lambda _: ""), "claude": Served(answer=answer)}
    _, asked, error = MADE[which]
    last = {"flow": error, "child": "child", "step": "inside"}[where]
    async with serve(models) as server:
        async with opened(tmp_path, server, *models) as engine:
            run = await engine.start(hands_over, which, where, id="r")
            (item,) = await waiting(engine)
            if where == "step" and not error:
                last = ""  # the question's calls are all that is told
            if which.startswith("no ") and where == "step":  # no call was made: the step is where it failed
                asked = [*asked[:-1], asked[-1].replace("ask", "inside")]
            assert told(item.story) == [*asked, *([last] if last else [])]
        async with opened(tmp_path, server, *models) as engine:
            (again,) = await waiting(engine)
            assert again.bound == item.bound, "the story is the same on replay"
            await again.answer("leave it", by="lead")
            assert await (await engine.get(run.id)).result() == "leave it"


async def test_what_has_failed_before_a_pattern_is_told_first(tmp_path: Path) -> None:
    models = {"chat": Served(answer=lambda _: ""), "gpt": Served(answer=lambda _: "")}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        await engine.start(after_another, id="r")
        (item,) = await waiting(engine)
        assert told(item.story) == ["measure", "chat chat", "gpt gpt", "NoMajority"]


@flow
async def after_another() -> str:
    try:
        return await measure("x")
    except LookupError:
        try:
            return str(await votes())
        except Exception:  # noqa: BLE001  whatever it is
            return await escalate("What now?", by="lead")


async def test_a_failed_pattern_comes_from_the_first_that_failed(tmp_path: Path) -> None:
    models = {"chat": Served(answer=lambda _: ""), "gpt": Served(answer=lambda _: ""), "claude": Served(answer=answer)}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        for which in ("vote", "debate", "plan", "reduce"):
            with pytest.raises(RunFailed) as failed:
                await engine.run(child, which)
            error = failed.value.__cause__
            assert type(error).__name__ == MADE[which][2] and isinstance(error.__cause__, Exception)

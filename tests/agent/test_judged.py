"""`segue routes eval` on traffic of real runs: an exploring policy by its propensities, a fixed one by its shadows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, flow
from segue.agent import ask
from segue.cli import judging
from segue.cli.routes import Asked as Wanted
from segue.errors import InputError
from segue.models import Catalogue
from segue.routing import load_routes
from segue.testing.provider import Asked, Provider, Served, serve

MODELS = """
[models.small]
provider = "openai-compatible"
url = "{url}"
window = 32000
max_output = 2000
price = {{ in = 0.1, out = 0.4 }}
quality = {{ any = 0.5 }}

[models.large]
provider = "openai-compatible"
url = "{url}"
window = 32000
max_output = 2000
price = {{ in = 1.0, out = 4.0 }}
quality = {{ any = 0.6 }}
"""
EXPLORES = """
[routes.r]
policy = "best"
explore = { floor = 0.4, ceiling = 0.5 }
"""
FIXED = """
[routes.r]
policy = "shadow"
of = "small"
shadows = ["large"]
"""
HALVES = """
[routes.r]
policy = "split"
arms = { small = 0.5, large = 0.5 }
"""
LARGE = """
[routes.r]
policy = "pinned"
model = "large"
"""
SMALL = LARGE.replace("large", "small")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


def good(said: str) -> str | None:
    return None if said == "right" else "it is wrong"


@flow
async def one(text: str) -> str:
    try:
        return await ask(text, route="r", check=good, repairs=0, attempts=1)
    except Exception:  # noqa: BLE001  a wrong answer is an outcome here
        return "none"


def right_on(every: int) -> Served:
    """A model that is right on all but every so many-th request."""
    return Served(answer=lambda given: "wrong" if _number(given) % every == 0 else "right")


def _number(given: Asked) -> int:
    return int(given.prompt.rsplit(" ", 1)[1].rstrip("?"))


async def traffic(folder: Path, server: Provider, routes: str, many: int) -> None:
    """So many runs of one ask each, by these routes."""
    models = MODELS.format(url=server.openai_url)
    (folder / "old.toml").write_text(models + routes)
    catalogue = Catalogue.load(folder / "old.toml")
    given = {"catalogue": catalogue, "routes": load_routes(folder / "old.toml", list(catalogue.models))}
    async with Engine(str(folder / "x.db"), resources=given) as engine:
        for begin in range(0, many, 10):
            runs = [await engine.start(one, f"Is this right, number {n}?") for n in range(begin, begin + 10)]
            await asyncio.gather(*(run.result() for run in runs))
            await asyncio.sleep(0.05)


def verdict(folder: Path, server: Provider, routes: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (folder / "new.toml").write_text(MODELS.format(url=server.openai_url) + routes)
    judging.evaluated(str(folder / "new.toml"), Wanted(db=str(folder / "x.db"), as_json=True))
    return json.loads(capsys.readouterr().out)


async def test_what_another_policy_would_have_got_from_real_exploring_traffic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`small` is wrong on every second request and `large` on every tenth: the truth is near the intervals, which hold
    it nineteen times of twenty (`test_judge_coverage.py`).
    """
    async with serve({"small": right_on(2), "large": right_on(10)}) as server:
        await traffic(tmp_path, server, EXPLORES, 120)
        said = verdict(tmp_path, server, SMALL, capsys)
    reward, cost = said["findings"]["reward"], said["findings"]["cost_usd"]
    assert said["weighable"] == 120 and reward["standing"] in ("cautious", "claimed")
    for found, truth in ((reward, 0.5), (cost, 1.1e-6)):
        for figure in found["figures"]:
            low, high = figure["value"]["low"], figure["value"]["high"]
            slack = high - low  # six standard errors from the middle: no matter of luck
            assert low - slack <= truth * 1.001 and truth * 0.999 <= high + slack, figure


LIKE = """
[routes.r]
policy = "examples"
otherwise = "small"
examples = [{ text = "Is this right, number 5?", use = "large" }]
"""


async def test_a_policy_by_examples_is_judged_by_what_was_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that was asked is like the example, though nothing was compared then: `large` it would have been."""
    async with serve({"small": right_on(2), "large": right_on(10)}) as server:
        await traffic(tmp_path, server, EXPLORES, 80)
        said, large = (verdict(tmp_path, server, routes, capsys) for routes in (LIKE, LARGE))
    assert said["left_out"] == {}
    assert said["findings"]["reward"]["figures"] == large["findings"]["reward"]["figures"]


async def test_of_what_a_split_has_dealt_no_exploration_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve({"small": right_on(2), "large": right_on(10)}) as server:
        await traffic(tmp_path, server, HALVES, 120)
        said = verdict(tmp_path, server, LARGE, capsys)
        judging.evaluated(str(tmp_path / "new.toml"), Wanted(db=str(tmp_path / "x.db"), as_json=False))
    told, found = capsys.readouterr(), said["findings"]["cost_usd"]
    shown = " ".join((told.err + told.out).split())
    assert "120 of them drawn" in shown and "explor" not in shown.partition("120 of them drawn")[2][:40]
    assert "exploration is" not in shown and "at the shares of the split" in shown
    assert f"{int(found['effective'])} effective" in shown
    assert f"the effective sample is {int(found['effective'])}," in shown


async def test_a_fixed_policy_is_judged_by_its_shadows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with serve({"small": right_on(2), "large": right_on(10)}) as server:
        await traffic(tmp_path, server, FIXED, 60)
        said = verdict(tmp_path, server, LARGE, capsys)
    found = said["findings"]["reward"]
    assert (found["standing"], found["basis"], found["effective"]) == ("cautious", "shadow pairs", 60)
    (figure,) = found["figures"]
    assert figure["value"]["value"] == pytest.approx(0.9) and found["now"] == pytest.approx(0.5)
    assert figure["difference"]["low"] > 0.2


async def test_without_shadows_it_is_what_the_models_expect_and_is_called_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve({"small": right_on(2), "large": right_on(10)}) as server:
        await traffic(tmp_path, server, SMALL, 40)
        said = verdict(tmp_path, server, LARGE, capsys)
    found = said["findings"]["reward"]
    assert found["standing"] == "model estimate" and found["figures"] == [] and found["modelled"] is not None


def test_a_file_of_routes_alone_is_judged_over_the_models_of_the_usual_one(tmp_path: Path) -> None:
    usual, new = tmp_path / "segue.toml", tmp_path / "new.toml"
    usual.write_text('[models.fast]\nprovider = "openai"\nwindow = 8_000\nmax_output = 1_000\n')
    new.write_text('[routes.pin]\npolicy = "pinned"\nmodel = "fast"\n')
    asyncio.run(nothing(tmp_path / "x.db"))
    with pytest.raises(InputError, match="there is no past traffic"):
        judging.evaluated(str(new), Wanted(db=str(tmp_path / "x.db"), config=str(usual)))


async def nothing(path: Path) -> None:
    async with Engine(str(path)):
        pass

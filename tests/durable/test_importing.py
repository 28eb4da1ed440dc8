"""A module is imported for what it defines: what it would begin is refused, what it leaves half made is forgotten."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue import Engine, testing
from segue.core.modules import bearers
from segue.errors import UnguardedScript
from segue.importing import imported
from segue.routing.errors import PolicyFailed
from segue.routing.functions import load_function
from segue.runtime import registry

FLOW = """
import asyncio
from segue import Engine, flow

class Odd(Exception):
    pass

@flow
async def job() -> int:
    return 1

async def main():
    async with Engine("begun.db"):
        pass

"""
BARE = "asyncio.run(main())\n"
CAUGHT = f"try:\n    {BARE}except Exception:\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_known", dict(registry._known))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def refused(folder: Path, name: str) -> None:
    assert name not in sys.modules and registry.known(f"{name}:job") is None
    assert not (folder / "begun.db").exists()


@pytest.mark.parametrize("end", [BARE, CAUGHT])
@pytest.mark.parametrize("target", ["half_made:job", "half_made.py:job"])
def test_a_module_that_was_refused_is_forgotten_and_can_be_put_right(folder: Path, end: str, target: str) -> None:
    file = folder / "half_made.py"
    file.write_text(FLOW + end)
    for _ in range(2):
        with pytest.raises(UnguardedScript, match=r"half_made\.py, line \d+, opens an engine"):
            registry.find(target)
        refused(folder, "half_made")
    file.write_text(FLOW)
    assert registry.find(target).name == "half_made:job"


def test_a_module_that_raises_leaves_no_flow_behind(folder: Path) -> None:
    (folder / "whole_lib.py").write_text(FLOW)
    (folder / "raising.py").write_text(f"{FLOW}import whole_lib\n1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        registry.find("raising:job")
    refused(folder, "raising")
    assert registry.known("whole_lib:job") is not None


def test_the_module_whose_name_a_script_has_stays(folder: Path) -> None:
    import colorsys

    (folder / "colorsys.py").write_text(FLOW + CAUGHT)
    with pytest.raises(UnguardedScript):
        registry.find("colorsys.py:job")
    assert sys.modules["colorsys"] is colorsys and registry.known("colorsys:job") is None


async def test_a_task_that_an_import_leaves_opens_no_engine(folder: Path) -> None:
    (folder / "leaves_task.py").write_text(f"{FLOW}task = asyncio.get_running_loop().create_task(main())\n")
    module = imported("leaves_task")
    with pytest.raises(UnguardedScript):
        await module.task
    assert not (folder / "begun.db").exists()


async def test_nothing_is_started_in_an_engine_that_is_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = "task = asyncio.get_running_loop().create_task(builtins.engine.start(job))\n"
    (folder / "starts_run.py").write_text(f"{FLOW}import builtins\n{start}")
    async with testing.Engine() as engine:
        monkeypatch.setattr("builtins.engine", engine, raising=False)
        module = imported("starts_run")
        with pytest.raises(UnguardedScript, match="starts a run"):
            await module.task
        assert await engine.runs() == []
        assert await engine.run(module.job) == 1


def test_another_thread_may_open_an_engine_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so for reasons of its own."""
    (folder / "slow_one.py").write_text("import builtins\nbuiltins.reached.set()\nassert builtins.opened.wait(20)\n")
    reached, opened = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.reached", reached, raising=False)
    monkeypatch.setattr("builtins.opened", opened, raising=False)

    async def engine() -> None:
        async with Engine(folder / "mine.db"):
            opened.set()

    def mine() -> None:
        assert reached.wait(20)
        begun_meanwhile = threading.Thread(target=lambda: asyncio.run(engine()))
        begun_meanwhile.start()
        begun_meanwhile.join()

    thread = threading.Thread(target=mine)
    thread.start()
    imported("slow_one")
    thread.join()


def test_an_error_and_a_function_are_looked_for_in_the_same_way(folder: Path) -> None:
    (folder / "begins.py").write_text(FLOW + BARE)
    assert list(bearers("begins")) == []
    refused(folder, "begins")
    with pytest.raises(PolicyFailed, match=r"begins\.py, line \d+, opens an engine") as failed:
        load_function("begins:job")
    assert "__main__" in (failed.value.remedy or "")
    refused(folder, "begins")

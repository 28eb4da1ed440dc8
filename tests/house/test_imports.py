"""Imports point down only, the near side is pure, and `import segue` is cheap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import scan

IMPURE = {"sqlite3", "threading", "time", "random", "secrets", "socket", "subprocess", "multiprocessing"}
NEAR_SIDE = ("loop", "drive", "scope", "flow", "step", "waits", "fan", "values", "children", "registry")
NEVER_LOADED = {
    "anthropic", "httpx", "numpy", "openai", "pydantic_ai", "rich", "starlette", "temporalio", "typer", "uvicorn",
    "xllamacpp",
}  # fmt: skip
IMPORT_CPU_S = 0.15

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
COST = """
import json, sys, time
start = time.process_time()
import segue
print(json.dumps([time.process_time() - start, sorted(sys.modules)]))
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that keeps its bytecode, at the root of the project."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=scan.ROOT, env=env, capture_output=True, text=True, check=False
    )


def core() -> list[Path]:
    return sorted((scan.SRC / "core").rglob("*.py"))


def near_side() -> list[Path]:
    return [*core(), *(scan.SRC / "runtime" / f"{name}.py" for name in NEAR_SIDE)]


def test_imports_point_down_only() -> None:
    lint = python(LINT)
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("path", near_side(), ids=lambda path: path.relative_to(scan.SRC).as_posix())
def test_the_near_side_imports_no_io_no_clock_and_no_chance(path: Path) -> None:
    assert path.exists(), f"{path.name} has moved: name its successor in NEAR_SIDE"
    assert sorted(scan.imported(path.read_text(encoding="utf-8")) & IMPURE) == []


@pytest.mark.parametrize("path", core(), ids=lambda path: path.relative_to(scan.SRC).as_posix())
def test_core_asks_for_no_time_and_no_chance(path: Path) -> None:
    assert scan.clocks_and_dice(path.read_text(encoding="utf-8")) == []


def test_import_segue_costs_little_and_loads_no_provider() -> None:
    runs = [python(COST) for _ in range(6)]
    assert [run.stderr for run in runs if run.returncode] == []
    seconds, modules = zip(*(json.loads(run.stdout) for run in runs), strict=True)
    assert [name for name in modules[-1] if name in NEVER_LOADED] == []
    assert min(seconds) < IMPORT_CPU_S, f"import segue: {min(seconds):.3f} s of CPU, {len(modules[-1])} modules"


@pytest.mark.proof
def test_of_pydantic_ai_only_what_is_public_is_imported() -> None:
    """No module or name of it that begins with an underscore: those change between its releases."""
    found = [
        f"{path.relative_to(scan.SRC)}: {name}"
        for path in scan.sources()
        for name in scan.named(path.read_text(encoding="utf-8"), "pydantic_ai")
        if any(part.startswith("_") for part in name.split("."))
    ]
    assert found == []

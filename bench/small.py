"""What does not run long: bytes stored, the cost of the import, frames in a traceback."""

from __future__ import annotations

import asyncio
import os
import random
import string
import subprocess
import sys
import traceback
from pathlib import Path
from pydoc_data.topics import topics

import segue
from segue import Engine

from . import flows
from .measure import Figure, Plan, Sample

STORED = 1.2
IMPORT_S = 0.15
FRAMES = 5
ROOT = Path(__file__).parents[1]
_DICE = string.ascii_letters + string.digits + "+/-_.,:;!?()<>[]{}*&^%$#@=~| "
_COST = "import time; a = time.process_time(); {}; print(time.process_time() - a)"
_IMPORTS = {
    "bare": "import asyncio, sqlite3",
    "import segue": "import segue",
    "from segue import Engine, flow, step": "from segue import Engine, flow, step",
    "and the first type that is not str, int or bool": "from segue import Engine, flow, step; "
    "from segue.core.codec import codec; codec(list[float]).adapter",
}


def dice(count: int) -> list[str]:
    """Texts that hardly compress."""
    source = random.Random(7)
    return ["".join(source.choices(_DICE, k=flows.TURN)) for _ in range(count)]


def prose(count: int) -> list[str]:
    """Texts that people wrote: Python's own manual, then once more with its lines in another order."""
    lines = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore").decode().splitlines()
    manual = "\n".join([*lines, *random.Random(7).sample(lines, len(lines))])
    return [manual[n * flows.TURN : (n + 1) * flows.TURN] for n in range(count)]


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


async def _converse(path: Path, count: int) -> None:
    async with Engine(str(path)) as engine:
        await engine.run(flows.conversation, count)


def storage(plan: Plan) -> list[Figure]:
    """80 turns of 8 KB store under 1.2 times the payload."""
    figures: list[Figure] = []
    for name, texts in (("random characters", dice(plan.size(80, 8))), ("prose", prose(plan.size(80, 8)))):
        flows.texts[:] = texts
        payload = sum(len(t) for t in texts)
        with plan.scratch() as folder:
            asyncio.run(_converse(folder / "segue.db", len(texts)))
            ratio = size_of(folder) / payload
        figures.append(
            Figure(
                name="storage", what=f"{len(texts)} turns of 8 KB, {name}: file / payload", unit="×",
                sample=Sample.of([ratio]), goal=f"{STORED} ×", met=ratio <= STORED,
            )
        )  # fmt: skip
    return figures


def _cpu_s(code: str) -> float:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _COST.format(code)]
    return float(
        subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    )


def imports(plan: Plan) -> list[Figure]:
    """`import segue` costs under 0.15 s of CPU. Interpreters are fresh, bytecode is warm."""
    spent: dict[str, list[float]] = {name: [] for name in _IMPORTS}
    for n in range(plan.size(9, 1) + 1):
        for name, code in _IMPORTS.items():
            cost = _cpu_s(code)
            if n:
                spent[name].append(cost)
    samples = {name: Sample.of(values) for name, values in spent.items()}
    bare, *ours = samples
    figures: list[Figure] = []
    for name in ours:
        counted = not name.startswith("and")
        figures.append(
            Figure(
                name="import", what=name, unit="s CPU", sample=samples[name], goal=f"{IMPORT_S} s" if counted else "",
                met=samples[name].median <= IMPORT_S if counted else None, floor=samples[bare],
                floor_unit="s bare", ratio=samples[name].median / samples[bare].median,
            )
        )  # fmt: skip
    return figures


def _ours(error: BaseException) -> tuple[int, int]:
    """Frames of Segue in the whole printed traceback, and in the part of the step's own error."""
    home = str(Path(segue.__file__).parent)
    counts: list[int] = []
    seen: BaseException | None = error
    while seen is not None:
        frames = traceback.extract_tb(seen.__traceback__)
        counts.append(sum(f.filename.startswith(home) for f in frames))
        seen = seen.__cause__
    return sum(counts), counts[-1]


async def _fail(path: Path, in_a_thread: bool) -> tuple[int, int]:
    async with Engine(str(path)) as engine:
        try:
            await engine.run(flows.fails, in_a_thread)
        except segue.SegueError as error:
            return _ours(error)
    raise AssertionError("the flow did not fail")


def traceback_frames(plan: Plan) -> list[Figure]:
    """At most five frames of ours in the traceback of an error in a step."""
    figures: list[Figure] = []
    for in_a_thread in (False, True):
        with plan.scratch() as folder:
            whole, cause = asyncio.run(_fail(folder / "segue.db", in_a_thread))
        what = "an error in a plain step" if in_a_thread else "an error in an async step"
        figures.append(
            Figure(
                name="traceback", what=f"{what}: our frames, all parts", unit="frames", sample=Sample.of([whole]),
                goal=f"{FRAMES}", met=whole <= FRAMES, notes={"in the step's own error": cause},
            )
        )  # fmt: skip
    return figures

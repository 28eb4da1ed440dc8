"""The code in the README and the docs runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(page, i, code) for page in PAGES for i, code in enumerate(BLOCK.findall(page.read_text()))]


@pytest.mark.parametrize(("page", "number", "code"), BLOCKS, ids=[f"{p.stem}-{i}" for p, i, _ in BLOCKS])
def test_code_block_runs(page: Path, number: int, code: str, tmp_path: Path) -> None:
    """Each block is a program of its own."""
    script = tmp_path / f"block_{number}.py"
    script.write_text(code)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, f"{page.name}, block {number}:\n{done.stderr}"


def test_links_lead_somewhere() -> None:
    """Relative links of the pages name files that are there."""
    broken = [
        f"{page.name}: {target}"
        for page in [*PAGES, ROOT / "ARCHITECTURE.md"]
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []

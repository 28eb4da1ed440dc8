"""The code in the README and the docs runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import segue
from segue.core.faults import Fault, FaultKind
from segue.core.recovery import Again, AskPerson, Attempt
from tests.forked import Forked
from tools import api_reference

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(page, i, code) for page in PAGES for i, code in enumerate(BLOCK.findall(page.read_text()))]


@pytest.mark.parametrize(("page", "number", "code"), BLOCKS, ids=[f"{p.stem}-{i}" for p, i, _ in BLOCKS])
def test_code_block_runs(page: Path, number: int, code: str, tmp_path: Path) -> None:
    """Each block is a program of its own."""
    script = tmp_path / f"block_{number}.py"
    script.write_text(code)
    program = Forked("file", str(script), cwd=tmp_path, stderr="stdout")
    said, _ = program.communicate(timeout=50)
    assert program.returncode == 0, f"{page.name}, block {number}:\n{said}"


def test_the_example_of_a_step_that_asks_asks_nobody_after_a_mere_crash() -> None:
    (code,) = [code for page, _, code in BLOCKS if page.name == "operators.md" and "def ask_the_desk" in code]
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    for kind, answer in ((FaultKind.INTERRUPTED, Again), (FaultKind.UNREACHABLE, AskPerson)):
        fault = Fault(error="x", message="", kind=kind)
        assert isinstance(names["ask_the_desk"](fault, [Attempt(1, 1, 0.0, fault)], 0.5), answer)


def test_programs_are_guarded() -> None:
    """Nothing of a program runs when it is imported for a flow of it: its `asyncio.run` is under `__main__`."""
    shown = [
        (f"{page.name}, block {number}", code)
        for page in PAGES
        for number, code in enumerate(re.findall(r"^```py(?:thon)?\n(.*?)^```$", page.read_text(), re.M | re.S))
    ]
    files = [
        (str(file.relative_to(ROOT)), file.read_text())
        for folder in ("examples", "src")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ]
    runs = re.compile(r"^(?:\w+ = |\w+\()*(?:asyncio|anyio)\.run\(", re.MULTILINE)
    assert [name for name, code in shown + files if runs.search(code)] == []
    assert sum("asyncio.run(" in code for _, code in shown) >= 9


def test_links_lead_somewhere() -> None:
    """Relative links of the pages name files that are there."""
    broken = [
        f"{page.name}: {target}"
        for page in [*PAGES, ROOT / "ARCHITECTURE.md"]
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_public_names_are_documented() -> None:
    """Each public name stands on some page, as code."""
    text = "\n".join(page.read_text() for page in PAGES)
    missing = [name for name in segue.__all__ if not re.search(rf"[`(\[ @.]{name}\b", text)]
    assert missing == []


def test_all_is_what_can_be_imported() -> None:
    """`__all__`, the lazy homes and what the type checker sees are one list."""
    assert [getattr(segue, name) for name in segue.__all__]
    assert sorted(segue.__all__, key=str) == sorted(set(segue.__all__))
    assert set(segue.__all__) == set(segue._HOME)


def test_api_page_is_current() -> None:
    """docs/reference/api.md is what `python -m tools.api_reference` writes."""
    assert api_reference.PAGE.read_text() == api_reference.page()


def test_api_page_has_every_public_name() -> None:
    """No public name is left out of the page's groups."""
    assert {n for names in api_reference.GROUPS.values() for n in names} == set(segue.__all__)

"""Each benchmark runs: with sizes so small that its figures mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS, main


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_gives_its_figures_and_leaves_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--quick", "--json", "--dir", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures and all(f["median"] > 0 and f["least"] <= f["median"] <= f["most"] for f in figures)
    assert list(tmp_path.iterdir()) == []

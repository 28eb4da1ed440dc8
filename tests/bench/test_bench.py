"""Each benchmark runs: with sizes so small that its figures mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS, main
from bench.measure import Plan
from bench.small import storage


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_gives_its_figures_and_leaves_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--quick", "--json", "--dir", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures and all(f["median"] > 0 and f["least"] <= f["median"] <= f["most"] for f in figures)
    assert list(tmp_path.iterdir()) == []


def test_a_conversation_takes_little_more_than_its_payload(tmp_path: Path) -> None:
    """At its full size, since no machine is too slow for it."""
    figures = storage(Plan(folder=tmp_path))
    assert [f.what for f in figures if not f.met] == []

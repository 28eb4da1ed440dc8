"""The example of the five patterns: it runs, says the same each time, and shows all of them."""

from __future__ import annotations

import pytest

from examples import patterns as example
from segue.agent import patterns


async def test_the_example_shows_all_five_patterns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    await example.main()
    assert capsys.readouterr().out.splitlines() == [
        "voted: Rome (100% of the votes)",
        "debated: no, after 4 speeches",
        "planned: The paint for 40 square metres costs 90 euros. (walls by measure, paint by prices)",
        "improved: Cross with ease. (of 2, stopped: enough)",
        "digested: A bearing was changed, a crack is watched. (read in 4 pieces)",
    ]
    shown = {name for name in patterns.__all__ if getattr(example, name, None) is getattr(patterns, name)}
    assert {"vote", "debate", "plan_and_work", "improve", "map_reduce"} <= shown

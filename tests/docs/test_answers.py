"""The README's second example: it is the file that runs, with the real formats of both providers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from segue import Engine
from segue.agent import use_models
from segue.core.lifecycle import ENDED
from segue.errors import DefinitionError
from segue.testing.provider import Asked, Served, serve

ROOT = Path(__file__).parents[2]
LONG = "Thank you for writing. " * 30


def model(asked: Asked, reply: str) -> str:
    """It sorts well, and then says `reply`."""
    return reply if asked.schema is None else '"payment"'


@pytest.mark.parametrize("approved", [True, False])
async def test_the_example_sorts_climbs_and_asks(
    approved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small model sorts; what its check turns down climbs to the strong one; a person sees what is about money."""
    monkeypatch.setattr("segue.agent.gateway._config", None)  # others in this process have models of their own
    use_models(ROOT / "examples" / "answers.toml")
    from examples.answers import answer

    models = {
        "gpt-5.4-mini": Served(answer=lambda asked: model(asked, LONG)),
        "claude-sonnet-5": Served(answer=lambda asked: model(asked, "We pay it back.")),
    }
    async with serve(models) as provider:
        for name, value in (
            ("OPENAI_API_KEY", "any"), ("ANTHROPIC_API_KEY", "any"),
            ("OPENAI_BASE_URL", provider.openai_url), ("ANTHROPIC_BASE_URL", provider.url),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        async with Engine(str(tmp_path / "answers.db")) as engine:
            run = await engine.start(answer, "C-17", "I was charged twice.")
            while not (asked := await engine.inbox("team-lead")) and (await run.status()).state not in ENDED:
                await asyncio.sleep(0.01)
            assert asked, await run.result()
            await (asked[0].approve if approved else asked[0].deny)(by="ada")
            assert await run.result() == ("We pay it back." if approved else "A colleague will write to you.")
        whom = [entry.model for entry in provider.log]
    assert whom[1] == "gpt-5.4-mini" and whom[-1] == "claude-sonnet-5"  # who sorts is explored now and then


def test_the_readme_shows_the_example_as_it_is() -> None:
    """The code in the README stands in the file, word for word."""
    shown = re.findall(r"^```py\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    code = (ROOT / "examples" / "answers.py").read_text()
    assert shown and all(part.strip() in code for part in shown[0].split("\n\n\n"))


def test_a_process_has_one_file_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one would answer the flows of the first by other models."""
    monkeypatch.setattr("segue.agent.gateway._config", None)
    use_models(tmp_path / "a.toml")
    use_models(str(tmp_path / "a.toml"))
    with pytest.raises(DefinitionError, match=r"b\.toml.*have their models from .*a\.toml already"):
        use_models(tmp_path / "b.toml")


def test_a_file_of_models_is_the_same_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue.agent.gateway._config", None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    use_models("a.toml")
    monkeypatch.chdir("elsewhere")
    use_models(tmp_path / "a.toml")
    with pytest.raises(DefinitionError, match=r"already"):
        use_models("a.toml")

"""The local model: called in this process, off the loop, and gone when the process goes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelRequest

from segue.models import ContextTooLong, Request, UnknownModel
from segue.models.calls import call
from segue.models.errors import TooSlow
from segue.models.exchange import Call
from segue.models.local import complete, loaded
from segue.models.spec import local_models

ROOT = Path(__file__).parents[2]
LEAVE = """
import asyncio, sys
from segue.models import Request
from segue.models import local
from segue.models.local import complete

local._EXIT_S = float(sys.argv[1])

async def main():
    story = asyncio.ensure_future(complete(Request(model="smollm2", prompt="Tell a very long story.", max_tokens=2000)))
    await complete(Request(model="smollm2", prompt="Say hello.", max_tokens=1))
    print("at work" if not story.done() else "done", flush=True)
    sys.exit(3)

asyncio.run(main())
"""


async def test_it_answers_and_says_what_it_took(smollm2: str) -> None:
    done = await complete(Request(model=smollm2, prompt="Say hello.", max_tokens=12))
    assert done.text
    assert (done.model, done.finish in ("stop", "length")) == (smollm2, True)
    assert 0 < done.tokens_out <= 12
    assert done.tokens_in > 0
    assert done.seconds > 0
    assert loaded() == [smollm2]


async def test_the_same_seed_gives_the_same_words(smollm2: str) -> None:
    request = Request(model=smollm2, prompt="Name a colour.", max_tokens=8, temperature=1.0, seed=7)
    assert (await complete(request)).text == (await complete(request)).text


async def test_choices_and_schemas_are_kept_to(smollm2: str) -> None:
    chosen = await complete(Request(model=smollm2, prompt="What?", choices=["apple", "pear"], max_tokens=8))
    assert chosen.text in ("apple", "pear")
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    number = await complete(Request(model=smollm2, prompt="A number.", schema=schema, max_tokens=20))
    assert number.text in ('{"n":1}', '{"n":2}')


async def test_a_prefix_is_read_once(smollm2: str) -> None:
    first = Request(model=smollm2, prompt="Answer briefly. " * 20, input="one", max_tokens=2)
    await complete(first)
    again = await complete(Request(model=smollm2, prompt="Answer briefly. " * 20, input="two", max_tokens=2))
    assert again.tokens_cached > again.tokens_in / 2


async def test_a_request_that_is_too_long_is_named_so(smollm2: str) -> None:
    with pytest.raises(ContextTooLong, match="window 4096"):
        await complete(Request(model=smollm2, prompt="word " * 6000))


async def test_a_cancelled_call_stops_the_model(smollm2: str) -> None:
    call = asyncio.ensure_future(complete(Request(model=smollm2, prompt="Tell a very long story.", max_tokens=3000)))
    await complete(Request(model=smollm2, prompt="Say hello.", max_tokens=1)) if call.done() else await asyncio.sleep(
        0.3
    )
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    began = time.monotonic()
    await complete(Request(model=smollm2, prompt="Say hello.", max_tokens=1))
    assert time.monotonic() - began < 15


async def test_one_that_is_not_done_in_time_is_told_to_write_less(smollm2: str) -> None:
    model = local_models().get(smollm2)
    story = [ModelRequest.user_text_prompt("Tell a very long story.")]
    with pytest.raises(TooSlow) as slow:
        await call(Call(model=model, deployment=model.pool()[0], messages=story, timeout_s=0.05))
    assert "a smaller max_tokens" in (slow.value.remedy or "")


async def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownModel):
        await complete(Request(model="gpt", prompt="hello"))


@pytest.mark.parametrize("waits_s", [5.0, 0.0], ids=["it stops in time", "it is left at work"])
def test_an_exit_under_a_call_neither_hangs_nor_crashes(smollm2: str, waits_s: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVE, str(waits_s)], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (3, "")


def test_nothing_is_loaded_before_the_first_call() -> None:
    code = "import sys, segue.agent, segue.models.local; print('xllamacpp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == "False\n"

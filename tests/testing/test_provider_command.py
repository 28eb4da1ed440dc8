"""`python -m segue.testing.provider`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from segue.testing.provider.__main__ import main, model

COMMAND = (sys.executable, "-m", "segue.testing.provider")


@pytest.fixture
def running() -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    args = ("--json", "--model", "small:window=50,rpm=2", "--model", "large", "--fault", "large:server-error=1")
    with subprocess.Popen([*COMMAND, *args], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), process
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_it_serves_what_it_is_told(running: tuple[dict[str, Any], Any]) -> None:
    said = running[0]
    assert said["models"] == ["small", "large"]
    with httpx.Client(base_url=said["openai"], headers={"authorization": "Bearer k"}) as client:

        def ask(name: str, text: str = "hello") -> httpx.Response:
            return client.post(
                "/chat/completions", json={"model": name, "messages": [{"role": "user", "content": text}]}
            )

        assert [ask("small").status_code for _ in range(3)] == [200, 200, 429]
        assert ask("large").status_code == 500
        assert ask("small", "word " * 60).json()["error"]["code"] == "context_length_exceeded"
        counts = client.get(said["url"] + "/-/counts").json()
        assert (counts["small"]["answered"], counts["large"]["spoilt"]) == (2, 1)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model", "m:colour=3"], "has no field 'colour'; there are: window"),
        (["--model", "m:rpm=many"], "rpm is a number, not 'many'"),
        (["--model", "m:thinking=perhaps"], "thinking is true or false"),
        (["--fault", "nonsense=1"], "unknown fault 'nonsense'; there are: rate-limited"),
        (["--model", "m", "--fault", "n:cut=1"], "faults are given for n, but there are only: m"),
        (["--fault", "cut=2"], "at most 1 together"),
    ],
)
def test_a_wrong_command_line_is_refused(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert said in capsys.readouterr().err


def test_a_model_is_written_with_its_fields() -> None:
    name, served = model("m:window=9,token_s=0.5,thinking,cache=false")
    assert (name, served.window, served.token_s, served.thinking, served.cache) == ("m", 9, 0.5, True, False)

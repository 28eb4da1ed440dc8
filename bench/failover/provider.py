"""The provider: `python -m segue.testing.provider` as a process of its own, asked what it has seen."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from urllib.request import Request, urlopen

from ..child import ROOT
from .scene import Scene


class Provider:
    """`with Provider(scene, clients) as provider:`."""

    def __init__(self, scene: Scene, clients: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "segue.testing.provider", *scene.arguments(clients)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline() or "{}")
        if "openai" not in said:
            raise EOFError("the provider did not start: its error stands above")
        self.url, self._root = str(said["openai"]), str(said["url"])

    def counts(self) -> dict[str, dict[str, int]]:
        """What each model has seen."""
        return self._get("counts")

    def log(self, since: int) -> list[dict[str, Any]]:
        """The entries from that one on."""
        found: list[dict[str, Any]] = self._get(f"log?since={since}")
        return found

    def fail(self, model: str, trouble: str) -> None:
        """All its calls meet that, until it is healed."""
        self._post("fail", {"model": model, "trouble": trouble})

    def heal(self, model: str) -> None:
        """It is well again."""
        self._post("heal", {"model": model})

    def _get(self, what: str) -> Any:
        with urlopen(f"{self._root}/-/{what}", timeout=60) as said:
            return json.load(said)

    def _post(self, what: str, body: dict[str, str]) -> None:
        with urlopen(Request(f"{self._root}/-/{what}", json.dumps(body).encode()), timeout=60):
            pass

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()

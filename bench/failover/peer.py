"""litellm's Router, as its documentation recommends. Run by an interpreter that has litellm; nothing of Segue is here.

`num_retries`, `allowed_fails`, `cooldown_time`, `timeout` and fallbacks from each group to the others; `rpm`, `tpm` and
`max_parallel_requests` of each model, enforced by its pre-call check. It shares them between processes through Redis
only, so each process is given its part of them.
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from typing import Any

import litellm
from litellm import Router

from .lines import Answered, Client, serve


class Litellm:
    """One Router in one process."""

    def __init__(self, setup: dict[str, Any]) -> None:
        share = setup["processes"]
        names = list(setup["models"])
        self._setup = setup
        litellm.enable_json_schema_validation = bool(setup.get("validate"))
        group = setup.get("layout") == "group"
        self._router = Router(
            model_list=[_entry("any" if group else name, one, setup, share) for name, one in setup["models"].items()],
            fallbacks=[] if group else [{name: [n for n in names if n != name]} for name in names],
            num_retries=2,
            allowed_fails=3,
            cooldown_time=5,
            timeout=setup["timeout_s"],
            optional_pre_call_checks=["enforce_model_rate_limits"],
        )
        self._first = "any" if group else names[0]

    async def ask(self, prompt: str, schema: dict[str, Any]) -> Answered:
        """As the protocol says."""
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        try:
            got: Any = await self._router.acompletion(
                model=self._first, messages=[{"role": "user", "content": prompt}], response_format=wanted,
                max_tokens=self._setup["max_tokens"],
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  an ask without an answer
            return Answered(None, error=f"{type(error).__name__}: {error}"[:200])
        used: Any = getattr(got, "usage", None)
        into, out = (used.prompt_tokens or 0, used.completion_tokens or 0) if used else (0, 0)
        return Answered(got.choices[0].message.content or "", 0, into, out, into, out)

    async def close(self) -> None:
        """As the protocol says."""


def _entry(name: str, one: dict[str, Any], setup: dict[str, Any], share: int) -> dict[str, Any]:
    limits = one["limits"]
    return {
        "model_name": name,
        "litellm_params": {
            "model": f"openai/{one['id']}",
            "api_base": setup["url"],
            "api_key": os.environ[setup["key_env"]],
            "rpm": limits["rpm"] // share,
            "tpm": limits["tpm"] // share,
            "max_parallel_requests": limits["concurrency"] // share,
        },
    }


async def make(setup: dict[str, Any]) -> Client:
    """Make one."""
    return Litellm(setup)


if __name__ == "__main__":
    litellm.suppress_debug_info = True
    logging.disable(logging.CRITICAL)
    serve(make, f"litellm {version('litellm')}")

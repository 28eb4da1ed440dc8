"""Providers of models on loopback, in the formats of the real ones, with every fault that we know, on demand.

    models = {"small": Served(rpm=60), "large": Served()}
    async with serve(models, faults=FaultPlan(rates=mixed(0.3), seed=7)) as provider:
        client = AsyncOpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
        ...
        assert not provider.log.answered_twice()
        assert provider.counts("small").peak_admitted <= 60

It speaks OpenAI chat completions, responses and embeddings, Anthropic messages, and Google generateContent and
embeddings; and the batch APIs of OpenAI, Anthropic, Google, Mistral and Groq. `python -m segue.testing.provider` starts
one for other processes.
"""

from __future__ import annotations

from .batches import BatchTrouble
from .faults import BAD_OUTPUT, HANGING, HARMLESS, MIDWAY, MIXED, STATUS, TRANSIENT, FaultPlan, Faults, Trouble, mixed
from .log import Entry, Log, Outcome
from .meter import Counts
from .served import Served
from .server import Provider, serve
from .speech import Answer, Asked, Call, Finish, Tool, Turn

__all__ = [
    "BAD_OUTPUT", "HANGING", "HARMLESS", "MIDWAY", "MIXED", "STATUS", "TRANSIENT",
    "Answer", "Asked", "BatchTrouble", "Call", "Counts", "Entry", "FaultPlan", "Faults", "Finish", "Log", "Outcome",
    "Provider",
    "Served", "Tool", "Trouble", "Turn", "mixed", "serve",
]  # fmt: skip

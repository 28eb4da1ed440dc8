"""Several models in one workflow.

`python -m examples.answers "I was charged twice."` needs OPENAI_API_KEY and ANTHROPIC_API_KEY, or other models in
answers.toml: the flow says what it needs, the routes there say who answers, and either changes without the other.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Literal

from segue import Engine, ask, flow, step
from segue.agent import approve, use_models

use_models(Path(__file__).with_name("answers.toml"))

Topic = Literal["payment", "card", "other"]


@step
async def payments_of(customer: str) -> list[str]:
    """What is known of a customer's payments: any I/O belongs into a step."""
    return ["P-1 coffee 4.20 EUR, settled", "P-2 coffee 4.20 EUR, settled"]


def too_long(reply: str) -> str | None:
    return "it is longer than 60 words" if len(reply.split()) > 60 else None


@flow
async def answer(customer: str, message: str) -> str:
    """Sort a message, answer it, and let a person see what is said about money."""
    topic = await ask("What is this message about?", message, returns=Topic, kind="classify", route="sort")
    facts = await payments_of(customer) if topic == "payment" else []
    reply = await ask("Answer this customer.", message, facts, route="write", check=too_long, budget_usd=0.05)
    if topic == "payment" and not await approve("May this go out?", reply, by="team-lead", timeout_s=3600):
        return "A colleague will write to you."
    return reply


async def main(message: str) -> None:
    async with Engine("answers.db") as engine:
        run = await engine.start(answer, "C-17", message)
        print(f"segue show {run.id} --db answers.db    who was asked, and why")
        print("segue inbox --db answers.db    what waits for a person")
        print(await run.result())


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "I was charged twice for my coffee. Can I have my money back?"))

"""A worker in a process of its own, to be killed: `python -m tests.temporal.worker ADDRESS QUEUE`."""

from __future__ import annotations

import asyncio
import sys

from temporalio.client import Client

from tests.temporal import flows  # noqa: F401  registers its flows
from tests.temporal.face import worker


async def main(address: str, queue: str) -> None:
    await worker(await Client.connect(address), queue).run()


asyncio.run(main(*sys.argv[1:]))

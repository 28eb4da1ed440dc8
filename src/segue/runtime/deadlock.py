"""The error of a flow that waits for nothing durable."""

from __future__ import annotations

from ..errors import UnjournaledWork


def deadlock(run: str) -> UnjournaledWork:
    """What is raised at the flow's await: nothing that is on record will ever end it."""
    return UnjournaledWork(
        "the flow waits for something that no step, timer, signal or child will bring",
        run=run,
        remedy="look for an asyncio.Event, Queue or Future that nobody in the flow will ever set",
    )

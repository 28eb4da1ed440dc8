"""A batch: real messages from a CSV file (columns `text` and, if somebody has sorted them, `category`)."""

from __future__ import annotations

import csv
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from segue import Engine, Run

from .flows import Tally, desk_batch
from .records import Ticket, table
from .summary import of_batch


def read(path: Path, limit: int) -> list[Ticket]:
    """`limit` messages, evenly spread over the file: such files are often sorted."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("text") or "").strip()]
    topics: dict[str, str] = table("categories")
    count = min(limit, len(rows))
    chosen = [rows[i * len(rows) // count] for i in range(count)]
    return [
        Ticket(id=f"M-{n:04}", text=row["text"].strip(), kind="message", label=topics.get(row.get("category", ""), ""))
        for n, row in enumerate(chosen, 1)
    ]


async def work(screen: Console, engine: Engine, tickets: list[Ticket], ledger: str) -> None:
    """Start the batch or go on with it, show how far it is, and sum it up."""
    made_of = blake2b("\n".join(t.text for t in tickets).encode(), digest_size=4).hexdigest()
    run = await engine.start(desk_batch, tickets, ledger, id=f"batch-{len(tickets)}-{made_of}")
    screen.print(f"One run, [bold]{run.id}[/bold], with a child for each of {len(tickets)} messages.\n")
    await _follow(screen, run, len(tickets))
    tallies: list[Tally] = await run.result()
    status = await run.status()
    of_batch(screen, tallies, status.updated_at - status.created_at)


async def _follow(screen: Console, run: Run[Any], total: int) -> None:
    columns = (
        TextColumn("messages"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task("", total=total)
        async for event in run.events():
            if event.type == "child.ended":
                progress.advance(task)

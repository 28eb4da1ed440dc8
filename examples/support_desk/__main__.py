"""The demo: `python -m examples.support_desk [--all] [--ask] [--fresh] [--csv FILE --limit N]`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.prompt import Confirm

from segue import Engine, SegueError
from segue.agent import Approval
from segue.models import MODELS, has_weights

from . import batch, lead, summary
from .flows import desk
from .records import Ticket, table
from .watch import Board, Line, result_of

HANDFUL = 6
AT_ONCE = 3
_LOOK_S = 0.2
_OURS = "examples.support_desk."


def main() -> int:
    """Run the desk, or go on with it. Gives the exit status."""
    given, screen = _arguments(), Console(highlight=False)
    missing = [name for name, model in MODELS.items() if not has_weights(model)]
    if missing:
        screen.print(f"The weights of {' and '.join(missing)} are not here. Fetch them once: make weights")
        return 1
    try:
        return asyncio.run(_work(screen, given))
    except KeyboardInterrupt:
        screen.print("\nStopped. Nothing is lost: run it again and it goes on.")
        return 130
    except (SegueError, OSError) as error:
        screen.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.support_desk", description="A support desk on two small models."
    )
    parser.add_argument("tickets", nargs="*", metavar="TICKET", help="only these, such as T-04")
    parser.add_argument("--all", action="store_true", help=f"all tickets, not only {HANDFUL}")
    parser.add_argument("--ask", action="store_true", help="you are the team lead: decide the approvals yourself")
    parser.add_argument("--fresh", action="store_true", help="forget the earlier runs of the desk and begin anew")
    parser.add_argument("--db", type=Path, default=Path("support_desk.db"), metavar="PATH", help="the journal")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a batch over real messages: columns text, category")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="how many messages of FILE (default: 200)")
    return parser.parse_args()


async def _work(screen: Console, given: argparse.Namespace) -> int:
    ledger = f"{given.db}-ledger.jsonl"
    if given.fresh and given.db.exists():
        await _forget(given.db)
    async with Engine(str(given.db)) as engine:
        if given.csv is not None:
            await batch.work(screen, engine, batch.read(given.csv, given.limit), ledger)
            return 0
        lines = [Line(ticket) for ticket in _chosen(given)]
        for line in lines:
            await _find(engine, line)
        if not all(line.over for line in lines):
            _welcome(screen, given, lines)
            await _desk(screen, engine, lines, ledger, _by_hand(screen) if given.ask else lead.by_rule)
        summary.of_tickets(screen, lines)
        _farewell(screen, given)
        return 0 if all(line.resolution is not None for line in lines) else 1


def _chosen(given: argparse.Namespace) -> list[Ticket]:
    tickets = [Ticket(**row) for row in table("tickets")]
    if given.tickets:
        return [ticket for ticket in tickets if ticket.id in given.tickets]
    return tickets if given.all else tickets[:HANDFUL]


def _id(ticket: Ticket) -> str:
    return f"desk-{ticket.id}"


async def _find(engine: Engine, line: Line) -> None:
    """Take up the run of an earlier start, if there is one; also one that was set aside after many kills."""
    try:
        line.run = await engine.get(_id(line.ticket))
    except SegueError:
        return
    if (await line.run.status()).state == "stuck":
        await line.run.resume(by="the demo")
    await line.catch_up()


async def _desk(screen: Console, engine: Engine, lines: list[Line], ledger: str, decide: lead.Decide) -> None:
    """Keep a few tickets under way until all are done, and decide what they ask."""
    board, told = Board(lines), {line.ticket.id for line in lines if line.over}
    with Live(board, console=screen, refresh_per_second=8, transient=True) as live:
        while not all(line.over for line in lines):
            waiting = [line for line in lines if line.run is None]
            under_way = sum(line.run is not None and not line.over for line in lines)
            for line in waiting[: max(0, AT_ONCE - under_way)]:
                line.run = await engine.start(desk, line.ticket, ledger, id=_id(line.ticket))
            for line in lines:
                await line.catch_up()
                await _decide(line, decide, live)
            if not screen.is_terminal:
                _tell(screen, lines, told)
            await asyncio.sleep(_LOOK_S)


async def _decide(line: Line, decide: lead.Decide, live: Live) -> None:
    if line.run is None:
        return
    for asked in line.questions[:]:
        if decide is not lead.by_rule:
            live.stop()
        decision = await lead.answer(line.run, asked, decide)
        line.note = f"{'approved' if decision else 'denied'} by {decision.by}"
        line.questions.remove(asked)
        live.start()


def _tell(screen: Console, lines: list[Line], told: set[str]) -> None:
    """Without a terminal to draw on: a line for each ticket that is done."""
    for line in lines:
        if line.over and line.ticket.id not in told:
            told.add(line.ticket.id)
            screen.print(f"{line.ticket.id} {line.ticket.kind}: ", result_of(line))


def _by_hand(screen: Console) -> lead.Decide:
    def decide(question: str, evidence: dict[str, Any]) -> Approval:
        what = (
            f"{evidence['ticket']}, customer {evidence['customer']}, payment {evidence['payment']}: {evidence['why']}"
        )
        screen.print(f"\n[bold]{question}[/bold]  {what}")
        return Approval(approved=Confirm.ask("Approve?", console=screen, default=False), by="you")

    return decide


def _welcome(screen: Console, given: argparse.Namespace, lines: list[Line]) -> None:
    begun = sum(line.run is not None for line in lines)
    screen.print("[bold]Larch's support desk[/bold]  two small models in this process, no key, no network")
    screen.print("smollm2 sorts and drafts, gemma3 gives a second opinion; code checks what they say.", style="dim")
    if not given.ask:
        screen.print(
            f"Approvals are given by the demo's own team lead: {lead.RULE}. --ask lets you decide.", style="dim"
        )
    screen.print(f"Going on: {begun} tickets were begun before.\n" if begun else "")


def _farewell(screen: Console, given: argparse.Namespace) -> None:
    db = "" if given.db == Path("support_desk.db") else f" --db {given.db}"
    more = "" if given.all else f"All {len(table('tickets'))} tickets: --all.  "
    screen.print(
        f"\n{more}Begin anew: --fresh.  Look inside: segue show desk-T-01 --db {given.db}\n"
        f"Real messages: python -m examples.support_desk{db} --csv FILE --limit 200",
        style="dim",
        soft_wrap=True,
    )


async def _forget(db: Path) -> None:
    """Delete the journal and the ledger, if nothing but the desk's runs is in it."""
    async with Engine(str(db), recover=False) as engine:
        others = [run.id for run in await engine.runs(limit=100_000) if not run.flow.startswith(_OURS)]
    if others:
        raise OSError(
            f"{db} also holds other runs, such as {others[0]}: it is not deleted. Name another file with --db."
        )
    _delete(db)


def _delete(db: Path) -> None:
    for path in [db, *db.parent.glob(f"{db.name}-*")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())

"""What is on the screen while the desk works: read from the runs' journals, so that it is right after a restart too."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from segue import Run
from segue.core.events import Event

from .records import Resolution, Ticket, euros

_STAGES = {"find_": "looking up", "pay_back": "paying back"}
_ENDS = ("run.completed", "run.failed", "run.cancelled", "run.stuck")


@dataclass
class Line:
    """One ticket on the screen."""

    ticket: Ticket
    run: Run[Resolution] | None = None
    stage: str = "queued"
    topic: str = ""
    note: str = ""
    retries: int = 0
    began: float = 0.0
    ended: float = 0.0
    resolution: Resolution | None = None
    _seen: int = 0
    _asks: int = 0
    questions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Approvals that the journal asks for and has no decision on."""

    @property
    def over(self) -> bool:
        return self.ended > 0

    async def catch_up(self) -> None:
        """Read what is new in the run's journal."""
        if self.run is None or self.over:
            return
        async for event in self.run.events(self._seen, follow=False):
            self._seen = event.seq
            self._take(event)

    def _take(self, event: Event) -> None:
        name = (event.key or "").split("[")[0].rpartition("/")[2]
        body = json.loads(event.body or b"{}")
        self.began = self.began or event.at
        match event.type:
            case "run.started" if self._asks == 0:
                self.stage = "sorting"
            case "step.completed" if name == "ask":
                self._asks += 1
            case "step.completed":
                self.stage = next((s for n, s in _STAGES.items() if name.startswith(n)), self.stage)
                self.stage = "drafting" if name in ("find_policy", "pay_back") else self.stage
                if name == "find_policy":
                    self.topic = json.loads(event.args or b"{}")["topic"]
            case "attempt.failed":
                self.retries += 1
                self.note = f"{name} again"
            case "approval.asked":
                self.stage = "asking the team lead"
                self.questions.append(body)
            case "approval.decided":
                self.stage, self.note = "drafting", f"{body['verdict']} by {body['by']}"
                self.questions.clear()
            case "run.resumed":
                self.stage, self.ended, self.note = "going on", 0.0, ""
            case kind if kind in _ENDS:
                self.stage, self.ended = kind.removeprefix("run."), event.at
                self.note = str(body.get("fault", body).get("message", ""))
                self.resolution = Resolution.model_validate_json(event.value) if event.value else None
            case _:
                return


def author(done: Resolution) -> Text:
    """Who wrote the reply, and at which try."""
    if done.reply.by == "template":
        return Text("template", "yellow")
    tries = len(done.reply.mistakes) + 1
    return Text(done.reply.by, "green").append(f" ×{tries}" if tries > 1 else "", "dim")


def money(done: Resolution) -> Text:
    """What was paid back, in euros; a tick where it was approved."""
    if done.paid_cents:
        return Text(f"{done.paid_cents / 100:.2f}", "bold").append(" ✓" * done.decision.startswith("approved"), "green")
    return Text("denied" * done.decision.startswith("denied"), "red")


def result_of(line: Line) -> Text:
    """What came of a ticket, in a few words."""
    done = line.resolution
    if done is None:
        return Text(line.note, style="dim")
    text = Text("reply by ").append(author(done))
    if done.paid_cents:
        text.append(f", {euros(done.paid_cents)} paid back", style="bold")
    who = done.decision if done.decision.startswith(("approved", "denied")) else ""
    return text.append(f", {who}" if who else "", style="dim")


class Board:
    """All tickets, as a table that rich draws anew several times a second."""

    def __init__(self, lines: list[Line]):
        self.lines = lines
        self._spinner = Spinner("dots", style="cyan")
        self._began = time.monotonic()

    def __rich__(self) -> Group:
        grid = Table.grid(padding=(0, 2))
        for line in self._shown():
            grid.add_row(self._mark(line), line.ticket.id, Text(line.ticket.kind, "dim"), *self._middle(line))
        over = sum(line.over for line in self.lines)
        seconds = time.monotonic() - self._began
        foot = f"{over} of {len(self.lines)} done, {seconds:.0f} s. Kill it at any moment and run it again: it goes on."
        return Group(grid, Text(), Text(foot, style="dim"))

    def _shown(self) -> list[Line]:
        """With many tickets: those under way, and the last few that are done."""
        if len(self.lines) <= 12:
            return self.lines
        over = [line for line in self.lines if line.over]
        active = [line for line in self.lines if line.run is not None and not line.over]
        return [*over[-8:], *active]

    def _mark(self, line: Line) -> Spinner | Text:
        if line.over:
            return Text("✓", "green") if line.resolution is not None else Text("✗", "red")
        return Text("·", "dim") if line.run is None else self._spinner

    def _middle(self, line: Line) -> tuple[Text, Text, Text]:
        stage = "" if line.resolution is not None else line.stage
        return Text(line.topic), Text(stage, "cyan"), result_of(line)

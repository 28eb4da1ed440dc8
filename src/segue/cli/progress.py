"""Tells what a run does while it does it: a line for each thing that happened, and on a terminal what is under way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.short import short_key
from ..journal import RunRow, Switch
from .advice import held_by
from .below import Below
from .paint import Copyable, Drawn, Harmless, advised, emit, err, glyph
from .story import Call, Stand, Story
from .tree import came_of
from .waits import Say, wait
from .words import clock, due, duration, first_line, plural, printable, shorten

UNDER_WAY_MAX = 6
"""Calls under way that a terminal shows at once."""


_TOLD = frozenset(
    {
        EventType.STEP_COMPLETED,
        EventType.STEP_FAILED,
        EventType.ATTEMPT_FAILED,
        EventType.CHILD_STARTED,
        EventType.CHILD_DETACHED,
        EventType.CHILD_ENDED,
        EventType.SIGNAL_RECEIVED,
    }
)


class Progress:
    """Follows one run on stderr. Lines stay; on a terminal, what is under way stands below them and moves."""

    def __init__(
        self, row: RunRow, say: Say, *, console: Console | None = None, quiet: bool = False, leaves: bool = False
    ):
        self.row, self.story, self._say, self._quiet = row, Story(row.memo_seq, row.replaced), say, quiet
        self.console = console or err()
        self._leaves = leaves
        """Whether it is told at the end what the run waits for."""
        self._held: Switch | None = None
        self._told: set[str] = set()
        self._moved = False
        self._trouble = ""
        self._rests: dict[str, str] = {}
        """Children that do not move by themselves, with their states."""
        self._more = self._more_told = 0
        """How many more there were, and how many were told of."""
        self._first: dict[str, float] = {}
        """When a call that is not in the journal yet was first seen."""
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal and not self._quiet:
            self._live = Live(console=self.console, transient=True, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()
            self._live = None

    def open(self) -> None:
        """Say which run this is about."""
        if not self._quiet:
            emit(self.console, Text(printable(self.row.id), "bold").append(f"  {printable(self.row.flow)}", "dim"))

    def skip(self, events: Iterable[Event]) -> None:
        """Take in what happened before, without a word."""
        for event in events:
            self.story.add(event)

    def tell(self, events: Iterable[Event]) -> None:
        """Take in and print what has happened."""
        for event in events:
            self.story.add(event)
            if not self._quiet:
                emit(self.console, *self._lines(event))
            self._moved = True

    def say(self, said: str) -> None:
        """Print a line of this process's own."""
        if not self._quiet:
            emit(self.console, Text(f"{' ' * 10}· {said}", "dim"))

    def trouble(self, error: Exception | None) -> None:
        """Say once why writes wait, and that they go on."""
        said = "" if error is None else first_line(getattr(error, "message", str(error)))
        if said != self._trouble:
            self.say(f"waits for the database: {said}" if said else "the database can be written again")
        self._trouble = said

    def held(self, switch: Switch | None) -> None:
        """Say once which switch holds the run, and that it goes on."""
        if switch != self._held and not self._quiet:
            if switch is None:
                self.say("it goes on")
            else:
                emit(self.console, *advised([held_by(switch, self.row.id, self._say)]))
        self._held = switch

    def waits(self) -> None:
        """Say what a run waits for that was parked before it was looked at."""
        if not self._quiet:
            emit(self.console, *self._waiting(time.time()))

    def below(self, found: Below) -> None:
        """Say once of each child that does not move by itself what it waits for, and what helps; of more of them how
        many there are, once they do not grow.
        """
        self._rests = {one.row.id: one.row.state for one in found.named}
        for one in found.named:
            said = f"{one.row.id} {' '.join(advice.says for advice in one.says)}"
            if said not in self._told and not self._quiet:
                self._told.add(said)
                emit(self.console, Text(f"Its child {printable(one.row.id)}:"), *advised(one.says))
        if found.more == self._more and found.more > self._more_told and not self._quiet:
            self._more_told = found.more
            emit(self.console, *advised(found.others))
        self._more, self._more_told = found.more, self._more_told if found.more else 0

    def advise(self, command: Copyable) -> None:
        """Print a command that helps."""
        if not self._quiet:
            emit(self.console, command)

    def under_way(self, waits: Sequence[dict[str, Any]] | None = None) -> None:
        """Draw anew what is open; `waits` is what a run in this process says itself."""
        if self._live is not None:
            self._live.update(Harmless(self._table(waits)))

    def _lines(self, event: Event) -> list[Drawn]:  # noqa: PLR0911  one line a kind
        if event.type == EventType.SIGNAL_REJECTED:
            return [self._rejected(event)]
        signal = event.type == EventType.SIGNAL_RECEIVED
        call = self.story.calls.get(f"{event.key}@{event.seq}" if signal else event.key or "")
        if call is not None and self._worth_a_line(event.type, call):
            return [self._line(event, call)]
        match event.type:
            case EventType.RUN_PARKED:
                return self._waiting(event.at)
            case EventType.RUN_STARTED if self.story.starts > 1 and not self._moved:
                return [self._plain(event, f"goes on after {plural(event.seq - 1, 'event')}")]
            case EventType.RUN_CONTINUED:
                return [self._plain(event, f"goes on as new: part {self.story.part + 1}")]
            case EventType.RUN_PAUSED:
                return [self._plain(event, f"paused by {printable(self.story.paused_by)}")]
            case EventType.RUN_CANCELLING:
                by = f" ({printable(self.story.cancelled_by)})" if self.story.cancelled_by else ""
                return [self._plain(event, f"is being cancelled{by}")]
            case _:
                return []

    def _rejected(self, event: Event) -> Text:
        body = loads(event.body)
        said = f"signal {body.get('signal')} was not taken: {body.get('why')}"
        return Text(f"{clock(event.at, event.at)}  ", "dim").append(f"✗ {printable(said)}", "yellow")

    def _worth_a_line(self, kind: str, call: Call) -> bool:
        if kind == EventType.TIMER_SET:
            return call.why == "sleep"
        if kind in (EventType.TIMER_FIRED, EventType.STEP_CANCELLED):
            return (call.kind == "timer") == (kind == EventType.TIMER_FIRED)
        return kind in _TOLD

    def _plain(self, event: Event, said: str) -> Text:
        return Text(f"{clock(event.at, event.at)}  ", "dim").append(f"· {said}", "dim")

    def _line(self, event: Event, call: Call) -> Text:
        line = Text(f"{clock(event.at, event.at)}  ", "dim", no_wrap=True, overflow="ellipsis")
        line.append_text(Text("▸", "cyan") if call.kind == "signal" else glyph(call.stand)).append(" ")
        name = f"signal {call.key}" if call.kind == "signal" else shorten(short_key(call.key), 60)
        line.append(printable(name))
        if call.stand is Stand.DONE and call.kind == "step" and call.began is not None and call.ended is not None:
            line.append(f"  {duration(call.ended - call.began)}", "dim")
        if event.type == EventType.ATTEMPT_FAILED:
            line.append(f"  attempt {event.attempt or 1}", "dim")
        return line.append("  ").append_text(came_of(call, event.at, width=80))

    def _waiting(self, at: float) -> list[Drawn]:
        drawn: list[Drawn] = []
        for one in [] if self._leaves else self.story.waits:
            if "signal" in one and str(one.get("key")) not in self._told:
                self._told.add(str(one.get("key")))
                drawn += advised([wait(one, self.row.id, at, self._say)])
        return drawn

    def _table(self, waits: Sequence[dict[str, Any]] | None) -> Group:
        now = time.time()
        rows = self._open(now, waits)
        table = Table.grid(padding=(0, 1))
        table.add_column(width=9)
        table.add_column(width=1)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for sign, text in rows[:UNDER_WAY_MAX]:
            table.add_row("", sign, text)
        more = len(rows) - UNDER_WAY_MAX
        done = Text(f"          {plural(self.story.done, 'call')} done", "dim")
        if more > 0:
            done.append(f", {more} more under way", "dim")
        return Group(table, done)

    def _open(self, now: float, waits: Sequence[dict[str, Any]] | None) -> list[tuple[Any, Text]]:
        spinner = Spinner("dots", style="cyan")
        spinner.start_time = 0.0
        rows: list[tuple[Any, Text]] = []
        seen: set[str] = set()
        for call in self.story.calls.values():
            if call.open:
                seen.add(call.key)
                rests = self._rests.get(call.child or "")
                runs = call.stand is Stand.RUNNING and rests is None
                rows.append((spinner if runs else glyph(rests or call.stand), self._open_line(call, now)))
        for one in self.story.waits if waits is None else waits:
            key = str(one.get("key", ""))
            if key in seen:
                continue
            began = self._first.setdefault(key, now)
            if "signal" in one:
                rows.append((glyph("waiting"), Text(f"signal {printable(str(one['signal']))}")))
            elif "step" in one:
                text = Text(shorten(short_key(key), 60)).append(f"  {duration(now - began)}", "dim")
                rows.append((spinner, text))
        return rows

    def _open_line(self, call: Call, now: float) -> Text:
        text = Text(printable(shorten(short_key(call.key), 60)))
        if call.due_at is not None:
            return text.append(f"  {due(call.due_at, now)}", "yellow")
        began = call.began if call.began is not None else now
        return text.append(f"  {duration(now - began)}", "dim")

"""`segue watch` and `segue events`: what happens in a run, while it happens or afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

from rich.text import Text

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.faults import Fault
from ..core.lifecycle import ENDED, RunState
from ..core.shell import command
from ..core.short import short_key
from ..errors import InputError
from ..journal import RunRow
from ..journal.reading import Reader
from ..runtime.ending import asked_to_end
from .exits import OF_STATE, Exit
from .outputs import of_runs
from .paint import Copyable, emit, out
from .progress import Progress
from .shelf import parsed, reading, standing_of
from .tree import shown
from .words import clock, first_line, printable, value

POLL_S = 0.1
HISTORY = 20
"""Events before its beginning that `watch` prints."""


def events(db: str, run: str, *, after: int, kind: str | None, follow: bool, as_json: bool) -> Exit:
    """Print a journal, line by line."""
    with reading(db) as reader:
        row = reader.get(run)
        if kind is not None:
            _check_type(reader, kind)
        for event in _tail(reader, row, after, follow):
            if kind is None or event.type == kind or event.type.startswith(f"{kind}."):
                _print_event(row.id, event, as_json)
    return Exit.DONE


def _check_type(reader: Reader, kind: str) -> None:
    """Raises InputError for a type that no event has: it is one of ours, its first word, or one of a later Segue's."""
    known = [t.value for t in EventType]
    if kind in known or kind in {t.partition(".")[0] for t in known}:
        return
    if not reader.query("select 1 from events where type = ? limit 1", (kind,)):
        raise InputError(
            f"--type {kind}: no such type of event", remedy=f"one of these, or its first word: {', '.join(known)}"
        )


def _tail(reader: Reader, row: RunRow, after: int, follow: bool) -> Iterator[Event]:
    reader.input_of(row)  # without it the rest would look well
    while True:
        ended = reader.get(row.no).state in ENDED
        for event in reader.events(row, after):
            after = event.seq
            yield event
        if ended or not follow:
            return
        _sleep(reader)


def _sleep(reader: Reader) -> None:
    """Until the next look. Raises StoreMissing when the file was taken away: nothing more would ever come."""
    time.sleep(POLL_S)
    reader.check_file()


def _print_event(run: str, event: Event, as_json: bool) -> None:
    if as_json:
        body = {k: v for k, v in event._asdict().items() if v is not None}
        body |= {"run": run} | {k: parsed(body[k]) for k in ("body", "args", "value") if k in body}
        print(json.dumps(body, ensure_ascii=False), flush=True)
        return
    line = Text(f"{event.seq:>5}  ", "dim", no_wrap=True, overflow="ellipsis")
    line.append(f"{clock(event.at, time.time())}  ", "dim").append(f"{event.type:<17}")
    line.append(f"  {printable(short_key(event.key))}" if event.key else "")
    line.append(f"  attempt {event.attempt}" if event.attempt and event.attempt > 1 else "", "yellow")
    detail = _detail(event)
    line.append(f"  {detail}" if detail not in ("", "{}") else "", "dim")
    emit(out(), line)


def _detail(event: Event) -> str:
    """What an event holds, in a few words: the error of a fault, else its value or its body."""
    fault = loads(event.body).get("fault")
    if fault is not None:
        found = Fault.read(fault)
        return f"{found.error.rpartition(':')[2]}: {first_line(found.message, 160)}"
    return value(event.value if event.value is not None else event.body, 160)


def watch(db: str, run: str, as_json: bool) -> Exit:
    """Follow a run until it ends or is set aside."""
    say = command
    with reading(db) as reader:
        row = reader.get(run)
        ending = asked_to_end(reader, row, attended=reader.attended())
        with Progress(row, say, quiet=as_json, leaves=ending is not None) as progress:
            if ending is not None:
                progress.say(f"it is {printable(ending.message)}")
            row = _watch(reader, row, progress, as_json)
        standing = standing_of(reader, row, progress.story)
    if not as_json:
        with of_runs(OF_STATE[row.state], as_json=False, run=row.id):
            emit(out(), *shown(standing, time.time(), say))
    return OF_STATE[row.state]


def _left_alone(reader: Reader, row: RunRow) -> bool:
    """Whether it could go on, and nobody is there to do so."""
    if reader.attended() or row.paused:
        return False
    due = row.wake_at is not None and row.wake_at <= time.time()
    return row.state in (RunState.RUNNING, RunState.QUEUED) or due or bool(reader.items_of(row.no))


def _watch(reader: Reader, row: RunRow, progress: Progress, as_json: bool) -> RunRow:
    told = list(reader.events(row))
    progress.skip(told[:-HISTORY])
    fresh: Iterable[Event] = told[-HISTORY:]
    warned = False
    while True:
        progress.tell(fresh)
        if as_json:
            for event in told:
                _print_event(row.id, event, as_json=True)
        if row.state in ENDED or (row.state == RunState.STUCK and not reader.items_of(row.no)):
            return row
        if not warned and _left_alone(reader, row):
            warned = True
            progress.say("no process carries it out; this goes on watching")
            progress.advise(Copyable(command("resume", row.id), "to go on with it"))
        progress.under_way()
        _sleep(reader)
        row = reader.get(row.no)
        fresh = told = list(reader.events(row, progress.story.last_seq))

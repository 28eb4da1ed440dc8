"""What a terminal of 40, 80 and 120 columns shows: nothing wider, nothing that steers it, the same each time."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from segue.cli.advice import Standing, advise
from segue.cli.checking import drawn as drawn_verdict
from segue.cli.inbox import table as inbox_table
from segue.cli.inbox import whole
from segue.cli.listing import table
from segue.cli.paint import Copyable, Drawn, advised, emit, failure
from segue.cli.progress import Progress
from segue.cli.story import Story
from segue.cli.tree import one_call, shown
from segue.core.asked import Said
from segue.core.codec import dumps
from segue.core.events import Event, EventType
from segue.core.shell import command
from segue.errors import RunStuck, StoreLocked
from segue.journal import RunRow
from segue.runtime.check import Finding, Verdict
from segue.runtime.questions import InboxItem

NOW = 1_700_000_000.0
SAY = command
LONG = "a very long text \x1b[31m with colours \x07 " * 8
FAULT = {
    "kind": "bug", "error": "mine:Closed", "message": LONG,
    "trace": f'Traceback (most recent call last):\n  File "/app/m.py", line 3, in f\n    g()\nmine.Closed: {LONG}',
}  # fmt: skip


def row(state: str = "parked", **given: object) -> RunRow:
    made = RunRow(
        1, "order-7 " + "x" * 30, "default", "shop.orders:review", None, 2, "", "", state, {}, None, 1, None, False,
        None, None, None, 0, {}, NOW - 90, NOW - 3,
    )  # fmt: skip
    return made._replace(**given)


def event(seq: int, type_: str, key: str | None = None, *, value: object = None, **body: object) -> Event:
    data = None if value is None else dumps({"v": value})
    return Event(
        1, seq, 1, NOW - 80 + seq, type_, 1, key, 1, 1, NOW - 80 + seq / 2, dumps(body), dumps({"q": LONG}), data
    )


def story(branches: int = 3) -> Story:
    events = [event(1, EventType.RUN_ACCEPTED, flow="f")]
    for i in range(branches):
        events.append(event(2 + i, EventType.STEP_COMPLETED, f"gather#1/{i}/fetch[0123456789ab]#1", value=LONG))
    events += [
        event(80, EventType.STEP_FAILED, "pay[order-7 über €]#1", fault=FAULT),
        event(81, EventType.ATTEMPT_FAILED, "ask[0123456789ab]#2", fault=FAULT, retry_at=NOW + 30),
        event(82, EventType.TIMER_SET, "timeout#1", due_at=NOW + 4000, why="timeout"),
        event(83, EventType.CHILD_STARTED, "child[0123456789ab]#1", run="order-7/child[0123456789ab]#1"),
        event(84, EventType.ATTEMPT_STARTED, "slow#1"),
        event(85, EventType.SIGNAL_RECEIVED, "approved", value=True, by="ann"),
        event(
            86, EventType.RUN_PARKED, waits_on=[{"signal": "go", "key": "wait[go]#1"}, {"sleep": NOW + 9, "key": "s"}]
        ),
    ]
    return Story.of(events, row())


def item(kind: str = "escalation", **given: object) -> InboxItem:
    said = (
        Said("reminded", "segue", NOW - 3600, to=("till",)), Said("refused", "bob", NOW - 60, f"zip: {LONG}"),
        Said("reassigned", "ann", NOW - 30, "on holiday", to=("eve", "bob")),
    )  # fmt: skip
    schema = {"type": "object", "required": ["zip"], "properties": {
        "zip": {"type": "integer", "minimum": 1000}, "note": {"type": "string", "description": LONG}}}  # fmt: skip
    made: dict[str, object] = {
        "id": "3f9a21c4", "run": "order-7 " + "x" * 30, "flow": "shop.orders:review", "tenant": "default",
        "key": "escalate[0123456789ab]#1", "name": "escalate:x#1", "kind": kind, "question": "Over? " + LONG,
        "to": ("eve", "bob"), "asked_at": NOW - 7200, "bound": "c26d1698a59e" * 3, "shown": {"about": LONG},
        "story": [{"what": "charge[0123456789ab]#1", "attempts": 3, "error": LONG}, {"model": "m", "text": LONG}, "x"],
        "form": None if kind == "approval" else schema, "due_at": NOW + 900, "default": {"answer": 7},
        "remind_at": (NOW - 3600, NOW + 600), "reassign_at": (NOW + 700,), "or_else": ("the manager",), "history": said,
    }  # fmt: skip
    return InboxItem(**(made | given))  # type: ignore[arg-type]


ITEMS = [
    item(), item("approval", id="a1b2c3d4", question="Pay?", to=(), due_at=None),
    item("form", due_at=NOW - 5, to=("lead",)),
    item("other", id="00112233", question="charge failed 3 times; what now?", due_at=NOW + 90_000, to=("ops",)),
]  # fmt: skip


def ended() -> Story:
    made = story()
    made.add(event(90, EventType.RUN_FAILED, fault=FAULT))
    return made


def answers() -> Story:
    one = {"model": "small", "error": f"not sure: {LONG}", "fault": "bad-output", "text": "x", "tokens_in": 1300,
           "tokens_out": 2, "cost_nano": 0, "seconds": 0.42}  # fmt: skip
    last = {**one, "model": "large", "error": "", "fault": "", "seconds": 61.0}
    tools = [{"id": "c1", "name": "find", "args": '{"id": 7}'}, {"id": "c2", "name": "pay", "args": "{}"}]

    def done(seq: int, key: str, value: object) -> Event:
        return event(seq, EventType.STEP_COMPLETED, key)._replace(value=dumps(value))

    events = [
        done(1, "ask[0123456789ab]#1", {"value": LONG, "tried": [one, last], "said": None, "calls": []}),
        done(2, "ask#1/ask[ab]#1", {"value": None, "tried": [last], "said": {}, "calls": tools}),
        done(3, "ask[00]#1", "a word that somebody gave in its place"),
        done(4, "lookup[01]#1", {"value": 1, "tried": [one], "said": None, "calls": []}),
    ]
    return Story.of(events, row("completed"))


STATES = ("parked", "stuck", "completed")
STUCK = {"reason": "unknown effect", "message": LONG, "key": "pay[order-7 über €]#1", "remedy": "find out"}
SCREENS: dict[str, Callable[[int], list[Drawn]]] = {
    "show": lambda width: shown(Standing(row=row(), story=story(50)), NOW, SAY),
    "show-full": lambda width: shown(Standing(row=row(), story=story()), NOW, SAY, full=True),
    "show-failed": lambda width: shown(Standing(row=row("failed"), story=ended()), NOW, SAY),
    "show-stuck": lambda width: shown(Standing(row=row("stuck", detail=STUCK), story=story()), NOW, SAY),
    "show-paused": lambda width: shown(Standing(row=row("running", paused=True), story=story()), NOW, SAY),
    "call": lambda width: one_call(story().calls["pay[order-7 über €]#1"], NOW),
    "show-answers": lambda width: shown(Standing(row=row("completed"), story=answers()), NOW, SAY),
    "answer": lambda width: one_call(answers().calls["ask[0123456789ab]#1"], NOW),
    "answer-tools": lambda width: one_call(answers().calls["ask#1/ask[ab]#1"], NOW),
    "runs": lambda width: [table([Standing(row=row(s), story=story()) for s in STATES], [1, 2, 12345], NOW, width)],
    "inbox": lambda width: [inbox_table(ITEMS, NOW, width)],
    "question": lambda width: whole(item(), NOW, SAY),
    "question-approval": lambda width: whole(item("approval", story=[], history=(), shown={"cents": 5}), NOW, SAY),
    "error": lambda width: failure(RunStuck(LONG, run="r1", key="a#1", remedy=LONG)),
    "advice": lambda width: advised(advise(Standing(row=row("running"), story=story()), NOW, SAY)),
    "verdict": lambda width: drawn_verdict(
        Verdict(
            run="r1", flow="m:f", state="parked", finding=Finding.MISMATCH, message=LONG, remedy=LONG, orphans=("a#1",)
        )
    ),
}


def screen(name: str, width: int) -> list[str]:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    emit(console, *SCREENS[name](width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_fits_its_terminal(name: str, width: int) -> None:
    commands = {f"  {c.command}" for c in SCREENS[name](width) if isinstance(c, Copyable)}
    for line in screen(name, width):
        assert cell_len(line) <= width or line.rstrip() in commands, line
        assert line.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", sorted(SCREENS.keys() - {"show-full"}))
def test_the_screen_of_80_columns_is_as_it_was(name: str) -> None:
    """Kept files show what people see: look at the difference before you write them anew with SCREENS=write."""
    kept = Path(__file__).with_name("screens") / f"{name}.txt"
    now = "".join(f"{line.rstrip()}\n" for line in screen(name, 80))
    if os.environ.get("SCREENS") == "write":
        kept.write_text(now)
    assert now == kept.read_text()


def test_progress_lines_fit_and_end_with_the_run() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with Progress(row(), SAY, console=console) as progress:
        progress.open()
        progress.tell([event(1, EventType.RUN_ACCEPTED), event(2, EventType.STEP_COMPLETED, "a#1", value=LONG)])
        progress.tell([event(3, EventType.STEP_FAILED, "b#1", fault=FAULT)])
        progress.under_way([{"signal": "go", "key": "w"}, {"step": "c#1", "key": "c#1"}])
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue().replace("\x1b[2K", "")
    lines = [line for line in text.splitlines() if "a  " in line or "b  " in line]
    assert len(lines) == 2 and all(cell_len(line) <= 80 and line.rstrip().endswith("…") for line in lines)


def test_trouble_with_the_database_is_said_once_and_when_it_is_over() -> None:
    console = Console(file=io.StringIO(), width=80)
    progress = Progress(row(), SAY, console=console)
    for error in (None, StoreLocked("segue.db: locked"), StoreLocked("segue.db: locked"), None, None):
        progress.trouble(error)
    assert isinstance(console.file, io.StringIO)
    assert [line.strip() for line in console.file.getvalue().splitlines()] == [
        "· waits for the database: segue.db: locked",
        "· the database can be written again",
    ]


@pytest.mark.parametrize("reason", ["unknown effect", "mismatch"])
def test_each_effect_in_doubt_has_its_commands(reason: str) -> None:
    detail = {"reason": reason, "message": "m", "key": "pay#1"}
    doubts = {"pay#1": "its process ended", "ship#1": "its process ended"}
    said = Story.of([event(1, EventType.RUN_STUCK, **detail, unknown=doubts)._replace(version=2)], row())
    (one,) = advise(Standing(row=row("stuck", id="r", detail=detail), story=said), NOW, SAY)
    assert one.do[-4:] == (
        ("segue override r 'pay#1' --result JSON", "if pay was applied"),
        ("segue override r 'pay#1' --retry", "if pay was not"),
        ("segue override r 'ship#1' --result JSON", "if ship was applied"),
        ("segue override r 'ship#1' --retry", "if ship was not"),
    )
    assert len(one.do) == (4 if reason == "unknown effect" else 6)


@pytest.mark.parametrize(("width", "told"), [(200, "--value '{"), (40, "--value @FILE")])
def test_an_answer_longer_than_the_line_is_proposed_as_a_file(
    width: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue.cli.inbox.out", lambda: Console(width=width))
    (line,) = [one for one in screen("question", 200) if "segue answer" in one]
    assert told in line

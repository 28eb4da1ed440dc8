"""Small things that a reader stumbles over."""

from __future__ import annotations

import io
import json

from rich.console import Console
from rich.table import Table

from segue.cli.columns import Middle
from segue.cli.paint import emit, failure
from segue.errors import ConfigError, UnknownRun
from tests.cli.terminal import Terminal


def shown(*drawn: object) -> str:
    file = io.StringIO()
    emit(Console(file=file, width=60), *drawn)  # pyright: ignore[reportArgumentType]  whatever can be drawn
    return file.getvalue()


def test_names_that_differ_at_their_ends_stay_apart_where_there_is_no_room() -> None:
    table = Table(box=None)
    table.add_column("scope")
    table.add_column("spent", no_wrap=True)
    for end in ("pay", "extract"):
        table.add_row(Middle(f"ask:customer-4711/turn-12/gather#1/0/agent[payer]/{end}"), "0.000001 and 0.000002")
    rows = shown(table).splitlines()[1:]
    assert len(rows) == 2 and all("…" in row and row.startswith(" ask:customer") for row in rows)
    assert "/pay " in rows[0] and "/extract " in rows[1]


def test_all_lines_of_a_message_stand_under_its_sign() -> None:
    assert shown(*failure(ConfigError("2 mistakes\nline 1: a\nline 2: b"))).splitlines()[:3] == [
        "✗ 2 mistakes", "  line 1: a", "  line 2: b",
    ]  # fmt: skip


def test_a_run_that_there_is_not_is_named_once() -> None:
    assert shown(*failure(UnknownRun("no run 'r' in x.db", run="r", remedy="look"))).count("r'") == 1
    assert "at  run r" not in shown(*failure(UnknownRun("no run 'r' in x.db", run="r", remedy="look")))


def test_what_a_bulk_command_has_not_done_it_says(terminal: Terminal) -> None:
    terminal.segue("run", "shop:asks", "-i", '"q"', "--id", "r", "--detach")
    refused = terminal.segue("cancel", "--where", "state=queued")
    assert "✗ 1 run would be asked to end, and nobody is here to say yes: nothing was done" in refused.err
    assert terminal.segue("cancel", "--where", "state=queued", "--yes", "--by", "root").code == 0
    terminal.segue("resume", "r", "--patience-s", "0")
    assert "Cancelled by root" in terminal.segue("show", "r").out


def test_a_run_that_waits_says_in_json_what_helps(terminal: Terminal) -> None:
    terminal.segue("run", "shop:asks", "-i", '"q"', "--id", "r", "--detach")
    done = terminal.segue("resume", "r", "--patience-s", "0", "--json")
    assert json.loads(done.err.splitlines()[-1])["error"]["remedy"] == "segue signal r answer --payload JSON"


def test_a_share_is_no_number_of_times(terminal: Terminal) -> None:
    folder = terminal.folder / "prompts" / "extract"
    folder.mkdir(parents=True)
    for version in ("v1", "v2"):
        (folder / f"{version}.md").write_text("Extract.")
    assert "a share is from 0 to 1" in terminal.segue("prompts", "set", "extract", "v1=2").err
    gone = terminal.segue("prompts", "pin", "extract", "v9").err
    assert "no version 'v9'; it has: v1, v2" in gone and "name one of those, or write" in gone

"""Columns that give way: in a narrow terminal names are cut and notes go beneath, and numbers stay whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .paint import PIPE_WIDTH
from .words import printable


def cut(text: str, style: str = "") -> Text:
    """A name, for a column that may wrap: where there is no room it is cut, in one line. What stands beside it in
    columns that do not wrap stays whole.
    """
    return Text(printable(text), style, no_wrap=True, overflow="ellipsis")


class Noted:
    """A table with a note on each row: in its last column, or beneath it where the terminal is too narrow for that."""

    def __init__(self, table: Callable[[bool], Table], notes: Sequence[tuple[str, RenderableType]]):
        """`table` makes it, with the notes or without; `notes` are they, each with the name of its row."""
        self.table, self.notes = table, notes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich asks for this."""
        whole = self.table(True)
        if console.measure(whole, options=options.update(max_width=PIPE_WIDTH)).maximum <= options.max_width:
            yield whole
        else:
            yield self.table(False)
            beneath = Table.grid(padding=(0, 2, 0, 0))
            for name, note in self.notes:
                beneath.add_row(cut(name, "dim"), note)
            yield Padding(beneath, (0, 0, 0, 3), expand=False)

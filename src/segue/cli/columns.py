"""Columns that give way: in a narrow terminal names are cut and notes go beneath, and numbers stay whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
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


class Middle:
    """A name whose beginning and end tell it from others: where there is no room it is cut in its middle."""

    def __init__(self, text: str, style: str = ""):
        self.text, self.style = printable(text), style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Rich asks for this."""
        return Measurement(min(8, cell_len(self.text)), cell_len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich asks for this."""
        text, width = self.text, options.max_width
        if cell_len(text) > width:
            head = set_cell_size(text, (width - 1) // 2).rstrip()
            tail = next(text[at:] for at in range(len(text)) if cell_len(text[at:]) <= width - 1 - cell_len(head))
            text = f"{head}…{tail}"
        yield Text(text, self.style, no_wrap=True)


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

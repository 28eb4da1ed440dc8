"""Figures for people: one calm table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .measure import Figure, Sample

Tell = Callable[[str], None]
Advance = Callable[[int, int, str], None]


def number(value: float) -> str:
    """Three digits that matter."""
    if value and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


@contextmanager
def progress(console: Console) -> Iterator[tuple[Tell, Advance]]:
    """What is measured now, and how far a long benchmark is."""
    bar = Progress(
        TextColumn("[dim]{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("floor", total=None)

        def tell(name: str) -> None:
            bar.update(task, description=name, total=None, completed=0)

        def advance(done: int, total: int, what: str) -> None:
            bar.update(task, description=what, total=total, completed=done)

        yield tell, advance


def show(console: Console, figures: list[Figure], floors: dict[str, Sample], machine: str) -> None:
    """The table, with notes under its lines, and below it how steady the floors were."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", min_width=40, ratio=1)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("floor", justify="right", no_wrap=True, style="dim")
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("goal", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for figure in figures:
        table.add_row(*_row(figure))
    console.print(table)
    for name, sample in floors.items():
        between = f"{number(sample.least)} to {number(sample.most)}"
        console.print(f"[dim]floor: {number(sample.median)} {name}, {between}, × {sample.most / sample.least:.1f}")
    console.print(
        f"[dim]{machine}. Medians, the range of the repeats below; ratios are to the floor around each repeat."
    )


def _row(figure: Figure) -> tuple[str, ...]:
    sample, floor = figure.sample, figure.floor
    spread = f"{number(sample.least)} to {number(sample.most)}" if len(sample.values) > 1 else ""
    notes = "; ".join(f"{k}: {number(v)}" for k, v in figure.notes.items())
    return (
        _two(f"[bold]{figure.name}[/] {figure.what}", notes),
        _two(f"{number(sample.median)} {figure.unit}", spread),
        "" if floor is None else f"{number(floor.median)}\n{figure.floor_unit}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        figure.goal,
        {True: "[green]✓[/]", False: "[yellow]not yet[/]", None: "[dim]no verdict[/]" if figure.goal else ""}[
            figure.met
        ],
    )


def _two(line: str, below: str) -> str:
    return f"{line}\n[dim]{below}" if below else line


def console() -> Console:
    """The terminal; wide enough for the table when it is none."""
    made = Console()
    return made if made.is_terminal else Console(width=max(120, made.width))

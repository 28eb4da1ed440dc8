"""The summaries at the end: of the tickets, and of a batch."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .flows import Tally
from .records import TOPICS, Resolution, Usage, euros
from .watch import Line, author, money


def of_tickets(screen: Console, lines: list[Line]) -> None:
    """A line per ticket, two replies to read, and the sums.

    `errors` are answers of models that a check turned down, and lookups that failed and were made again.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("ticket", "about", "votes", "reply by", "paid, EUR"):
        table.add_column(name, no_wrap=True)
    for name in ("calls", "errors", "tokens", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*_cells(line))
    screen.print(table)
    for line in lines:
        if line.over and line.resolution is None:
            screen.print(f"{line.ticket.id} {line.stage}: {line.note}", style="red", markup=False)
    done = [line.resolution for line in lines if line.resolution is not None]
    screen.print()
    for resolution in _samples(done):
        screen.print(Text(f"{resolution.ticket}  ", "bold").append(resolution.reply.text, "not bold italic"))
    screen.print()
    _sums(screen, done, failed=sum(line.over for line in lines) - len(done))


def _cells(line: Line) -> tuple[str | Text, ...]:
    done, seconds = line.resolution, f"{line.ended - line.began:.0f} s"
    if done is None:
        return (line.ticket.id, "", "", Text(line.stage, "red"), "", "", str(line.retries or ""), "", seconds)
    about, tokens = _judged(done.topic, done.label), f"{done.usage.tokens_in + done.usage.tokens_out:,}"
    errors = str(done.usage.turned_down + line.retries or "")
    return (
        line.ticket.id, about, Text(done.how, "dim"), author(done), money(done), str(done.usage.calls), errors, tokens,
        seconds,
    )  # fmt: skip


def _judged(topic: str, label: str) -> Text:
    right = not label or topic == label
    return Text(topic) if right else Text(topic).append(" ✗", "red")


def _samples(done: list[Resolution]) -> list[Resolution]:
    """A reply that a model wrote, and one where the template stood in."""
    drafted = [r for r in done if r.reply.by != "template"]
    stood_in = [r for r in done if r.reply.by == "template"]
    return [*drafted[:1], *stood_in[:1]]


def _sums(screen: Console, done: list[Resolution], failed: int) -> None:
    right, drafted = sum(r.topic == r.label for r in done), sum(r.reply.by != "template" for r in done)
    usage = sum((r.usage for r in done), Usage())
    asked = [r for r in done if r.decision.startswith(("approved", "denied"))]
    approved = sum(r.decision.startswith("approved") for r in asked)
    screen.print(
        f"{len(done)} tickets answered{f', [red]{failed} failed[/red]' if failed else ''}. "
        f"Topic right: {right} (✗ is wrong). "
        f"Drafted by a model: {drafted}; a template stood in for {len(done) - drafted}.\n"
        f"Paid back: {euros(sum(r.paid_cents for r in done))}. "
        f"Approvals asked: {len(asked)}, given: {approved}.\n"
        f"Models: {usage.calls} calls, {usage.turned_down} answers turned down, "
        f"{usage.tokens_in:,} tokens in, {usage.tokens_out:,} out. Cost: nothing, they ran here.\n"
        f"Chosen by the routes: {', '.join(f'{model} {n} times' for model, n in sorted(usage.asked.items()))}."
    )


def of_batch(screen: Console, tallies: list[Tally], seconds: float) -> None:
    """A line per topic, and the sums."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("topic", "messages", "agreed", "outvoted", "unsure", "right", "drafted", "template"):
        table.add_column(name, justify="left" if name == "topic" else "right", no_wrap=True)
    fine = [tally for tally in tallies if not tally.error]
    by_topic = Counter(tally.topic for tally in fine)
    for topic in sorted(TOPICS, key=lambda topic: -by_topic[topic]):
        table.add_row(topic, *_counts([tally for tally in fine if tally.topic == topic]))
    table.add_row("all", *_counts(fine), style="bold")
    screen.print(table)
    usage = sum((tally.usage for tally in fine), Usage())
    screen.print(
        f"\n{len(fine)} messages in {seconds:.0f} s ({seconds / max(1, len(fine)):.1f} s each), "
        f"{len(tallies) - len(fine)} errors. {usage.calls} calls of models, {usage.turned_down} answers turned down, "
        f"{usage.tokens_in:,} tokens in, {usage.tokens_out:,} out."
    )
    for tally in [tally for tally in tallies if tally.error][:5]:
        screen.print(f"  [red]{tally.ticket}[/red] {tally.error}", highlight=False)


def _counts(tallies: list[Tally]) -> list[str]:
    how = Counter(tally.how for tally in tallies)
    judged = [tally for tally in tallies if tally.label]
    right = sum(tally.topic == tally.label for tally in judged)
    model = sum(tally.by != "template" for tally in tallies)
    share = f"{right} ({right / len(judged):.0%})" if judged else ""
    return [
        str(len(tallies)),
        *(str(how[h]) for h in ("agreed", "outvoted", "unsure")),
        share,
        str(model),
        str(len(tallies) - model),
    ]

"""What a run leaves open when it ends: children that are still to clean up, and detached runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core.lifecycle import ENDED, RunState
from ..journal import Reader, RunRow
from .words import plural, printable

_BELOW = (
    "with recursive below (no, id, apart) as (select no, id, parent_key is null from runs where parent = ?"
    " union all select r.no, r.id, below.apart or r.parent_key is null from below join runs r on r.parent = below.id)"
    " select runs.no, runs.id, runs.state, runs.owner, below.apart from below join runs on runs.no = below.no"
    f" where runs.state not in ({', '.join('?' * len(ENDED))}) and (not below.apart or runs.parent_key is null)"
    " order by runs.no"
)
"""Of what is below a detached run only further detached ones: its own children are its own matter."""
NAMED_MAX = 3
"""Runs that are named, each with its command."""


class Left(NamedTuple):
    """An open run below one that has ended."""

    no: int
    id: str
    state: str
    detached: bool
    process: str
    """The living process that carries it out; empty for none."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"id": self.id, "state": self.state, "detached": self.detached}


def left_of(reader: Reader, row: RunRow) -> list[Left]:
    """All that is open below a run, oldest first."""
    found = reader.query(_BELOW, (row.id, *sorted(ENDED)))
    alive = {owner for owner in {one[3] for one in found} if reader.alive(owner)}
    return [
        Left(no, id_, state, bool(apart), owner.partition("-")[0] if owner in alive else "")
        for no, id_, state, owner, apart in found
    ]


def told(left: Sequence[Left], say: Callable[..., str]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """A line for the children and one for the detached runs, each with the commands that take them up."""
    children = [one for one in left if not one.detached]
    detached = [one for one in left if one.detached]
    said: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    if children:
        one = f"Its child {printable(children[0].id)} has"
        who = one if len(children) == 1 else f"{len(children)} of its children have"
        said.append((f"{who} not ended yet.", _named(children, "to let it clean up", say)))
    if detached:
        what = f"{plural(len(detached), 'detached run')} {'is' if len(detached) == 1 else 'are'} open."
        said.append((what, _named(detached, "to go on with it", say)))
    return said


def _named(runs: Sequence[Left], why: str, say: Callable[..., str]) -> tuple[tuple[str, str], ...]:
    return tuple(_does(one, why, say) for one in runs[:NAMED_MAX]) + (
        ((say("resume"), "to go on with all that are open"),) if len(runs) > NAMED_MAX else ()
    )


def _does(one: Left, why: str, say: Callable[..., str]) -> tuple[str, str]:
    """The command that helps an open run."""
    if one.process:
        return say("watch", one.id), f"to follow it in process {one.process}"
    if one.state == RunState.STUCK:
        return say("show", one.id), "to see why it is set aside"
    return say("resume", one.id), why

"""`Thread`: a durable conversation. Its turns are runs, one at a time, in the order in which they came.

A turn is accepted like any run, so it is on disk when `start` returns; it begins when no earlier turn is open, in
whichever process has room. An edited turn begins a thread of its own, which shares the turns before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_hex
from typing import Any, TypeVar

from ..core.keys import is_run_id, quoted
from ..core.shell import command
from ..errors import DuplicateRun, EngineClosed, InputError, UnknownRun
from ..journal import TurnRow
from ..journal import threads as rows
from . import registry
from .engine import Engine
from .flow import Flow
from .run import Run
from .scope import surroundings

__all__ = ["Thread", "Turn", "named"]

R = TypeVar("R")
_DEFAULT_TENANT = "default"
_SHARED = "give the edited turn another id=, or edit that one"
_NAME_MAX = 200
"""Characters of the name of a thread, and of a turn in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One turn of a thread."""

    id: str
    run: str
    thread: str
    """Whose it is: a branch shares the turns of the thread that it left."""
    flow: str
    state: str
    at: float
    """When it came: seconds since the epoch, UTC."""
    branches: tuple[str, ...] = ()
    """The threads in which it was edited."""


@dataclass(frozen=True, slots=True)
class Thread:
    """`Thread("user-42")`: a durable conversation, by its name. It needs no making, and has no length limit.

    `engine` is the one that is open around it, unless it is given; a `tenant` sees its own threads only. Raises
    InputError for what is no name.
    """

    id: str
    engine: Engine | None = None
    tenant: str = _DEFAULT_TENANT

    def __post_init__(self) -> None:
        """Hold what must be true."""
        named("thread", self.id)

    async def start(self, flow: Flow[..., R], *args: Any, id: str | None = None, **kwargs: Any) -> Run[R]:
        """Start a turn, or get the one of this id. Returns once it is on disk; it begins when those before have ended.

        In it, `ask` goes on from what was said in the thread. An `id` names the turn in its thread, so that what is
        sent twice is one turn, also one that a branch shares. A turn that is set aside or paused holds the thread up
        until it goes on or is cancelled.
        Raises InputError for arguments that do not fit, DuplicateRun when the turn is there with another input.
        """
        turn = token_hex(6) if id is None else named("turn", id)
        at = self if id is None else self._shares(turn) or self
        return await self._engine.begin(flow, args, kwargs, id=at.run_of(turn), tenant=self.tenant, thread=at.id)

    async def edit(
        self, turn: str | Run[Any], *args: Any, id: str | None = None, to: str | None = None, **kwargs: Any
    ) -> Run[Any]:
        """Give a turn another input. That is the first turn of a branch, which shares the turns before it.

        The thread stays as it is. `turn` is the id of a turn, or its run; the flow is the same. The branch is called
        `to`, or by what was edited to what; `run.thread` says how. The same edit again is the same run. Raises
        InputError for a turn that has not begun, an `id` of a turn that the branch shares, and a name that is taken;
        nothing is written then.
        """
        engine, row = self._engine, self._turn(turn)
        flow = registry.known(row.flow)
        if flow is None:
            raise InputError(f"the flow {row.flow} is not known here", remedy="import the module that it stands in")
        of = turn_id(row) if id is None else named("turn", id)
        with engine.sealing(self.tenant):
            told = b"\x1f".join((row.run.encode(), (id or "").encode(), flow.bind(args, kwargs)))
        *_, (root, _) = rows.lineage(engine.journal.query, self.tenant, row.thread)
        name = f"{root[: _NAME_MAX - 9]}~{blake2b(told, digest_size=4).hexdigest()}" if to is None else to
        run = Thread(name, engine, self.tenant).run_of(of)
        shared = Thread(row.thread, engine, self.tenant)._find(of)
        if shared is not None and shared.no < row.no:
            raise InputError(f"the branch shares a turn {of!r} that came before", run=shared.run, remedy=_SHARED)
        try:
            return await engine.begin(flow, args, kwargs, id=run, tenant=self.tenant, thread=name, leaves=row.no)
        except DuplicateRun as error:
            if to is None:
                raise
            raise InputError(f"there is a thread {to!r} already", run=run, remedy="give another name") from error

    async def turns(self, limit: int = -1) -> list[Turn]:
        """Its turns, the oldest first, with those that it shares; with a `limit`, the last of them."""
        return turns_of(self._engine.journal.query, self.tenant, self.id, limit)

    async def branches(self) -> list[Thread]:
        """The threads that left it, where a turn of its own was edited."""
        found = rows.branches_of(self._engine.journal.query, self.tenant, self.id)
        return [Thread(name, self.engine, self.tenant) for name, _ in found]

    def run_of(self, turn: str) -> str:
        """The id of a turn's run."""
        names = [self.id, turn] if self.tenant == _DEFAULT_TENANT else [self.tenant, self.id, turn]
        return "/".join(map(quoted, names))

    def _shares(self, turn: str) -> Thread | None:
        """For a branch: the thread that it has this turn from."""
        query = self._engine.journal.query
        left = [Thread(name, self.engine, self.tenant) for name, _ in rows.lineage(query, self.tenant, self.id)][1:]
        found = rows.turn_of(query, self.tenant, self.id, *(one.run_of(turn) for one in left)) if left else None
        return None if found is None else Thread(found.thread, self.engine, self.tenant)

    def _find(self, turn: str, *runs: str) -> TurnRow | None:
        """The turn of this id, or whose run is one of `runs`: its own, or one that it shares."""
        query = self._engine.journal.query
        of = [Thread(name, None, self.tenant) for name, _ in rows.lineage(query, self.tenant, self.id)]
        return rows.turn_of(query, self.tenant, self.id, *runs, *(one.run_of(turn) for one in of))

    def _turn(self, turn: str | Run[Any]) -> TurnRow:
        given = turn.id if isinstance(turn, Run) else turn
        found = self._find(given, given)
        if found is None:
            raise UnknownRun(
                f"the thread {self.id} has no turn {given!r}", remedy=f"list its turns: {command('thread', self.id)}"
            )
        return found

    @property
    def _engine(self) -> Engine:
        around = surroundings()
        engine = self.engine or (None if around is None else around.engine)
        if engine is None:
            raise EngineClosed(
                f"Thread({self.id!r}): no engine is open around it",
                remedy="use it inside of `async with Engine(...)`, or give one: Thread(id, engine)",
            )
        return engine


def named(what: str, given: object) -> str:
    """The name of a thread or a turn. Raises InputError for what is none."""
    if isinstance(given, str) and is_run_id(given) and len(given) <= _NAME_MAX:
        return given
    shown = f"{given[:40]}…" if isinstance(given, str) and len(given) > _NAME_MAX else given
    raise InputError(
        f"{shown!r} is no name of a {what}", remedy=f"give a text of 1 to {_NAME_MAX} printable characters"
    )


def turns_of(query: rows.Query, tenant: str, thread: str, limit: int = -1) -> list[Turn]:
    """The turns of a thread, each with the threads in which it was edited."""
    found = rows.turns_of(query, tenant, thread, limit)
    edited: dict[int, list[str]] = {}
    for name in {row.thread for row in found} | {thread}:
        for branch, run in rows.branches_of(query, tenant, name):
            edited.setdefault(run, []).append(branch)
    return [_turn(row, edited.get(row.no, ())) for row in found]


def _turn(row: TurnRow, branches: Sequence[str]) -> Turn:
    return Turn(
        id=turn_id(row), run=row.run, thread=row.thread, flow=row.flow, state=row.state, at=row.at,
        branches=tuple(branches),
    )  # fmt: skip


def turn_id(row: TurnRow) -> str:
    """The id of a turn in its thread."""
    return unquoted(row.run.rpartition("/")[2])


def unquoted(text: str) -> str:
    """What `core.keys.quoted` was given."""
    for sign in "[]/%":
        text = text.replace(f"%{ord(sign):02X}", sign)
    return text

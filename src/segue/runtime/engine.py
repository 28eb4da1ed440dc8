"""The engine: starts runs, finds them, and carries them out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from os import PathLike, fspath
from os.path import abspath
from random import Random
from secrets import token_hex
from types import TracebackType
from typing import Any, Self, TypeVar

from ..config import EngineOptions
from ..core.codec import Codec
from ..core.keys import is_run_id
from ..core.secret import using
from ..errors import EngineClosed, InputError, UnjournaledWork, UnknownFlow
from ..importing import refuse_at_import
from ..journal import ENGINE, Act, Collected, Journal, NewRun, Switch
from ..journal.connect import MEMORY
from ..journal.keyring import FolderKeyring, Keyring, MemoryKeyring
from ..journal.vault import Vault
from . import companions, deciding, operate, questions, registry
from .clock import Clock, SystemClock
from .embedded.host import Host
from .embedded.outside import Answers
from .embedded.taps import Taps
from .flow import Flow
from .lacking import Lacking
from .query import RunQuery
from .questions import InboxItem
from .run import Run, seen
from .scope import FlowScope, Surroundings, here, surround
from .status import RunStatus

R = TypeVar("R")


class Engine:
    """`async with Engine("segue.db") as engine:` — a path, or `sqlite:///path`.

    Entering it takes up the runs that a crash left behind, of the flows that this process has imported; leaving it
    suspends what still runs, to go on at the next start. Options are those of EngineOptions.
    """

    def __init__(
        self,
        url: str | PathLike[str] = "segue.db",
        *,
        options: EngineOptions | None = None,
        clock: Clock | None = None,
        keyring: Keyring | None = None,
        resources: Mapping[str, Any] | None = None,
        **given: Any,
    ):
        if not isinstance(url, str | PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise InputError(f"Engine({url!r}): this is no path", remedy="give a path such as segue.db")
        given_path = fspath(url)
        scheme, found, rest = given_path.partition("://")
        if found and scheme != "sqlite":
            raise InputError(
                f"Engine({url!r}): no runtime for {scheme}://", remedy="give a path such as segue.db, or sqlite:///path"
            )
        path = rest[1:] if found else given_path
        self.path = path if path in ("", MEMORY) else abspath(path)
        """Where the database is, wherever the process goes."""
        try:
            self.options = replace(options or EngineOptions(), **given)
        except TypeError as error:
            names = ", ".join(EngineOptions.__dataclass_fields__)
            raise InputError(f"Engine: {error}", remedy=f"its options are: {names}") from None
        self.clock: Clock = clock or SystemClock()
        self.keyring: Keyring = keyring or (
            MemoryKeyring() if self.path == MEMORY else FolderKeyring(f"{self.path}-keys")
        )
        """Where the keys of secrets are: in the folder `<database>-keys`, unless another keyring was given."""
        self.surroundings = Surroundings(None if self.path == MEMORY else self.path, resources)
        """What the steps share; `resources` are for them: a catalogue of models, routes."""
        self.chance: Random | None = None
        self.pace_s = 0.0
        self.carries = True
        """Whether runs are carried out here. Without it they are only recorded, for another engine."""
        self._host: Host | None = None
        self._taps: Taps | None = None

    async def __aenter__(self) -> Self:
        """Open the database and take up what is ready. Raises a StoreError that names the file, and UnguardedScript in
        a module that is only imported, as for a flow of it.
        """
        refuse_at_import("opens an engine")
        if isinstance(scope := here(), FlowScope):
            raise UnjournaledWork(
                "an engine is not opened inside of a flow", run=scope.drive.run,
                remedy="open it around the run; in a flow, start another one: await child(...), or detach(child, ...)",
            )  # fmt: skip
        journal = self.open_journal()
        try:
            if self.options.paused:
                await journal.turn(Switch(ENGINE, self.clock.now(), "Engine(paused=True)", ""), on=True)
            self.attach(journal)
        except BaseException:
            await (journal.close() if self._host is None else self.close())
            raise
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    def open_journal(self) -> Journal:
        """Open the database."""
        return Journal.open(self.path, heartbeat_s=self.options.heartbeat_s, lock_timeout_s=self.options.lock_timeout_s)

    def attach(self, journal: Journal) -> None:
        """Carry out the runs of a journal."""
        options, capacity = self.options, self.options.capacity if self.carries else 0
        surround(self.surroundings)
        self._host = Host(
            journal, self.clock, capacity=capacity, resident=options.resident, linger_s=options.linger_s,
            tick_s=options.tick_s, crash_limit=options.crash_limit, step_threads=options.step_threads,
            recover=options.recover, keyring=self.keyring, chance=self.chance, pace_s=self.pace_s,
        )  # fmt: skip
        self.surroundings.outside = Answers(journal, self.clock, self._host.scan_soon)
        self.surroundings.engine = self
        self._host.open()
        if capacity:
            companions.begin(self.surroundings)
        self._taps = Taps(journal.path, journal.owner, self.surroundings.live)

    def stopping(self) -> None:
        """Say that this process was asked to stop, as soon as it was: a handler of a signal may call it, and whoever
        does then closes the engine. A step that fails from now on may have failed for that: it is made again, or in
        doubt, when the database is opened next, and its run comes to no end here. `close` says so too.
        """
        if self._host is not None:
            self._host.stopping = True

    async def close(self) -> None:
        """Suspend what runs and give the file back."""
        self.stopping()
        if self._host is not None:
            if self._taps is not None:
                self._taps.close()
            try:
                await self.surroundings.leave()
            finally:
                around = self.surroundings
                around.outside = around.waits = around.forgoes = around.engine = None
                host, self._host = self._host, None
                try:
                    await host.close()
                finally:
                    await self.surroundings.close()

    @property
    def host(self) -> Host:
        """The runtime of this process. Raises EngineClosed."""
        if self._host is None:
            raise EngineClosed("the engine is not open", remedy="use it inside of `async with Engine(...) as engine:`")
        return self._host

    @property
    def journal(self) -> Journal:
        """The open journal."""
        return self.host.journal

    async def start(
        self, flow: Flow[..., R], *args: Any, id: str | None = None, tenant: str = "default", **kwargs: Any
    ) -> Run[R]:
        """Start a run, or get the one of this id. Returns once the run is accepted on disk.

        Raises InputError for arguments that do not fit, DuplicateRun when the id is taken by another flow or input.
        """
        return await self.begin(flow, args, kwargs, id=id, tenant=tenant)

    async def begin(
        self,
        flow: Flow[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        id: str | None = None,
        tenant: str = "default",
        thread: str | None = None,
        leaves: int | None = None,
    ) -> Run[R]:
        """`start`, with the flow's arguments given apart: also those that are called `id` or `tenant`.

        As a turn of a `thread` it waits for those before it; one that `leaves` a turn, by its number, begins the thread
        as a branch in that one's place.
        """
        refuse_at_import("starts a run")
        if not isinstance(flow, Flow):  # pyright: ignore[reportUnnecessaryIsInstance]  users forget the decorator
            raise UnknownFlow(
                f"{getattr(flow, '__qualname__', flow)!r} is no flow",
                remedy="decorate it with @flow, and pass it uncalled",
            )
        run = id if id is not None else token_hex(6)
        for what, given in (("run id", run), ("tenant", tenant)):
            if not is_run_id(given):
                raise InputError(
                    f"{what} {given!r}: a text of 1 to 512 printable characters", remedy="choose one: order-7"
                )
        with self.sealing(tenant):
            data = self._bound(flow, args, kwargs, id)
        new = NewRun(
            id=run, tenant=tenant, flow=flow.name, origin=flow.origin, version=flow.version, args=data,
            at=self.clock.now(), seed=self.host.seed(), revision=flow.revision,
            owner=self.journal.owner if self.host.room > 0 and thread is None else None, thread=thread, leaves=leaves,
            body=None if thread is None else {"thread": thread},
        )  # fmt: skip
        return await self.accept(new, flow.signature.result)

    def _bound(self, flow: Flow[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], run: str | None) -> bytes:
        """The input as JSON. An error names the run, where it was given an id; where a parameter is called like an
        option of `start`, it says so.
        """
        try:
            return flow.signature.bind(tuple(args), kwargs, flow.short)[0]
        except InputError as error:
            error.run = run
            taken = [n for n in ("id", "tenant") if f"missing a required argument: '{n}'" in str(error)]
            if taken:
                error.remedy = (
                    f"`{taken[0]}=` is the run's own: pass the flow's {taken[0]!r} by position, or use begin()"
                )
            raise

    async def accept(self, new: NewRun, result: Codec | None) -> Run[Any]:
        """Record a run and carry it out."""
        refuse_at_import("starts a run")
        row, _ = await self.journal.accept(new, partial(self.host.accepted, new))
        return Run(self, row, result)

    async def run(self, flow: Flow[..., R], *args: Any, id: str | None = None, **kwargs: Any) -> R:
        """Start a run and wait for its result."""
        return await (await self.start(flow, *args, id=id, **kwargs)).result()

    async def get(self, id: str) -> Run[Any]:
        """The run of this id. Raises UnknownRun, and InputError for an id that is no text."""
        if not isinstance(id, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err; a number names another run
            raise InputError(f"run id {id!r} is no text", remedy=f"give it as it was started: {str(id)!r}")
        row = self.journal.get(id)
        flow = registry.for_run(row.flow, row.version)
        return Run(self, row, None if flow is None else flow.signature.result)

    async def runs(self, *, limit: int = 100, **filters: Any) -> list[RunStatus]:
        """Runs, newest first. `filters` are the fields of RunQuery: `state`, `flow`, `tenant`, `reason`, an age.

        Raises InputError for a filter, a state or a reason that there is not.
        """
        try:
            query = RunQuery(**filters)
        except TypeError as error:
            names = ", ".join(RunQuery.__dataclass_fields__)
            raise InputError(f"runs: {error}", remedy=f"its filters are: {names}") from None
        lacking = self.lacking()
        rows = self.journal.runs(*query.sql(self.clock.now()), limit=-1 if query.lacks else limit)
        if query.lacks:
            rows = [row for row in rows if lacking(row) is not None][: None if limit < 0 else limit]
        return [seen(self, row, lacking) for row in rows]

    def lacking(self) -> Lacking:
        """Tells of a run whether no living process can go on with it."""
        return Lacking(self.journal, self.clock.now())

    async def pause(self, *, flow: Flow[..., Any] | str | None = None, by: str = "", why: str = "") -> bool:
        """Let a flow (by name), or without one the whole engine, start nothing new, in all processes on the database.

        What runs ends; runs to come are accepted and queue. It holds over restarts, until `resume`; a run that is
        resumed or cancelled by name goes on meanwhile, with its children. False when it was paused already. Raises
        UnknownFlow for a name that no run here has and no process knows.
        """
        return await operate.turn(self, flow, by, why, on=True)

    async def resume(self, *, flow: Flow[..., Any] | str | None = None, by: str = "", why: str = "") -> bool:
        """Let a flow, or without one the engine, go on after a `pause`. False when it was not paused."""
        return await operate.turn(self, flow, by, why, on=False)

    async def switches(self) -> list[Switch]:
        """What is paused: flows, or the engine (`*`), since when, by whom and why."""
        return list(self.journal.switches().on)

    async def acts(self, limit: int = 100) -> list[Act]:
        """What operators did to flows, to the engine and in bulk, newest first."""
        return self.journal.acts(limit)

    async def inbox(self, for_: str | None = None) -> list[InboxItem]:
        """What waits for people, of all runs and processes: what is due first comes first.

        `for_` is a person or a role: only what asks them, or anybody. A question that somebody has answered is not in
        it, also while its run has not taken the word up.
        """
        return questions.inbox(self.journal, self, for_)

    async def decide(
        self, id: str, *, by: str, approved: bool | None = None, answer: Any = deciding.MISSING,
        to: str | tuple[str, ...] = (), note: str = "", bound: str | None = None, via: str | None = "api",
    ) -> None:  # fmt: skip
        """Decide the question of this id: `approved` says yes or no, `answer` gives a value, `to` asks somebody else.

        `id` is that of an InboxItem, a beginning of it, or the run's where it asks just one. With `bound`, an item's
        hash, it holds only for what that item shows. The first word wins: whoever comes second gets AlreadyDecided,
        which says who decided what and when. Raises UnknownQuestion, StaleDecision, WrongAnswer, RunEnded, and
        InputError for a word that does not go with the question.
        """
        word = deciding.word_of(approved, answer, to, by=by, note=note, via=via)
        await deciding.decide(self, id, word, bound)

    async def gc(self, older_than_s: float, *, dry_run: bool = False) -> Collected:
        """Delete the runs that ended so long ago, and what only they used; their ids are never run again.

        Runs that a fork continues from, with an open child or parent, a fork of which a descendant stays, the one that
        made the summary which a thread in use goes on from, and the newest one stay: `kept` says so. Others write
        meanwhile. `dry_run` only lists. Notes that were remembered under a run go with it, and what memory has taken
        up of what was said in it.
        """
        gone = await self.journal.collect(self.clock.now() - older_than_s, dry_run=dry_run)
        if not dry_run:
            companions.collected(self.surroundings)
        return gone

    def sealing(self, tenant: str) -> AbstractContextManager[None]:
        """A block in which secrets are sealed and opened with a tenant's key."""
        return using(Vault(self.keyring, tenant))

    async def erase(self, tenant: str, *, by: str = "", why: str = "") -> list[str]:
        """Destroy a tenant's key, and with it every secret that was sealed with it, and forget all its notes
        (`segue.memory`); of what was said before, memory takes up nothing any more. Gives the ids of the keys.

        This cannot be undone. Runs that have a secret in memory keep it until they leave it; a flow that reveals an
        erased one is set aside, in a step that raises SecretErased. What is not a `Secret` stays: delete the runs.
        """
        keys = self.keyring.destroy(tenant, by=by, why=why)
        companions.erased(self.surroundings, tenant, by, why)
        return keys

    async def settled(self) -> None:
        """Wait until no run in this process can go on by itself."""
        while self.host.busy:  # noqa: ASYNC110  nothing tells when nothing moves
            await asyncio.sleep(0)

"""The models as the steps of one engine see them: the catalogue, its routes, and how each model is.

Made when the first question is asked, from what the engine was given (`resources={"catalogue": ..., "routes": ...,
"learning": ..., "embedder": ...}`) or from segue.toml; health is shared by all processes on the engine's database, in
the file `<database>-health`.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from ..core.budgets import nano
from ..core.faults import Fault, FaultKind, rebuild
from ..core.records import Decision
from ..errors import DefinitionError, SegueError
from ..models import Capability, Catalogue, Model, UnknownModel
from ..models.batches.rules import BatchRules
from ..models.batches.toml import load_batch_rules
from ..models.exchange import Reply
from ..models.health import Health, Place, Rules
from ..models.health.admission import Standing, Wait
from ..models.signals import made
from ..routing import Cheapest, Embedder, Policy, Request, Router, load_routes
from ..routing.embedding import Hashed
from ..routing.learned import Learning
from ..runtime.clock import SystemClock
from ..runtime.companions import naming
from ..runtime.scope import Surroundings, surroundings
from .budgets import Budgets, load_budgets
from .failures import BROKEN, LEAVES
from .learning import Live, task
from .line import Elsewhere, Left, Lines
from .nobody import opens
from .pool import Part, home_of
from .recorded import Recorded
from .request import Question, bound
from .seen import Seen
from .sessions import Session, Sessions
from .shadowing import Shadows
from .thinking import output_limit, thoughts_of

__all__ = ["DEFAULT_ROUTE", "Gateway", "batch_rules", "config_of", "gateway", "shared", "use_models"]

T = TypeVar("T")

DEFAULT_ROUTE: Policy = Cheapest(name="default")
"""Where nobody says how to choose: the cheapest model that can do it."""


@dataclass(slots=True)
class Gateway:
    """Chooses models, and lets calls through to them."""

    catalogue: Catalogue
    router: Router
    health: Health
    luck: Callable[[], float] = random.random
    wait_s_max: float = 30.0
    """How long a call waits for a free place at most."""
    patience_s: float = 5.0
    """How long a call waits at least where nobody else is free, also where its own time limit is shorter."""
    detour_s: float = 0.2
    """A model that is busy for longer is passed over while another one is free, also by those who wait already."""
    budgets: Budgets = field(default_factory=Budgets)
    """What tenants and threads may spend."""
    live: Live = field(default_factory=Live)
    sessions: Sessions = field(default_factory=Sessions)
    shadows: Shadows = field(default_factory=Shadows)
    seen: Seen = field(default_factory=Seen)
    _counter: int = field(default=0, init=False)
    _batch_router: Router | None = field(default=None, init=False)
    _lines: Lines = field(default_factory=Lines, init=False)
    """Calls of this process that wait for a place, by model."""

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        routes: Mapping[str, Policy] | None = None,
        *,
        health: Health | None = None,
        rules: Rules | None = None,
        live: Live | None = None,
        embedder: Embedder | None = None,
    ) -> Gateway:
        """Over a catalogue; without `routes` there is only the default one, without `live` nothing lasting is learned.

        `embedder` places texts for routes that go by examples; by default by the words that they share.
        """
        health, live = health or Health(rules=rules), live or Live()
        known = {"default": DEFAULT_ROUTE, **(routes or {})}
        router = Router(catalogue, known, predictors=live.predictors, view=health.view, embedder=embedder)
        made = cls(catalogue, router, health, live=live)
        for policy in known.values():
            made._embeds(policy)
        return made

    def decide(
        self, question: Question, policy: Policy | None, tried: Mapping[str, str], pin: str | None,
        *, session: Session | None = None, left_nano: int | None = None, awaits: bool = False,
    ) -> Decision:  # fmt: skip
        """Who answers. `tried` are those that failed, with the kind of fault; `pin` is the only one that may,
        `left_nano` what the budgets have left. With `awaits` also one that takes no calls now.
        """
        session = session or Session()
        self._counter += 1
        request = Request(
            text=question.text,
            pieces=tuple(one.piece for one in question.media),
            kind=question.kind,
            needs=frozenset(question.needs),
            require=question.require,
            tokens_in=None,
            tokens_out_max=question.max_tokens,
            thoughts=thoughts_of(question, self.catalogue),
            budget_nano=nano(question.budget_usd) if left_nano is None and question.budget_usd else left_nano,
            task=task(question),
            key=session.key,
            conversation=self.sessions.before(session, question),
            tried={name: why for name, why in tried.items() if name != pin},
            model=pin or question.model,
            pinned_by="recovery" if pin and pin != question.model else "caller",
            stage=len(tried),
            route=question.route,
            awaits=awaits,
            wait_s_max=math.inf if Capability.BATCH in question.needs else self.detour_s,
        )
        if policy is not None:
            self._embeds(policy)
        name = f"d{self._counter}-{random.getrandbits(32):08x}"
        router = self._in_batch() if Capability.BATCH in question.needs else self.router
        return router.decide(request, id=name, luck=self.luck(), route=policy)

    def expect(self, model: str | None) -> None:
        """See that there is a model that was asked for by its name. Raises UnknownModel, naming those like it."""
        if model is not None and model not in self.catalogue and model in self.router.routes:
            raise UnknownModel(f"no model is called {model!r}: it is a route", remedy=f"say route={model!r}")
        if model is not None:
            self.catalogue.get(model)

    def _in_batch(self) -> Router:
        """The router over the models as they are in a batch: at its price, and only those that can."""
        if self._batch_router is None:
            self._batch_router = self.router.over([model.in_batch() for model in self.catalogue])
        self._batch_router.embedder = self.router.embedder
        return self._batch_router

    def answered(self, record: Recorded, session: Session, reply: Reply, place: str | None = None) -> None:
        """A model has answered, by its deployment `place`: its conversation goes on with it."""
        self.sessions.answered(session, record.question, record.model.name, reply.usage, place)
        if not record.batch:  # how long that took says nothing of a call
            kind = str(record.decision.features.get("kind", ""))
            self.live.answered(record.question, record.model.name, reply, kind)

    def _embeds(self, policy: Policy) -> None:
        """Texts are embedded as soon as a policy goes by examples: each decision keeps the vector then."""
        if self.router.embedder is None and policy.compares():
            self.router.embedder = Hashed()

    def free_place(self, model: Model, question: Question) -> Place | None:
        """A place for one call that is free now; None where none is."""
        answer = self.health.try_acquire(model, _tokens(model, question))
        return answer if isinstance(answer, Place) else None

    def no_larger(self, small: Mapping[str, int]) -> dict[str, str]:
        """Models whose windows are no larger than all of these, each with the tokens that it said it holds, or 0."""
        known = self.catalogue.models
        most = max((held or (known[name].window if name in known else 0) for name, held in small.items()), default=0)
        return {name: "its window is no larger" for name, model in known.items() if model.window <= most}

    def spare(self, name: str, failed: Collection[str], question: Question) -> bool:
        """Whether a model has another deployment that takes a question now."""
        return self.spares(name, failed, question) > 0

    def spares(self, name: str, failed: Collection[str], question: Question) -> int:
        """How many of a model's deployments, if it has several, take a question now, beside those that failed."""
        if name not in self.catalogue:
            return 0
        model = self.catalogue.get(name)
        views = self.health.views(model, _tokens(model, question)) if len(model.deployments) > 1 else {}
        return sum(view.wait_s <= self.detour_s for at, view in views.items() if at not in failed)

    def ready_in(self, name: str, refused: Collection[str], question: Question) -> float:
        """Seconds until a deployment of a model, but for these, takes a question; infinite where none ever does."""
        if name not in self.catalogue:
            return math.inf if refused else 0.0
        model = self.catalogue.get(name)
        return self.health.ready_in(model, _tokens(model, question), refused)

    async def place(
        self, model: Model | Part, question: Question, timeout_s: float, *, detour: bool = False,
        waits_s: float = math.inf, home: str | None = None,
        among: Callable[[Mapping[str, str]], Decision] | None = None, waited_s: float = 0.0,
    ) -> tuple[Place, float]:  # fmt: skip
        """A place for one call, and how long it took to get it: at the deployment `home`, if that has one. Raises
        RateLimited when none comes in time.

        With a `detour` somebody else is free: it waits only shortly. Else it stands in line for a while, whatever a
        call may take, but for `waits_s` at most: to ask around again and again would cost more. Where another one is
        free meanwhile it is left for whom the route would choose `among` those. `waited_s`: elsewhere, before.
        """
        tokens = _tokens(model, question)
        patience_s = self.detour_s if detour else min(self.wait_s_max, max(timeout_s, self.patience_s))
        at_home = home_of(model, question, home)

        def acquire() -> Place | Wait:
            there = None if at_home is None else self.health.try_acquire(at_home, tokens)
            return there if isinstance(there, Place) else self.health.try_acquire(model, tokens)

        elsewhere = None if among is None else self._elsewhere(among, question)
        patience_s = min(patience_s, waits_s)
        answer, waited = await self._lines.place(model.name, acquire, patience_s, elsewhere, waited_s)
        if isinstance(answer, Place):
            return answer, waited
        raise rebuild(_no_place(model, answer))

    def _elsewhere(self, among: Callable[[Mapping[str, str]], Decision], question: Question) -> Elsewhere:
        def names() -> list[str]:
            return [one.target.name for one in among({}).candidates if one.eligible]

        def chosen(free: Collection[str]) -> str | None:
            free = set(names()).intersection(free)  # less may be left by now
            choice = among(dict.fromkeys(self.catalogue.models.keys() - free, "it takes no calls now")).chosen
            return None if choice is None else choice.target.name

        return Elsewhere(names, lambda name: self.ready_in(name, (), question) <= 0.0, chosen)

    def release(self, place: Place, fault: Fault | None, latency_s: float, tokens: int) -> None:
        """Give a place back."""
        self.health.release(place, fault, latency_s, tokens)
        self._lines.wake(place.model)

    async def leave(self) -> None:
        """What is asked on the side gets a moment to end, as long as the journal is open."""
        await self.shadows.close()

    async def close(self) -> None:
        """Leave: places that are held are given back."""
        self.health.close()
        await asyncio.to_thread(self.live.close)


def _tokens(model: Model | Part, question: Question) -> int:
    """What a call may take at most, for the limits of a minute."""
    whole = model.model if isinstance(model, Part) else model
    return bound(question) + output_limit(question, whole)


def _no_place(model: Model | Part, answer: Wait | Left) -> Fault:
    if isinstance(answer, Left):
        said = f"{model.name} takes no calls now, and {answer.model} does"
        return made(FaultKind.RATE_LIMITED, said, model=model.name, unsent=1, **{LEAVES: answer.model})
    reason, seconds = answer.reason, answer.seconds
    if answer.standing is Standing.SHUT:  # that does not pass by itself
        said, remedy = f"{model.name} takes no calls now: {reason}", opens([model.name])
        return made(FaultKind.UNAUTHORISED, said, model=model.name, unsent=1, remedy=remedy)
    if seconds == math.inf:  # no minute is enough for it
        remedy = "ask for fewer tokens (a shorter text, a smaller max_tokens), or raise its limits.tpm in segue.toml"
        said = f"{model.name} can never take this call: {reason}"
        return made(FaultKind.CONTEXT_TOO_LONG, said, model=model.name, limit="tokens", unsent=1, remedy=remedy)
    said = f"{model.name} takes no calls now: {reason}"
    if answer.standing is Standing.BROKEN:
        return made(FaultKind.OVERLOADED, said, model=model.name, retry_after_s=seconds, unsent=1, **{BROKEN: 1})
    return made(FaultKind.RATE_LIMITED, said, model=model.name, retry_after_s=seconds, unsent=1)


def gateway() -> Gateway:
    """That of the current engine; outside of one, that of this process."""
    around = surroundings() or _own
    with _making:
        _join(around)
        return around.share("gateway", lambda: _make(around), partial(_left, around), Gateway.leave)


def _join(around: Surroundings) -> None:
    if around.engine is not None:
        _connected.setdefault(around.engine.host.loop, set()).add(around)
    elif around is _own:
        with suppress(RuntimeError):  # no loop runs where somebody only looks
            _connected.setdefault(asyncio.get_running_loop(), set()).add(around)


async def _left(around: Surroundings, made: Gateway) -> None:
    """The engine is closed, and the last one of its event loop closes the connections: others may be in a call."""
    from ..models.calls import close  # noqa: PLC0415  nothing was called where it was not imported

    others = _connected.get(asyncio.get_running_loop(), set[Surroundings]())
    others.discard(around)
    try:
        await made.close()
    finally:
        outside: Gateway | None = _own.shared("gateway")
        if not others or (others == {_own} and (outside is None or not outside.health.holds)):
            await close()


def shared(name: str, make: Callable[[Surroundings], T]) -> T:
    """Something else that the steps of an engine share; outside of one, this process."""
    around = surroundings() or _own
    with _making:
        return around.share(name, lambda: make(around))


def config_of(around: Surroundings) -> str | None:
    """The file that its models, routes, prompts and guards stand in; None: where the environment says."""
    given = around.given
    return given.get("config") or (None if "catalogue" in given else _config)


def batch_rules(around: Surroundings) -> BatchRules:
    """How batches are put together: as it was given by `resources={"batches": BatchRules(...)}`, else by its file."""
    return around.given.get("batches") or load_batch_rules(config_of(around))


def _make(around: Surroundings) -> Gateway:
    given = around.given
    ready = given.get("gateway")
    if isinstance(ready, Gateway):
        return ready
    config = config_of(around)
    catalogue = given.get("catalogue") or Catalogue.load(config)
    routes = given.get("routes")
    if routes is None:
        routes = load_routes(config, list(catalogue.models))
    path = None if around.database is None else f"{around.database}-health"
    live = Live.of(catalogue, around.database, given.get("learning") or Learning())
    clock = _clock(around)
    health = Health(path, rules=given.get("rules"), clock=clock)
    made = Gateway.of(catalogue, routes, health=health, live=live, embedder=given.get("embedder"))
    made.sessions.clock = clock
    made.budgets = given.get("budgets") or load_budgets(config)
    batch_rules(around)  # a mistake of the file is told now, not by the first question that goes by batches
    return made


@dataclass(frozen=True, slots=True)
class _Names:
    """Those of an engine's models, before its first question too. A file that cannot be read has none."""

    around: Surroundings

    def __contains__(self, name: object) -> bool:
        given = self.around.given
        made: Gateway | None = given.get("gateway") or self.around.shared("gateway")
        with suppress(SegueError):
            catalogue = made.catalogue if made is not None else given.get("catalogue")
            return name in (catalogue or Catalogue.load(config_of(self.around)))
        return False


naming(_Names)


def _clock(around: Surroundings) -> Callable[[], float]:
    """What the pauses and limits of models are counted by: the machine's clock since its start, which all processes on
    a file share; in memory the engine's own where it was given another one, as on virtual time.
    """
    engine = around.engine
    if around.database is not None or engine is None or isinstance(engine.clock, SystemClock):
        return time.monotonic
    return engine.clock.now


def use_models(config: str | Path) -> None:
    """The file of models and routes that this program's flows are written for, where their engine was given none.

    Called where the flows are defined, so that it holds for whichever process carries them out. Raises DefinitionError
    for a second file in one process: the flows of the first would be answered by the models of the other.
    """
    global _config  # noqa: PLW0603  one default a process
    file = Path(config).absolute()  # the same wherever the process goes
    if _config is not None and Path(_config).resolve() != file.resolve():
        raise DefinitionError(
            f"use_models({str(config)!r}): the flows of this process have their models from {_config} already",
            remedy="put both into one file, or give each engine its own: Engine(path, resources={'config': FILE})",
        )
    _config = str(file)


_config: str | None = None
_own = Surroundings()
_connected: WeakKeyDictionary[asyncio.AbstractEventLoop, set[Surroundings]] = WeakKeyDictionary()
"""Who may have connections open, by event loop: those are shared. Outside of an engine they last as it does, or until
an engine leaves while nothing is asked.
"""
_making = threading.Lock()

"""The server: it reads a request, counts it, refuses or answers it, and spoils the answer where the plan says so."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast

from ...errors import UsageError
from .batches import Batches
from .batches_anthropic import AnthropicBatches
from .batches_google import GoogleBatches
from .batches_mistral import MistralBatches
from .batches_openai import OpenAIBatches
from .cache import Cache
from .call import Call
from .desk import reply
from .faults import Draw, FaultPlan, Trouble, known
from .files import Files, Reply
from .http import Connection, Request
from .log import Log
from .marks import Ids
from .meter import Counts, Meter
from .routes import BatchFormat, Route, Routes
from .served import Served

_JSON = {"content-type": "application/json"}


class _BatchApi(Protocol):
    def reply(self, request: Request, path: str, place: str, ids: Ids) -> Reply | None: ...


class Provider:
    """A provider of models on loopback, in all formats at once. `serve` starts one."""

    def __init__(self, models: Mapping[str, Served], faults: FaultPlan, clock: Callable[[], float]) -> None:
        self.models, self.plan, self.log = dict(models), faults, Log()
        self.clock = clock
        self._routes = Routes()
        self.batches = Batches(self)
        """What is sent to the batch APIs."""
        self.files = Files()
        """What is uploaded to them, and what they give back as files."""
        self._batch_apis: dict[BatchFormat, _BatchApi] = {
            "anthropic": AnthropicBatches(self), "google": GoogleBatches(self), "mistral": MistralBatches(self),
            "openai": OpenAIBatches(self),
        }  # fmt: skip
        self._meters = {name: Meter(served, clock) for name, served in self.models.items()}
        self.caches = {name: Cache() for name in self.models}
        self._drawn = dict.fromkeys(self.models, 0)
        self._lasting: dict[str, Trouble] = {}
        self._next: dict[str, list[Trouble | None]] = {}
        self._open: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._requests = self._running = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.host, self.port = "127.0.0.1", 0

    # --- where it is ---

    @property
    def url(self) -> str:
        """Its root, without a slash at the end: what Anthropic's and Google's clients take."""
        return f"http://{self.host}:{self.port}"

    @property
    def openai_url(self) -> str:
        """What OpenAI's clients take."""
        return f"{self.url}/v1"

    def at(self, place: str) -> str:
        """The root of one place of a pool: there, `place/model` is served where it is given, else `model`."""
        return f"{self.url}/@{place}"

    @property
    def broken_tls_url(self) -> str:
        """The same port by https, which it does not speak: every connection fails in its handshake."""
        return f"https://{self.host}:{self.port}"

    # --- what the test may do ---

    def counts(self, model: str | None = None) -> Counts:
        """What one model has seen; without a name, the sums over all (and the highest peaks).

        Raises:
            UsageError: No such model is served.
        """
        if model is not None:
            return self.meter(model).counts
        total = Counts()
        for meter in self._meters.values():
            for name, value in meter.counts.as_dict().items():
                old = getattr(total, name)
                setattr(total, name, max(old, value) if name.startswith("peak") else old + value)
        return total

    def fail(self, model: str, trouble: Trouble | str) -> None:
        """From now on every call of the model meets this trouble, until `heal`."""
        self.meter(model)
        self._lasting[model] = known(trouble)

    def heal(self, model: str | None = None) -> None:
        """Lasting troubles end: the plan holds again. Without a name, those of all models."""
        for name in [model] if model is not None else list(self._lasting):
            self._lasting.pop(name, None)

    def next(self, model: str, *troubles: Trouble | str | None) -> None:
        """What the next calls of the model meet, in this order, before the plan holds again; None is none."""
        self.meter(model)
        self._next.setdefault(model, []).extend(None if t is None else known(t) for t in troubles)

    async def idle(self) -> None:
        """Wait until no request is under way: what clients gave up is in the log then."""
        await self._quiet.wait()

    async def stop(self) -> None:
        """Stop listening and cut every connection: whoever calls is refused. `start` goes on at the same port."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._open):
            connection.cut()
        await self.batches.stop()
        await self.idle()

    async def start(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        """Listen, at the port of before where there was one."""
        loop = asyncio.get_running_loop()
        port = self.port if port is None else port
        self._server = await loop.create_server(lambda: Connection(self._handle, self._open), host, port, backlog=1024)
        self.host, self.port = cast("tuple[str, int]", self._server.sockets[0].getsockname()[:2])

    def meter(self, model: str) -> Meter:
        """The counts and limits of a model.

        Raises:
            UsageError: No such model is served.
        """
        if model not in self._meters:
            raise UsageError(f"no model {model!r} is served; there are: {', '.join(self._meters)}")
        return self._meters[model]

    # --- one request ---

    async def _handle(self, request: Request, connection: Connection) -> None:
        self._requests += 1
        ids = Ids(self._requests, self.plan.seed)
        route = self._routes.of(request.path)
        if route.batch is not None:
            said = self._batch_apis[route.batch].reply(request, route.path, route.place, ids)
            return connection.cut() if said is None else connection.whole(*said)
        if route.format is None or request.method != "POST":
            return self._elsewhere(request, route.path, connection)
        self._running += 1
        self._quiet.clear()
        try:
            await Call(self, route.format, request, connection, place=route.place, ids=ids).run()
        finally:
            self._running -= 1
            if not self._running:
                self._quiet.set()
        return None

    def route(self, path: str) -> Route:
        """Where a request with this path goes."""
        return self._routes.of(path)

    def _elsewhere(self, request: Request, path: str, connection: Connection) -> None:
        status, body = reply(self, request, path)
        connection.whole(status, _JSON, json.dumps(body).encode())

    def served(self, place: str, model: str) -> str | None:
        """The name under which a model of that place is counted."""
        return next((name for name in (f"{place}/{model}", model) if name in self.models), None)

    def draw(self, model: str) -> Draw:
        """What this call of the model meets."""
        n = self._drawn[model]
        self._drawn[model] = n + 1
        drawn = self.plan.draw(model, n)
        if model in self._lasting:
            return drawn._replace(trouble=self._lasting[model])
        if queue := self._next.get(model):
            return drawn._replace(trouble=queue.pop(0))
        return drawn


@asynccontextmanager
async def serve(
    models: Mapping[str, Served] | Sequence[str],
    *,
    faults: FaultPlan | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[Provider]:
    """Serve models on loopback, at a free port unless one is given. Names alone are models with all defaults.

    Raises:
        UsageError: The plan names a model that is not served.
    """
    by_name = dict(models) if isinstance(models, Mapping) else {name: Served() for name in models}
    plan = faults or FaultPlan()
    if unknown := [name for name in plan.models if name not in by_name]:
        raise UsageError(f"faults are planned for {', '.join(unknown)}, but there are only: {', '.join(by_name)}")
    provider = Provider(by_name, plan, clock)
    await provider.start(host, port)
    try:
        yield provider
    finally:
        await provider.stop()

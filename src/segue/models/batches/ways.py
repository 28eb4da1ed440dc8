"""The ways from this process to the providers that have batches: it needs the model in its catalogue, and its key.

A batch belongs to all processes on the database. One that has no way to its provider knows nothing of it, so it says
nothing of it either: `NoWay` is about this process, and no answer to a question. That an account does not know a batch
says something only where it is the account that the batch was sent with.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from ...errors import SegueError
from ..providers import connected, key_of
from ..signals import error_of
from ..spec import Deployment, Model
from .api import BatchApi
from .limits import LOOK_S, Hangs, within
from .outbox import Batch, Outbox

__all__ = ["NoWay", "Way", "Ways", "other_account"]

_NOT_THERE = frozenset({401, 403, 404})
"""Statuses of an account that has no such batch, or shows it to nobody with this key."""


class Way(NamedTuple):
    """A deployment's batch API."""

    place: str
    """The deployment."""
    api: BatchApi
    address: str
    """Where, and with which key."""

    def account(self, batch: str) -> str:
        """What a batch is marked with that is sent this way. It tells the key to nobody."""
        return blake2b(self.address.encode(), key=batch.encode()[:64], digest_size=8).hexdigest()


class NoWay(NamedTuple):
    """Why this process can do nothing for a batch."""

    why: str
    left: bool = False
    """The batch's deployment has left its pool, and of the others none has the batch: perhaps nobody knows it."""
    called: bool = False
    """Its provider was asked, and knows no such batch with this key, or refuses the key, or does not say."""
    says: Mapping[str, Any] | None = None
    """It was refused when it was sent: what its questions are told where no process does better."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Those of one process. `models` gives a model of its catalogue by name."""

    outbox: Outbox
    models: Callable[[str], Model | None]
    hung: Callable[[Batch], None]
    """Told of a batch that another place was asked for in vain, as its provider hangs."""

    async def to(self, batch: Batch) -> Way | NoWay:
        """That to a batch: of its own deployment or, once it was sent, of one that has the same account."""
        model = self._model(batch.model)
        if isinstance(model, NoWay):
            return model
        deployment = next((d for d in model.pool() if d.name == batch.deployment), None)
        way = None if deployment is None else await _reached(model, deployment)
        if isinstance(way, Way):
            return way
        other = None if batch.tried_at is None else await self._another(batch, model, sure=way is not None)
        if isinstance(other, Way):
            return other
        if way is not None:
            return way._replace(called=isinstance(other, Exception))
        what = f"{batch.deployment} is no longer a deployment of {batch.model}"
        if other is not None:
            why = f"{what}, and it is not known whether another one has its batch: {_first(other)}"
            return _none(why)._replace(called=True)
        if batch.tried_at is not None:
            what += f", and no other one knows its batch {batch.provider_id or batch.id}"
        return NoWay(what, left=True)

    async def instead(self, of: Way, batch: Batch, error: Exception) -> Way | None:
        """That of another deployment which has the batch, where one has said that it does not, or refused its key."""
        if batch.tried_at is None or _status(batch, error) not in _NOT_THERE:
            return None
        model = self._model(batch.model)
        if isinstance(model, NoWay):
            return None
        other = await self._another(batch, model, but=of.place, sure=True)
        return other if isinstance(other, Way) else None

    def refused(self, batch: Batch, error: Exception, says: Mapping[str, Any] | None = None) -> NoWay | None:
        """That its provider knows no such batch with the key of this process, or refuses that; None where it says
        something else.
        """
        if _status(batch, error) not in _NOT_THERE:
            return None
        return _none(_first(error_of(error, model=batch.model)))._replace(called=True, says=says)

    async def found(self, batch: Batch, way: Way) -> tuple[str, bool] | None:
        """A batch of which nobody heard, in the list of a deployment's account; and whether it is surely that one."""
        assert batch.tried_at is not None
        others = [other.provider_id for other in self.outbox.batches() if other.provider_id is not None]
        return await way.api.find(batch.id, batch.total, batch.tried_at, [*batch.not_ours, *others])

    def _model(self, name: str) -> Model | NoWay:
        try:
            return self.models(name) or _none(f"{name} is not in its catalogue")
        except SegueError as error:  # its segue.toml has a mistake
            return _none(error.message)

    async def _another(
        self, batch: Batch, model: Model, but: str | None = None, *, sure: bool
    ) -> Way | Exception | None:
        """Another deployment that has the batch, or with `sure` none that may have it by its looks. None: none has; an
        error: of one or more it is not known. All are asked together, since who has the turn is waited for; the first
        one that has it is taken.
        """
        others = [one for one in model.pool() if one.name not in {batch.deployment, but}]
        ways = [way for one in others if isinstance(way := await _reached(model, one), Way)]
        asked = [asyncio.ensure_future(self._is_known(batch, way, sure=sure)) for way in ways]
        errors: list[Exception] = []
        try:
            for said in asyncio.as_completed(asked):
                try:
                    if (way := await said) is not None:
                        return way
                except Exception as error:  # noqa: BLE001  whatever its provider says
                    errors.append(error)
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if any(isinstance(error, Hangs) for error in errors):
            self.hung(batch)
        return error_of(errors[0], model=batch.model) if errors else None

    async def _is_known(self, batch: Batch, way: Way, *, sure: bool) -> Way | None:
        """The way, where its account has such a batch. Raises what else its provider says."""
        try:
            async with within(LOOK_S):
                if batch.provider_id is None:
                    found = await self.found(batch, way)
                    return way if found is not None and (found[1] or not sure) else None
                await way.api.look(batch.provider_id)
        except Exception as error:
            if _status(batch, error) in _NOT_THERE:
                return None
            raise
        return way


async def _reached(model: Model, deployment: Deployment) -> Way | NoWay:
    try:
        api = (await connected(model, deployment)).batches
    except SegueError as error:  # its key is not there, or its library is not installed
        return _none(error.message)
    if api is None:
        return _none(f"{model.name}: the batch API of {model.provider} is not spoken")
    place = (model.provider, (deployment.url or "").rstrip("/"), deployment.region, key_of(model, deployment))
    return Way(deployment.name, api, " ".join(map(str, place)))


def other_account(batch: Batch) -> NoWay:
    """It may have been taken by an account that this process has not the key of."""
    return _none(
        f"{batch.id} may be under way: it was sent with another key or address, and is not in the list of this one"
    )._replace(called=True)


def _none(why: str) -> NoWay:
    return NoWay(f"{why} (process {os.getpid()})")


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _status(batch: Batch, error: Exception) -> int | None:
    return getattr(error_of(error, model=batch.model), "status", None)

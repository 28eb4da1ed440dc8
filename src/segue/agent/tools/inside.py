"""A flow, or an agent, as a tool: it is called in the flow itself, where what it does is durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from ...core.codec import fingerprint
from ...core.commands import StepOptions
from ...runtime.flow import Flow
from ...runtime.scope import FlowScope, here
from ...runtime.step import Step, step

__all__ = ["Inside", "inside"]

P = ParamSpec("P")
R = TypeVar("R")


class Inside(Step[P, R]):
    """No step of its own, called as one: each call has a key, which no other one has."""

    def __init__(self, function: Callable[P, Any], options: StepOptions, call: Callable[P, Any]):
        super().__init__(function, options)
        self._takes_key = isinstance(cast("object", call), Flow)
        self._call = call

    async def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        scope = here()
        if isinstance(scope, FlowScope) and not self._takes_key:  # a flow's run takes the key itself
            data, _ = self.signature.bind(args, kwargs, self.name)
            scope.key(self.name, fingerprint(data))
        return await self._call(*args, **kwargs)


def inside(function: Callable[..., Any], name: str, call: Callable[..., Any]) -> Inside[..., Any]:
    """`call`, with the parameters and the docstring of `function`."""
    return Inside(function, step(name=name)(function).options, call)

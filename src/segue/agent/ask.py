"""`ask`: a model's answer as a typed value, checked, and asked for again when it is wrong.

Each call of a model is a durable step named `ask`, whose result is the completion with its usage. The checks run in the
flow, between the calls, so they must be pure; what a check turns down is shown to the model in the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar, cast, overload

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from ..core.records import AttemptEnd, AttemptRecorded, AttemptWhy, Target, TargetKind, Usage
from ..models import BadOutput, Completion, Example, Request
from ..models.catalogue import Style
from ..models.local import complete as call_model
from ..runtime.scope import StepScope, here
from ..runtime.step import step

T = TypeVar("T")

Check = Callable[[T], str | None]
"""Says what is wrong with an answer, for the model to read; None when nothing is. A ValueError says it too."""

REPAIRS = 2
"""How often a bad answer is asked for again."""
_REPAIR_TEMPERATURE = 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One call of a model, and why its answer was turned down; `error` is empty for the one that was taken."""

    completion: Completion
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Generic[T]):
    """A value, and the calls that it took: the last one gave it."""

    value: T
    tried: tuple[Tried, ...]


@overload
async def ask(
    prompt: str, *parts: object, returns: type[T], model: str = "smollm2", system: str = "",
    examples: Sequence[tuple[object, T]] = (), check: Check[T] | None = None, max_tokens: int = 256,
    repairs: int = REPAIRS, style: Style | None = None, words: tuple[str, str] = ("Input", "Output"),
) -> T: ...  # fmt: skip
@overload
async def ask(
    prompt: str, *parts: object, model: str = "smollm2", system: str = "",
    examples: Sequence[tuple[object, str]] = (), check: Check[str] | None = None, max_tokens: int = 256,
    repairs: int = REPAIRS, style: Style | None = None, words: tuple[str, str] = ("Input", "Output"),
) -> str: ...  # fmt: skip
async def ask(prompt: str, *parts: object, **options: Any) -> Any:
    """Ask a model, and give its answer as a value of the type `returns` (text if none is given).

    `parts` are what it is asked about: text, or any value, which is shown as JSON. Literals and enums of strings are
    answered by choice, other types as JSON of their schema. `examples` are pairs of an input and the wanted answer.
    Raises BadOutput when no answer fits after `repairs` more calls, and what `models.local.complete` raises.
    """
    return (await answer(prompt, *parts, **options)).value


async def answer(
    prompt: str,
    *parts: object,
    returns: Any = str,
    model: str = "smollm2",
    system: str = "",
    examples: Sequence[tuple[object, Any]] = (),
    check: Check[Any] | None = None,
    max_tokens: int = 256,
    repairs: int = REPAIRS,
    style: Style | None = None,
    words: tuple[str, str] = ("Input", "Output"),
) -> Answer[Any]:
    """As `ask`, with the calls that it took: their usage, and why answers were turned down.

    Raises BadOutput, whose `tried` are the calls.
    """
    form = _form(returns)
    request = Request(
        model=model,
        prompt="\n".join(filter(None, (system, prompt))),
        input="\n".join(map(_shown, parts)),
        examples=[Example(_shown(given), form.written(wanted)) for given, wanted in examples],
        choices=form.choices,
        schema=form.schema,
        max_tokens=max_tokens,
        style=style,
        words=words,
    )
    tried: list[Tried] = []
    while True:
        completion = await complete(_repair(request, tried))
        value, error = form.judge(completion, check)
        tried.append(Tried(completion=completion, error=error))
        if not error:
            return Answer(value=value, tried=tuple(tried))
        if len(tried) > repairs:
            raise _given_up(model, tried)


@step(name="ask", timeout_s=300)
async def complete(request: Request) -> Completion:
    """One durable call of a model. Journaled as a step named `ask`, with the attempt's usage beside it.

    A call that a crash cut off is made again, however often: it costs nothing but time.
    """
    completion = await call_model(request)
    scope = here()
    if isinstance(scope, StepScope):
        scope.record(_attempt(completion, scope.attempt, repair=request.temperature > 0))
    return completion


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """How answers of one type are asked for and read."""

    adapter: TypeAdapter[Any] | None
    choices: list[str]
    schema: dict[str, Any] | None

    def written(self, value: Any) -> str:
        """A value as the model would write it."""
        if self.adapter is None or self.choices:
            return str(value)
        return self.adapter.dump_json(value).decode()

    def judge(self, completion: Completion, check: Check[Any] | None) -> tuple[Any, str]:
        """The value and "", or None and what is wrong."""
        if completion.finish == "length":
            return None, f"it did not end within {completion.tokens_out} tokens"
        try:
            value = self._read(completion.text)
            error = check(value) if check is not None else None
        except ValidationError as bad:
            return None, "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in bad.errors()[:3])
        except ValueError as bad:
            return None, str(bad) or "it is wrong"
        return (None, error) if error else (value, "")

    def _read(self, text: str) -> Any:
        if self.adapter is None:
            return text
        return self.adapter.validate_python(text) if self.choices else self.adapter.validate_json(text)


@cache
def _form(returns: Any) -> _Form:
    if returns is str:
        return _Form(adapter=None, choices=[], schema=None)
    adapter: TypeAdapter[Any] = TypeAdapter(returns)
    schema = adapter.json_schema()
    words = cast("list[object]", schema.get("enum", []))
    if words and all(isinstance(word, str) for word in words):
        return _Form(adapter=adapter, choices=[str(word) for word in words], schema=None)
    return _Form(adapter=adapter, choices=[], schema=schema)


def _shown(part: object) -> str:
    return part if isinstance(part, str) else to_json(part).decode()


def _repair(request: Request, tried: Sequence[Tried]) -> Request:
    """The next call: the same, or with the last error shown and a little luck, lest it say the same again."""
    if not tried:
        return request
    told = f"{request.input}\nDo not repeat this mistake: {tried[-1].error}".strip()
    return replace(request, input=told, temperature=_REPAIR_TEMPERATURE, seed=request.seed + len(tried))


def _given_up(model: str, tried: Sequence[Tried]) -> BadOutput:
    error = BadOutput(f"{model} gave no answer that fits in {len(tried)} calls; the last time: {tried[-1].error}")
    error.tried = tuple(tried)
    return error


def _attempt(completion: Completion, n: int, *, repair: bool) -> AttemptRecorded:
    usage = Usage(
        tokens_in=completion.tokens_in, tokens_out=completion.tokens_out, tokens_cache_read=completion.tokens_cached
    )
    return AttemptRecorded(
        epoch=0,
        n=n,
        target=Target(kind=TargetKind.MODEL, name=completion.model, provider="local"),
        why=AttemptWhy.REPAIR if repair else AttemptWhy.RETRY if n > 1 else AttemptWhy.PRIMARY,
        end=AttemptEnd.ANSWERED,
        amended="error shown" if repair else None,
        usage=usage,
        latency_s=completion.seconds,
        finish_reason=completion.finish,
    )

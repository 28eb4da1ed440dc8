"""What was said in threads and runs is taken up into a memory when that is looked through: lazily, and each turn once.

A mark says how far a thread or a run is taken up, so a later recall reads only what is new, whoever was here before: a
process that was killed, another one, a branch. A turn is noted under the thread that it was said in; a branch sees the
turns that it shares, and a fork none that came after it left. Those who look through no memory pay nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from ..context.notes import NEVER, Said, Scope, ScopeKind, Turns, View
from ..context.types import Kind, Part, Role
from ..core.events import Event, EventType
from ..core.redaction import mask
from ..runtime.scope import Outside, StepScope, here, surroundings
from .past import turn_of
from .turns import told

if TYPE_CHECKING:
    from ..context import Memory

__all__ = ["taken_up"]

_AT_ONCE = 256
"""Turns that are taken up in one transaction; between two of them others go on."""


async def taken_up(memory: Memory, scopes: Iterable[Scope], shown: tuple[str, int] = ("", NEVER)) -> list[View]:
    """What a step sees of some scopes, with all that was said in them so far, as far as its run may know.

    `shown` names a thread, and the turn from which on it is shown anyway.
    """
    around, scope = surroundings(), here()
    outside = None if around is None else around.outside
    wanted = [*dict.fromkeys(scopes)]
    if outside is None or not isinstance(scope, StepScope):
        return [View.of(one) for one in wanted]
    taking = _Taking(memory, outside, scope)
    views = [await taking.view(one, shown) for one in wanted]
    for _ in memory.reading(views):
        await asyncio.sleep(0)
    return views


@dataclass(frozen=True, slots=True)
class _Taking:
    """Takes up for one step."""

    memory: Memory
    outside: Outside
    scope: StepScope

    async def view(self, one: Scope, shown: tuple[str, int]) -> View:
        if one.kind is ScopeKind.RUN:
            return await self._run(one)
        return await self._thread(one, shown) if one.kind is ScopeKind.THREAD else View.of(one)

    async def _thread(self, one: Scope, shown: tuple[str, int]) -> View:
        """In a turn of a branch the name of a thread that it left is the branch itself, but for the notes of it."""
        own = [name for name in self.outside.threads(self.scope.run) if name]
        name = own[0] if one.name in own else one.name
        upto = self.outside.heard(self.scope.tenant, name, self.scope.run)
        turns: list[Turns] = []
        for owner, after, top in self.outside.spans(self.scope.tenant, name, upto):
            of = Scope(ScopeKind.THREAD, owner)
            await self._turns(of, after, top)
            turns.append(Turns(of, after, NEVER if owner == name else top))
        return View(one, tuple(turns), upto, shown[1] if shown[0] == name else NEVER)

    async def _turns(self, of: Scope, after: int, upto: int) -> None:
        mark, erased = max(self.memory.taken_upto(of), after), self.memory.erased_upto()
        batch: list[Said] = []
        for n, outcome in enumerate(self.outside.said(self.scope.tenant, of.name, upto, mark, oldest=True), 1):
            where = self.outside.said_where(outcome)
            if where is not None and where[3] > erased:
                run, key, at, _ = where
                step = Said(outcome.no, "", "", run, key, datetime.fromtimestamp(at, UTC))
                batch += _said(outcome.args, outcome.value, step)
            if n % _AT_ONCE == 0:
                self.memory.take_up(of, batch, outcome.no)
                batch = []
                await asyncio.sleep(0)
        if upto > mark:
            self.memory.take_up(of, batch, upto)

    async def _run(self, one: Scope) -> View:
        upto = self.outside.forked_at(self.scope.run, one.name)
        mark, erased = self.memory.taken_upto(one), self.memory.erased_upto()
        batch: list[Said] = []
        last = mark
        for n, (event, position) in enumerate(self.outside.told(self.scope.tenant, one.name, mark), 1):
            if upto is not None and event.seq > upto:
                break
            last = event.seq
            if position > erased:
                batch += _told(event, one.name)
            if n % _AT_ONCE == 0:
                self.memory.take_up(one, batch, last, once=True)
                batch = []
                await asyncio.sleep(0)
        if last > mark:
            self.memory.take_up(one, batch, last, once=True)
        return View(one, (Turns(one),), NEVER if upto is None else upto)


def _told(event: Event, run: str) -> Iterator[Said]:
    """What an event of a run says: its input, a question and its answer, its result."""
    at = Said(event.seq, "", "", run, event.key or "", datetime.fromtimestamp(event.at, UTC))
    if event.type == EventType.STEP_COMPLETED:
        yield from _said(event.args, event.value, at)
    elif event.type == EventType.RUN_COMPLETED:
        yield from _pieces(_plain(_json(event.value)), replace(at, who="result", source="result"))
    else:
        yield from _pieces(_plain(_json(event.args)), replace(at, who="input", source="input"))


def _said(args: bytes | None, value: bytes | None, at: Said) -> Iterator[Said]:
    """What the user said, and the models; not what tools gave."""
    asked, given = _json(args), _json(value)
    if not _is_answer(asked, given):
        return
    for message in told(turn_of(asked, given)):
        for part in message.parts:
            if part.kind is Kind.TEXT and part.role in (Role.USER, Role.ASSISTANT):
                yield from _pieces(_words(part), replace(at, who=part.who or part.role.value))


def _is_answer(asked: Any, given: Any) -> bool:
    return (
        isinstance(asked, dict) and isinstance(given, dict) and "question" in asked and "tried" in given
        and not cast("dict[str, Any]", given).get("calls")
    )  # fmt: skip


def _words(part: Part) -> str:
    """Without the name, which stands beside it."""
    return part.text.removeprefix(f"[{part.who}] ") if part.who else part.text


def _pieces(text: str, at: Said) -> Iterator[Said]:
    from ..context.memory import LONGEST  # noqa: PLC0415  numpy, which only who remembers needs

    text = text.strip()
    for start in range(0, len(text), LONGEST):
        piece = text[start : start + LONGEST].strip()
        if piece:
            yield replace(at, text=piece)


def _json(data: bytes | None) -> Any:
    return from_json(data or b"null")


def _plain(value: Any) -> str:
    """An input or a result as text: a single text as it is, all else by name."""
    value = mask(value)
    match value:
        case None:
            return ""
        case str():
            return value
        case dict():
            named = cast("Mapping[str, Any]", value)
            texts = [*named.values()]
            if len(texts) == 1 and isinstance(texts[0], str):
                return texts[0]
            return "\n".join(f"{name}: {_shown(one)}" for name, one in named.items())
        case _:
            return _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

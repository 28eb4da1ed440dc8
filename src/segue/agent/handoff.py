"""Hand-offs: roles share one conversation, and whoever holds it may hand it to another.

The conversation is a thread: what each said stands there under their name (`Question.role`), so whoever takes over is
shown all of it, tools and their results included, and the manifest of their call says whose words each part is. What is
bound to the model of the one before (sealed thinking, say) stays behind. In a flow a turn is a scope `converse[…]#k/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from ..core.codec import by_type, fingerprint
from ..core.keys import quoted
from ..errors import DefinitionError, InputError
from ..runtime.scope import in_flow, opened, step_scope
from ..runtime.step import step
from ..runtime.thread import Thread
from .ask import ask
from .options import Options, own_thread, thread_of
from .past import spoken
from .prompts import Prompt, worded
from .threads import Since, outside

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["BRIEF", "HANDED", "Role", "Turned", "converse"]

T = TypeVar("T")

BRIEF = """You are {name}. Answer the user in `say`. If one of these is the right one for what the user wants, leave
`say` empty, name them in `hand_to`, and tell them in `why` what they need to know:
{colleagues}"""
"""What a role is told beside its own instructions. `{name}` and `{colleagues}` are filled in."""
_LOOKED_AT = 1_000
"""Turns at most, for the last one that has a role."""
HANDED = "{by} has handed the conversation to you: {why}\nGo on from what was said."
"""What the one who takes over is told."""


@dataclass(frozen=True)
class Role:
    """One that may hold a conversation."""

    name: str
    system: str | Prompt = ""
    """Its instructions."""
    about: str = field(default="", kw_only=True)
    """What it is for: those who may hand over to it are told."""
    tools: Sequence[Callable[..., Any]] = field(default=(), kw_only=True)
    to: Sequence[str] | None = field(default=None, kw_only=True)
    """To whom it may hand over; None: to all others."""
    options: Options = field(default_factory=Options, kw_only=True)
    """How its model is asked: `route`, `model` and the others of `ask`."""


@dataclass(frozen=True, kw_only=True)
class Turned(Generic[T]):
    """An answer, and who held the conversation: the last one gave it."""

    value: T
    held: tuple[str, ...]
    why: tuple[str, ...] = ()
    """What was said at each hand-off."""

    @property
    def by(self) -> str:
        """Who answered, and holds the conversation now."""
        return self.held[-1]


@step(name="holder")
async def holder(thread: str, names: list[str]) -> str | None:
    """Who holds a thread: the role that answered last, if it is one of these."""
    around, scope = outside(), step_scope()
    if around is None:
        return None
    turns = around.said(scope.tenant, thread, around.heard(scope.tenant, thread, scope.run))
    asked: Iterator[dict[str, Any]] = (json.loads(turn.args or b"{}") for turn in islice(turns, _LOOKED_AT))
    roles: Iterator[str] = (one.get("question", {}).get("role", "") for one in asked)
    last = next((role for role in roles if role), None)  # what was asked beside the conversation has none
    return last if last in names else None


async def converse(
    said: str,
    roles: Sequence[Role],
    *,
    thread: str | Thread | None = None,
    first: str | None = None,
    returns: TypeForm[T] = str,
    handoffs: int = 3,
    brief: str = BRIEF,
    handed: str = HANDED,
    key: str | None = None,
) -> Turned[T]:
    """Put what the user said to whoever holds the thread, and let them answer or hand over, up to `handoffs` times.

    In a turn of a `Thread` the thread is that one, unless `thread` names another. At the start `first` holds it, or the
    first of `roles`. After the last hand-off whoever has it must answer.
    Raises what `ask` does; NotInAFlow outside of a flow; InputError where there is no thread; DefinitionError for roles
    of one name and for one that there is not.
    """
    by_name = _named(roles, first)
    if not isinstance(said, str) or handoffs < 0:  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError("converse: what is said is a text, handoffs is at least 0")
    try:
        _ = brief.format(name="", colleagues=""), handed.format(by="", why="")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        known = "brief= knows {name} and {colleagues}, handed= {by} and {why}"
        what = (
            f"has a place for {error}" if isinstance(error, KeyError | IndexError) else f"cannot be filled in: {error}"
        )
        raise InputError(f"converse: a text {what}", remedy=known) from error
    in_flow("segue.agent.converse")  # elsewhere a thread has no memory
    if (at := own_thread() if thread is None else thread_of(thread)) is None:
        remedy = 'start it by Thread("user-42").start(flow, ...), or give thread="user-42"'
        raise InputError("converse: the run is no turn of a thread", remedy=remedy)
    ident = fingerprint(json.dumps({"said": said, "thread": at}).encode()) if key is None else quoted(key)
    with opened("converse", ident):
        name = await holder(at, list(by_name)) or first or roles[0].name
        talk = _Talk(at, returns, brief, Since())
        held, why, text, by = [name], list[str](), said, ""
        while True:
            role = by_name[held[-1]]
            colleagues = [by_name[n] for n in _colleagues(role, by_name)] if len(why) < handoffs else []
            turn = await talk.asked(role, colleagues, text, by)
            if turn.hand_to is None:
                return Turned(value=turn.say, held=tuple(held), why=tuple(why))
            by, text = role.name, handed.format(by=role.name, why=turn.why or "without a word")
            held.append(turn.hand_to)
            why.append(turn.why)


@dataclass(frozen=True)
class _Talk:
    """What all turns of one `converse` have in common."""

    thread: str
    returns: Any
    brief: str
    since: Since
    """What was said in them: a fork does not hear it in the thread."""

    async def asked(self, role: Role, colleagues: Sequence[Role], text: str, by: str) -> Any:
        """What a role does with what it is told: a `_Turn`."""
        own, _ = await worded(role.system)
        told = "\n".join(f"- {one.name}: {one.about or 'whatever their name says'}" for one in colleagues)
        brief = self.brief.format(name=role.name, colleagues=told) if colleagues else ""
        options: Options = {
            **role.options, "thread": self.thread, "role": role.name, "asked_by": by, "tools": role.tools,
            "system": "\n\n".join(filter(None, (own, brief))), "history": role.options.get("history") or self.since,
        }  # fmt: skip
        form = _form(self.returns, tuple(one.name for one in colleagues))
        turn = await ask(text, returns=form, check=_whole if colleagues else _answered, **options)
        self.since.add(spoken(text, by), spoken(turn.model_dump_json(exclude_none=True), role.name))
        return turn


class _Turn(BaseModel):
    """What a role does: it answers, or hands over."""

    model_config = ConfigDict(extra="forbid")
    say: Any = None
    hand_to: str | None = None
    why: str = ""


def _whole(turn: Any) -> str | None:
    """One of the two, not both."""
    if (turn.say is None or turn.say == "") == (turn.hand_to is None):
        return "answer in `say`, or name a colleague in `hand_to`: one of the two"
    return None


def _answered(turn: Any) -> str | None:
    """Nobody is left to hand over to."""
    if turn.hand_to is not None or turn.say is None or turn.say == "":
        return "answer in `say`, and leave `hand_to` empty: you have the conversation now"
    return None


@by_type
def _form(returns: Any, colleagues: tuple[str, ...]) -> type[_Turn]:
    names: Any = Literal[colleagues] if colleagues else None
    hand_to = {"hand_to": (names | None, Field(default=None))} if colleagues else {}
    fields: dict[str, Any] = {"say": (returns | None, Field(default=None)), **hand_to}
    return create_model("Turn", __base__=_Turn, **fields)


def _named(roles: Sequence[Role], first: str | None) -> dict[str, Role]:
    odd = next((one for one in roles if not isinstance(one, Role) or not one.name), None)  # pyright: ignore[reportUnnecessaryIsInstance]  users err
    if odd is not None:
        raise DefinitionError(f"converse: {odd!r} is no role with a name", remedy='give Role("billing", "You ...")')
    by_name = {role.name: role for role in roles}
    if not roles or len(by_name) < len(roles):
        raise DefinitionError("converse: at least one role, each of a name of its own", remedy="name them apart")
    wanted = {name for role in roles for name in role.to or ()}
    wanted |= set() if first is None else {first}
    unknown = sorted(wanted - by_name.keys())
    if unknown:
        raise DefinitionError(f"converse: no role is called {unknown[0]!r}", remedy=f"one of {', '.join(by_name)}")
    return by_name


def _colleagues(role: Role, by_name: dict[str, Role]) -> list[str]:
    among = by_name if role.to is None else role.to
    return [name for name in among if name != role.name]

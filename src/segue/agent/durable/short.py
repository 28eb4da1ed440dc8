"""`agent(...)`: an agent as something that a flow calls, in the words of `ask`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast, get_origin, overload

from ...errors import DefinitionError, InputError
from ...runtime.step import Step
from ..media import media_of
from ..request import shown
from ..resent import Words
from ..tools import Tool as OurTool
from .routing import Routing, routing

if TYPE_CHECKING:
    from pydantic_ai import Agent
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.run import AgentRunResult
    from pydantic_ai.toolsets import AbstractToolset
    from pydantic_ai.usage import UsageLimits
    from typing_extensions import TypeForm

    from ..people.plan import Names

    Said = ModelMessage | Mapping[str, str]

__all__ = ["DurableAgent", "agent"]

T = TypeVar("T")
_ROUNDS = 50
_RETRIES = 3


class _Nameless(DefinitionError, AttributeError):
    """An agent is no function; whoever asks whether it has a function's name may be told that it has none."""


class DurableAgent(Generic[T]):
    """An agent that is ready to be called. It is built at the first call."""

    @property
    def __name__(self) -> str:
        """None: it would be called in a step, where nothing of it is durable. Raises DefinitionError."""
        raise _Nameless(f"agent {self.name} is no tool of Pydantic AI", remedy=f"give tools=[{self.name}.as_tool]")

    def __init__(self, make: Callable[[], Agent[None, T]], name: str, limits: Callable[[], UsageLimits], about: str):
        self._make, self.name, self._limits, self.about = make, name, limits, about

    @functools.cached_property
    def agent(self) -> Agent[None, T]:
        """The agent of Pydantic AI that it is."""
        return self._make()

    @property
    def as_tool(self) -> OurTool[..., Any]:
        """It as a tool of a question, or of another agent."""

        async def consult(request: str) -> Any:
            return await self(request)

        consult.__doc__ = f"Hands a request over to {self.name}, who answers it."
        return OurTool.inside(consult, self.name, consult)

    async def __call__(self, prompt: str, *parts: object, history: Sequence[Said] | None = None) -> T:
        """Ask it, and give its answer. `parts` are as those of `ask`: text, a value, `Media`. `history` is what was
        said before, as a client holds it, `{"role": "user", "content": text}`, or as an earlier run has given it.

        In a flow every request and every call is a step, under `agent[name]#k/`. Raises what `ask` and its tools raise,
        and Pydantic AI's own errors: UsageLimitExceeded after `rounds` requests.
        """
        return (await self.run(prompt, *parts, history=history)).output

    async def run(self, prompt: str, *parts: object, history: Sequence[Said] | None = None) -> AgentRunResult[T]:
        """As a call, with all that was said: `all_messages()` is the `history` of the next one."""
        if not isinstance(prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise InputError(f"{self.name}: the prompt is no text: {prompt!r}", remedy="give values as parts of it")
        from .conversation import messages_of  # noqa: PLC0415  heavy, and only who calls an agent needs it

        if not any(not isinstance(part, str) or part.strip() for part in (prompt, *parts)):
            raise InputError(f"{self.name}: nothing is asked: the prompt is empty", remedy="give a prompt, or parts")
        beside = [_content(part) for part in parts]
        said = [prompt, *beside] if parts else prompt
        question = Words.of(prompt, [part for part in beside if isinstance(part, str)])
        held = None if history is None else messages_of(history, question, self.name)
        return await self.agent.run(said, message_history=held, usage_limits=self._limits())


@overload
def agent(
    system: str, *, returns: TypeForm[T], name: str = "agent", tools: Sequence[Callable[..., Any]] = (),
    toolsets: Sequence[AbstractToolset[Any]] = (), model: str | None = None, rounds: int = _ROUNDS,
    approve_by: Names | None = (), capabilities: Sequence[AbstractCapability[Any]] = (), **options: Unpack[Routing],
) -> DurableAgent[T]: ...  # fmt: skip
@overload
def agent(
    system: str, *, name: str = "agent", tools: Sequence[Callable[..., Any]] = (),
    toolsets: Sequence[AbstractToolset[Any]] = (), model: str | None = None, rounds: int = _ROUNDS,
    approve_by: Names | None = (), capabilities: Sequence[AbstractCapability[Any]] = (), **options: Unpack[Routing],
) -> DurableAgent[str]: ...  # fmt: skip
def agent(
    system: str, *, returns: Any = str, name: str = "agent", tools: Sequence[Callable[..., Any]] = (),
    toolsets: Sequence[AbstractToolset[Any]] = (), model: str | None = None, rounds: int = _ROUNDS,
    approve_by: Names | None = (), capabilities: Sequence[AbstractCapability[Any]] = (), **options: Unpack[Routing],
) -> DurableAgent[Any]:  # fmt: skip
    """Make an agent, which a flow then calls with what is asked.

        helper = agent("You help.", tools=[look_up], returns=Place, route="strong")
        place = await helper("Where is it?")

    `system` says what it is, `returns` what it gives. `tools` are as those of `ask`: functions, steps, flows and other
    agents; what they raise as ValueError goes back to the model. `toolsets` are Pydantic AI's: MCP servers, say. Who
    answers is said by `route`, by `model` or by the default; all further options are those of `ask`, for each request.
    `approve_by` is asked for tools that require approval. At most `rounds` requests are made.
    Raises InputError for an option that there is not, DefinitionError for what cannot be a tool.
    """
    _hold(system, name, rounds, returns)
    hold_tools(tools)
    routing(options)

    def make() -> Agent[None, Any]:
        from pydantic_ai import Agent  # noqa: PLC0415  heavy, and only who calls an agent needs it

        from .capability import Durable  # noqa: PLC0415  it imports the same

        durable: Durable[Any] = Durable(approve_by=approve_by, **options)
        return Agent(
            model, name=name, instructions=system, output_type=returns, tools=[tool_of(one) for one in tools],
            toolsets=list(toolsets), retries=_RETRIES, capabilities=[*capabilities, durable],
        )  # fmt: skip

    def limits() -> UsageLimits:
        from pydantic_ai.usage import UsageLimits  # noqa: PLC0415  heavy, and only who calls an agent needs it

        return UsageLimits(request_limit=rounds)

    return DurableAgent(make, name, limits, system)


def _hold(system: object, name: object, rounds: object, returns: object) -> None:
    """Raises DefinitionError for what an agent cannot be made of."""
    if not isinstance(system, str):
        raise DefinitionError(f"agent: {system!r} is no text that says what it is")
    if not isinstance(name, str) or not name:
        raise DefinitionError(f"agent: name={name!r}: a text was expected")
    if not isinstance(rounds, int) or rounds < 1:
        raise DefinitionError(f"agent: rounds={rounds!r}: rounds is at least 1")
    if isinstance(returns, str):
        raise DefinitionError(f"agent: returns={returns!r}: a type was expected", remedy="returns=Place, not its name")


def hold_tools(tools: object) -> None:
    """Raises DefinitionError for what is no list of tools, and for two of one name."""
    if isinstance(tools, str) or not isinstance(tools, Sequence):
        raise DefinitionError(f"agent: tools={tools!r}: a list of tools was expected", remedy="tools=[look_up]")
    names: set[str] = set()
    for one in cast("Sequence[Any]", tools):
        if not callable(one) and not hasattr(one, "function_schema"):
            raise DefinitionError(f"{one!r} is no tool", remedy="give a function, a step, a flow or an agent")
        name = str(getattr(one, "short", None) or getattr(one, "name", None) or getattr(one, "__name__", one))
        if name in names:
            raise DefinitionError(f"agent: two tools are called {name!r}", remedy="give one of them tool(name=...)")
        names.add(name)


def tool_of(given: Callable[..., Any]) -> Any:
    """A tool of Pydantic AI. Raises DefinitionError for what cannot be one."""
    from pydantic_ai.tools import Tool  # noqa: PLC0415  heavy, and only who calls an agent needs it

    from .tools import METADATA, as_tool  # noqa: PLC0415  it imports the same

    if isinstance(given, Tool):
        return cast("Any", given)
    return Tool(given, metadata={METADATA: {}}) if _takes_context(given) else as_tool(given)


def _takes_context(given: Callable[..., Any]) -> bool:
    """Whether a function asks for what Pydantic AI knows of the run: then it is a tool of Pydantic AI."""
    from pydantic_ai.tools import RunContext  # noqa: PLC0415  heavy, and only who calls an agent needs it

    if isinstance(given, Step) or not inspect.isroutine(given):
        return False
    first = next(iter(inspect.signature(given).parameters.values()), None)
    asked = None if first is None else first.annotation
    return "RunContext" in asked if isinstance(asked, str) else get_origin(asked) is RunContext or asked is RunContext


def _content(part: object) -> Any:
    media = media_of(part)
    if media is None:
        try:
            return shown(part)
        except ValueError as error:
            raise InputError(f"a part of type {type(part).__name__} cannot be shown: {error}") from error
    from pydantic_ai.messages import BinaryContent  # noqa: PLC0415  heavy, and only who calls an agent needs it

    return BinaryContent(media.data, media_type=media.type)

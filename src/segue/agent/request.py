"""What is asked of whoever will answer, and what came of it: JSON, so that it can stand in the journal."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from ..core.shell import command
from ..errors import InputError
from ..models import BadOutput, Capability, Example, Model, Provider
from ..models.wrapping import is_open
from ..runtime.scope import FlowScope, here
from .form import Form, misfit
from .media import IMAGE_MAX, TOKENS, Shown, interleaved
from .memories import Recalled

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

    from ..models.exchange import OutputMode

__all__ = [
    "Asked", "Given", "Question", "Tried", "bound", "by_hand", "by_hand_as", "input_bound", "messages", "output_mode",
    "shown", "unfit",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question. Who answers it is decided at each attempt."""

    prompt: str
    parts: list[str] = field(default_factory=list[str])
    system: str = ""
    examples: list[Example] = field(default_factory=list[Example])
    schema: dict[str, Any] | None = None
    route: str | None = None
    model: str | None = None
    kind: str | None = None
    needs: list[str] = field(default_factory=list[str])
    require: dict[str, str] = field(default_factory=dict[str, str])
    max_tokens: int = 1024
    budget_usd: float | None = None
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    first: str | None = None
    """Whom to ask first: the one that is to mend its answer, or the next one up."""
    mistakes: list[str] = field(default_factory=list[str])
    """What was wrong with the answers so far, for the next one to avoid."""
    tools: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What a model is told of each: name, description, schema."""
    prompts: dict[str, str] = field(default_factory=dict[str, str])
    """The named prompts in it, and the version of each."""
    media: list[Shown] = field(default_factory=list[Shown])
    """Given to the step as an argument of its own, and so are the turns: each is stored once."""
    turns: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What was said since: calls of tools and their results, as messages of pydantic-ai."""
    thread: str | None = None
    heard: int = 0
    """How far it has read its thread."""
    summed: int = 0
    """Up to where a summary stands for what was said in it; 0: nowhere."""
    children: dict[str, str] = field(default_factory=dict[str, str])
    """What turns of it have started and what has not ended, by run."""
    recalled: list[Recalled] = field(default_factory=list[Recalled])
    """What memories hold on it."""
    before: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """What the caller says was said before, and the thread does not hold: `role` and `content` of each."""
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The turns of the thread that it goes on from, as messages of pydantic-ai: read at each attempt, never stored."""
    role: str = ""
    """Who answers, by the name of their role."""
    asked_by: str = ""
    """Whose words the prompt is, where it is not the user's."""
    begun: str = ""
    """What has gone out of an answer that broke off, for this one to go on from."""
    must_call: bool = False
    """Whether the answer is a call of a tool, and no text."""

    @property
    def text(self) -> str:
        """All of it, for whoever chooses a model."""
        return "\n".join(filter(None, (self.system, self.prompt, *self.parts)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One call of a model. `error` says why its answer was not taken; it is empty for the one that was."""

    model: str
    error: str = ""
    fault: str = ""
    """The kind of fault, in the words of `core.faults.FaultKind`."""
    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_nano: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A call of a tool that a model asks for. `args` is JSON as the model wrote it."""

    id: str
    name: str
    args: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """An answer: its value as JSON, and the calls that it took. The last one gave it."""

    value: Any
    tried: list[Tried]
    said: dict[str, Any] | None = None
    """In place of a value: the model's turn, which calls tools."""
    calls: list[Asked] = field(default_factory=list[Asked])


def by_hand(value: object) -> dict[str, object]:
    """A `Given` of what somebody has said in the place of a model: of an agent its text, or its output."""
    return {"value": value, "tried": []}


def by_hand_as(form: Form, value: object) -> dict[str, object]:
    """The same, where the answer is of one form. Raises ValueError for what is none of it."""
    if form.adapter is None and not isinstance(value, str):
        raise ValueError(f"a text is wanted, not {value!r:.80}, which was said by hand")
    try:
        form.value(value)
    except ValueError as error:
        raise ValueError(f"{misfit(error)}, in what was said by hand") from error
    return by_hand(value)


def unfit(what: str, which: str = "the answer on record") -> BadOutput:
    """The error of such a value that does not fit, or of one on record that another type was wanted for."""
    scope = here()
    at = (scope.drive.run, f"{scope.path}ask") if isinstance(scope, FlowScope) else (None, None)
    anew = command("fork", "RUN", "--at", "KEY")
    remedy = f"give one of today's type: {anew} asks anew, run.fork(results={{key: value}}) says it"
    said = f"{which} does not fit today's type: {what}"
    return BadOutput(said, run=at[0], key=at[1], remedy=remedy)


def shown(part: object) -> str:
    """A part as a model is shown it: text, or JSON. Raises InputError for what is neither."""
    try:
        said = part if isinstance(part, str) else to_json(part).decode()
        said.encode()
    except UnicodeEncodeError as error:
        remedy = 'take it out: text.encode("utf-8", "replace").decode()'
        raise InputError(f"a text holds half of a character, at {error.start}", remedy=remedy) from error
    except ValueError as error:
        remedy = "give a text, a value that JSON can carry, or Media"
        raise InputError(f"{type(part).__name__} cannot be shown to a model: it is no JSON", remedy=remedy) from error
    return said


def output_mode(model: Model, schema: Mapping[str, Any] | None, *, tools: bool = False) -> OutputMode:
    """How a model is held to a schema: natively where it can, else as the arguments of a tool, else by being asked.

    Google's models take no schema beside `tools`.
    """
    if schema is None:
        return "text"
    open_ = model.provider is Provider.ANTHROPIC and is_open(schema)
    beside = model.provider is Provider.GOOGLE and tools and model.can(Capability.TOOLS)
    if model.can(Capability.JSON_SCHEMA) and not (open_ or beside):
        return "native"
    return "tool" if model.can(Capability.TOOLS) else "prompt"


def bound(question: Question) -> int:
    """Tokens of input that it surely stays under: one a byte would be too many, one for two bytes is not too few."""
    examples = [e.input + e.output for e in question.examples]
    said: Sequence[str] = (question.text, question.begun, *question.mistakes, *examples)
    turns, seen = without_files([*question.history, *question.turns])
    schema = len(to_json([question.schema, question.tools, turns]))
    files = TOKENS * (len(question.media) + seen)
    return 64 + 16 * len(question.examples) + files + (sum(len(text.encode()) for text in said) + schema) // 2


def input_bound(question: Question) -> int:
    """Tokens of input that no tokeniser exceeds in what people write: one a byte, half for letters and spaces.

    A budget is held to it, so it is wider than `bound`: signs, digits and other scripts may take a token a byte.
    """
    examples = [e.input + e.output for e in question.examples]
    said: Sequence[str] = (question.text, question.begun, *question.mistakes, *examples)
    turns, seen = without_files([*question.history, *question.turns])
    beside = b"".join(to_json(one) for one in (question.schema, question.tools, turns) if one)
    whole = "".join(said).encode() + beside
    signs = len(whole.translate(None, _LETTERS))
    files = sum(one.tokens_max for one in question.media) + IMAGE_MAX * seen
    return 128 + 16 * len(question.examples) + files + signs + (len(whole) - signs + 1) // 2


def without_files(turns: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Messages without the files that tools gave, and how many those are."""
    if not any(isinstance(part.get("content"), list) for turn in turns for part in turn["parts"]):
        return [*turns], 0
    plain = [{**turn, "parts": [_without_files(part) for part in turn["parts"]]} for turn in turns]
    return plain, sum(_files(part) for turn in turns for part in turn["parts"])


def _files(part: Mapping[str, Any]) -> int:
    content: Any = part.get("content")
    return sum(map(is_file, cast("list[Any]", content))) if isinstance(content, list) else 0


def _without_files(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "content": [one for one in part["content"] if not is_file(one)]} if _files(part) else part


def is_file(item: object) -> bool:
    """Whether an item of a tool's content is a file, as JSON."""
    return isinstance(item, dict) and cast("dict[str, Any]", item).get("kind") == "binary"


_LETTERS = (string.ascii_letters + " ").encode()


def messages(question: Question) -> list[ModelMessage]:
    """The question as a conversation: examples as turns that went before."""
    from pydantic_ai import messages as m  # noqa: PLC0415  heavy, and only who asks needs it

    said: list[ModelMessage] = []
    apart = bool(question.parts or question.media)
    system = "\n".join(filter(None, (question.system, question.prompt if apart else "")))
    head: list[m.ModelRequestPart] = [m.SystemPromptPart(system)] if system else []
    for example in question.examples:
        said.append(m.ModelRequest(parts=[*head, m.UserPromptPart(example.input)]))
        said.append(m.ModelResponse(parts=[m.TextPart(example.output)]))
        head = []
    if question.history:
        said += [m.ModelRequest(parts=head)] if head else []
        said += m.ModelMessagesTypeAdapter.validate_python(question.history)
        head = []
    texts = question.parts if apart else [question.prompt]
    mistake = [f"Do not repeat this mistake: {question.mistakes[-1]}"] if question.mistakes else []
    if not question.turns:
        texts, mistake = [*texts, *mistake], []
    shown = interleaved(texts, question.media) if question.media else "\n".join(texts)
    said.append(m.ModelRequest(parts=[*head, m.UserPromptPart(shown)]))
    said += m.ModelMessagesTypeAdapter.validate_python(question.turns)
    said += [m.ModelRequest(parts=[m.UserPromptPart(text)]) for text in mistake]
    return [*said, m.ModelResponse(parts=[m.TextPart(question.begun)])] if question.begun else said

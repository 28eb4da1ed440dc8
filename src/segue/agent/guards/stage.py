"""The two stages of an attempt at which guards look, and what becomes of what they find."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from ...core.faults import classify
from ...core.records import AttemptEnd, Check
from ...core.redaction import Cut
from ...core.shell import command
from ...models import Example, ModelError
from ...models.errors import ContentBlocked, ContentRefused
from ...models.exchange import Reply
from ..called import Called
from ..failures import ELSEWHERE
from ..form import Form
from ..given import in_pieces, with_pieces
from ..recorded import Recorded
from ..request import Given, Question, is_file
from .guard import Finding, Guard
from .seams import across, as_lines, base_of, closely, cuts_in, spaced, without
from .verdicts import Verdicts

__all__ = ["Guarding"]


@dataclass(frozen=True, slots=True)
class Guarding:
    """Those of one attempt. A block is on record as the attempt's end, and is never asked for elsewhere."""

    guards: Sequence[Guard] = ()
    verdicts: Verdicts = field(default_factory=Verdicts)
    """What those that ask models have said before."""

    @property
    def withhold(self) -> bool:
        """Whether an answer must be whole, and looked at, before anybody is shown some of it."""
        return any(guard.at("after") and guard.on_hit != "flag" for guard in self.guards)

    @property
    def redacts(self) -> bool:
        """Whether a model may be shown other turns than there were."""
        return any(guard.at("before") and guard.on_hit == "redact" for guard in self.guards)

    async def shown(self, turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Turns as a model may be shown them. Raises ContentBlocked, where a guard fails."""
        looked, left = _Looked("before", self.verdicts), list(turns)
        for guard in self.guards:
            if guard.at("before") and guard.on_hit == "redact":
                changed = await looked.by(guard, _told(left))
                left = _retold(left, partial(_as, changed)) if changed else left
        if looked.blocked is not None:
            raise looked.blocked
        return left

    async def before(self, question: Question, record: Recorded) -> tuple[Question, Recorded]:
        """The request as it may be sent. Raises ContentBlocked."""
        looked = _Looked("before", self.verdicts)
        for guard in self.guards:
            if guard.at("before"):
                shown = _untrusted(question) if guard.untrusted else _said(question)
                changed = await looked.by(guard, shown)
                question = _changed(question, changed) if changed else question
        record = replace(record, question=question, checks=(*record.checks, *looked.checks))
        if looked.blocked is not None:
            record.ended(AttemptEnd.REJECTED, fault=classify(looked.blocked))
            raise looked.blocked
        return question, record

    async def after(self, given: Given, record: Recorded, called: Called, form: Form) -> tuple[Given, Recorded]:
        """The answer as it may be used. Raises ContentBlocked."""
        looked = _Looked("after", self.verdicts)
        for guard in self.guards:
            if guard.at("after"):
                changed = await looked.by(guard, _answered(given))
                given = _without(given, changed) if changed else given
        if looked.blocked is None and given.said is None and looked.redacted:
            looked.hold(form, given.value)
        record = replace(record, checks=(*record.checks, *looked.checks))
        if looked.blocked is not None:
            unseen = replace(called, reply=None if called.reply is None else replace(called.reply, text=""))
            record.ended(AttemptEnd.REJECTED, unseen, fault=classify(looked.blocked))
            raise looked.blocked
        return given, record

    def kept(self, reply: Reply | None) -> Reply | None:
        """A reply that is turned down, as it may be kept: without its text, where guards have not seen it."""
        unseen = reply is not None and any(guard.at("after") for guard in self.guards)
        return replace(reply, text="") if unseen and reply is not None else reply


class _Looked:
    """What was found at one stage so far."""

    def __init__(self, stage: str, verdicts: Verdicts | None = None) -> None:
        self.verdicts = verdicts or Verdicts()
        self.stage, self.checks = stage, list[Check]()
        self.redacted: Guard | None = None
        self.blocked: ContentBlocked | None = None

    async def by(self, guard: Guard, groups: Sequence[Sequence[str]]) -> dict[str, str]:
        """Let a guard look: texts in a group follow each other. Gives those that it wants otherwise."""
        if self.blocked is not None or not any(text.strip() for group in groups for text in group):
            return {}
        try:
            found = await _findings(guard, groups, self.verdicts)
        except Exception as error:  # noqa: BLE001  a guard may raise anything: its policy says what that means
            return self._failed(guard, error)
        why = "; ".join(dict.fromkeys(finding.why for finding in found.values()))
        self.checks.append(Check(name=guard.name, passed=not found, why=why, stage=self.stage))
        if not found or guard.on_hit == "flag":
            return {}
        without = {text: finding.text for text, finding in found.items() if finding.text is not None}
        if guard.on_hit == "block" or len(without) < len(found):
            self._block(guard, why)
            return {}
        self.redacted = guard
        return without

    def hold(self, form: Form, value: Any) -> None:
        """See that a redacted value still is one of its type."""
        try:
            form.value(value)
        except ValueError:
            assert self.redacted is not None, "something was cut out"
            self._block(self.redacted, "what is left of the answer does not fit its type")

    def _failed(self, guard: Guard, error: Exception) -> dict[str, str]:
        why = f"the guard itself failed: {classify(error).message or type(error).__name__}"
        passes = guard.on_fail == "open"
        self.checks.append(Check(name=guard.name, passed=passes, why=why, stage=self.stage))
        if not passes:
            own = None if isinstance(error, ContentRefused) else getattr(error, "remedy", None)
            self._block(guard, why, own or _remedy(error))
        return {}

    def _block(self, guard: Guard, why: str, first: str = "") -> None:
        what = "the request" if self.stage == "before" else "the answer"
        look = f"look at {guard.written_at or f'the guard {guard.name} in your code'}, or at the text"
        fails = f"on_fail in {guard.written_at}" if guard.written_at else 'its on_fail, as Guard(..., on_fail="open")'
        then = f"{first}; what follows where it fails is {fails}"
        error = ContentBlocked(f"guard {guard.name} blocked {what}: {why}", remedy=then if first else look)
        error.guard, error.stage, error.why = guard.name, self.stage, why
        self.blocked = error


def _remedy(error: Exception) -> str:
    """What is done about a model that did not answer a guard; empty where that is not the matter."""
    if not isinstance(error, ModelError):
        return ""
    elsewhere = classify(error).kind in ELSEWHERE
    return f"see how its model is: {command('models')}" if elsewhere else "let another model judge"


async def _findings(guard: Guard, groups: Sequence[Sequence[str]], verdicts: Verdicts) -> dict[str, Finding]:
    texts = list(dict.fromkeys(text for group in groups for text in group if text.strip()))
    shown = ["\n".join(texts)] if guard.together else texts
    looked = {text: await verdicts.of(guard, text) for text in shown}
    found = {text: finding for text, finding in looked.items() if finding is not None}
    for group in groups if not guard.together else ():
        for text, finding in (await _across(guard, group, found, verdicts)).items():
            found[text] = finding
    return found


async def _across(
    guard: Guard, group: Sequence[str], found: Mapping[str, Finding], verdicts: Verdicts
) -> dict[str, Finding]:
    """What stands across the seams of texts that follow each other; with what was found in each alone."""
    if any(text in found and found[text].text is None for text in group):
        return {}  # all of it counts as found
    bases = [base_of(text, found.get(text)) for text in group]
    texts, own = [base.text for base in bases], [base.cuts for base in bases]
    more, why = [list[Cut]() for _ in group], ""
    for join in (spaced, closely, as_lines):
        view = join(texts)
        if view is None or (join is closely and view == spaced(texts)):
            continue
        finding = await verdicts.of(guard, view.text)
        if finding is None:
            continue
        met = cuts_in(view, finding)
        if met is None and join is as_lines:  # it can be anywhere in them
            return {text: Finding(finding.why) for text in group if text.strip()}
        known = [(*cuts, *some) for cuts, some in zip(own, more, strict=True)]
        for some, new in zip(more, across(view, met or (), known), strict=True):
            some.extend(new)
        why = finding.why
    left: dict[str, Finding] = {}
    for text, base, some in zip(group, bases, more, strict=True):
        if some:  # one that is there twice loses what is taken out at either place
            twins = [cut for twin, cuts in zip(group, more, strict=True) if twin == text for cut in cuts]
            left[text] = Finding(why, without(base.text, [*base.cuts, *twins]))
    return left


def _untrusted(question: Question) -> list[list[str]]:
    """What comes from elsewhere: the parts and the results of tools; of a question without parts, all of it."""
    return [question.parts or [question.prompt], *_told(question.turns)]


def _said(question: Question) -> list[list[str]]:
    """All texts; those of one message that follow each other are together."""
    apart = bool(question.parts or question.media)
    head = [[question.system, question.prompt]] if apart else [[question.system], [question.prompt]]
    examples = [[text] for one in question.examples for text in (one.input, one.output)]
    return [*head, question.parts, *examples, *_told(question.history), *_told(question.turns)]


def _told(turns: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What messages say: not the names, ids and seals in them. Documents are looked at as they were in the question."""
    found: list[list[str]] = []
    for turn in turns:
        pieces = in_pieces(turn)
        if pieces:
            found.append(pieces)
            continue
        last = ""
        for part in turn["parts"]:
            kind, content = str(part.get("part_kind")), part.get("content")
            if isinstance(content, str) and kind == last and kind in _RUNNING:
                found[-1].append(content)
            elif isinstance(content, list):  # texts and files, one after the other
                found.append([one for one in cast("list[Any]", content) if isinstance(one, str)])
                found += [
                    [text] for one in cast("list[Any]", content) if not isinstance(one, str) for text in _strings(one)
                ]
            else:
                found += [[text] for text in _strings(content)]
            found += [[text] for text in _strings(_read(part.get("args")))]
            last = kind
    return found


_RUNNING = frozenset({"text", "user-prompt", "system-prompt", "thinking"})
"""Parts of messages that read as one text where one follows another."""


def _changed(question: Question, new: Mapping[str, str]) -> Question:
    return replace(
        question,
        system=new.get(question.system, question.system),
        prompt=new.get(question.prompt, question.prompt),
        parts=[new.get(part, part) for part in question.parts],
        examples=[Example(new.get(e.input, e.input), new.get(e.output, e.output)) for e in question.examples],
        history=_retold(question.history, partial(_as, new)),
        turns=_retold(question.turns, partial(_as, new)),
    )


def _as(new: Mapping[str, str], text: str) -> str:
    return new.get(text, text)


def _retold(turns: Sequence[dict[str, Any]], change: Callable[[str], str]) -> list[dict[str, Any]]:
    """Messages with other texts in the places that `_told` looks at."""
    return [_anew(turn, change) for turn in turns]


def _anew(turn: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    pieces = in_pieces(turn)
    if pieces:
        return with_pieces(turn, [change(piece) for piece in pieces])
    by: dict[str, Callable[[Any], Any]] = {
        "content": lambda content: _mapped(content, change),
        "args": lambda args: _rewritten(args, change),
    }
    return {**turn, "parts": [{k: by[k](v) if k in by else v for k, v in part.items()} for part in turn["parts"]]}


def _answered(given: Given) -> list[list[str]]:
    """The answer, as a value and as it was written; the arguments of calls."""
    if given.said is not None:
        called = [[text] for one in given.calls for text in _strings(_read(one.args))]
        return [*called, *_told([given.said]), [given.tried[-1].text]]
    return [*([text] for text in _strings(given.value)), [given.tried[-1].text]]


def _without(given: Given, new: Mapping[str, str]) -> Given:
    def told(text: str) -> str:
        return new.get(text, text)

    last, value = given.tried[-1], _mapped(given.value, told)
    text = told(last.text)
    if value != given.value and not isinstance(value, str):  # as it was written, it may say the same in other signs
        text = _written(value)
    return replace(
        given,
        value=value,
        said=None if given.said is None else _retold([given.said], told)[0],
        calls=[replace(one, args=_rewritten(one.args, told)) for one in given.calls],
        tried=[*given.tried[:-1], replace(last, text=text)],
    )


def _read(args: Any) -> Any:
    """Arguments of a call as a value: as they were written, signs may be escaped."""
    try:
        return json.loads(args) if isinstance(args, str) else args
    except ValueError:
        return args


def _rewritten(args: Any, change: Callable[[str], str]) -> Any:
    """Arguments of a call with other texts; as they were written, where none is another."""
    value = _read(args)
    changed = _mapped(value, change)
    if changed == value:
        return args
    return _written(changed) if isinstance(args, str) and not isinstance(value, str) else changed


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _strings(value: Any) -> list[str]:
    """Every text of a JSON value, and its numbers as they would be written: keys are texts, too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [_written(value)]
    inside: Iterable[Any] = ()
    if is_file(value):
        return []
    if isinstance(value, dict):
        inside = (one for pair in cast("dict[str, Any]", value).items() for one in pair)
    elif isinstance(value, list):
        inside = cast("list[Any]", value)
    return [text for one in inside for text in _strings(one)]


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if change(_written(value)) == _written(value) else change(_written(value))
    if is_file(value):
        return value
    if isinstance(value, dict):
        mapped: dict[str, Any] = {}
        for name, one in cast("dict[str, Any]", value).items():
            mapped[_unlike(change(name), mapped)] = _mapped(one, change)
        return mapped
    return [_mapped(one, change) for one in cast("list[Any]", value)] if isinstance(value, list) else value


def _unlike(name: str, taken: Mapping[str, Any]) -> str:
    """A key that is not there yet: two that were redacted may read the same."""
    names = (name, *(f"{name} {n}" for n in range(2, len(taken) + 2)))
    return next(one for one in names if one not in taken)

"""What one call shows: the question fitted to the window of the model that was chosen, and the record of it.

The system's words, the prompt, its parts and examples stay. What may give way are the turns of tools and of the thread:
old results are cleared with a handle by which the model can have them back (`recall`), old turns go, calls with their
results. What the provider needs beside the text stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

from ..context import Assembly, Budget, ContextOverflow, Kind, Part, Role, assemble, tokens_of
from ..context import Call as Shows
from ..context import Target as Reader
from ..context.fitting import counts
from ..context.manifest import manifest_of, with_covered, with_unread
from ..context.sending import budget_for
from ..core.records import Manifest, Target, TargetKind
from ..models import Capability, Model
from .given import once, with_whole
from .media import Shown
from .request import Question
from .thinking import output_limit
from .turns import IS_CUT, RECALL, Place, covered, parts_in, shown_as, unread

__all__ = ["fitted", "overfull", "room_beside", "room_in", "whole", "with_recall"]


def fitted(
    question: Question, model: Model, id: str, *, thread: str | None = None, before: Manifest | None = None
) -> tuple[Question, Manifest]:
    """The question as the model is sent it, and the `context.assembled` record. Pure.

    `id` is that of the decision, with `+N` for a call beside the attempt; `before` is what the last call was shown.
    Raises ContextOverflow where what must stay does not fit.
    """
    asked, made, changed = _made(question, model)
    target = Target(kind=TargetKind.MODEL, name=model.name, provider=model.provider.value)
    call = Shows(id=id, target=target, decision=id.partition("+")[0] or None, thread=thread, before=before)
    manifest = with_covered(manifest_of(made, call), covered(question.history))
    manifest = replace(with_unread(manifest, unread(question.history)), prompts=dict(question.prompts))
    if not changed:
        return asked, manifest
    history, shown = shown_as(asked.history, changed), shown_as(asked.turns, changed, len(asked.history))
    return replace(asked, history=[*history], turns=[*shown]), manifest


def overfull(question: Question, model: Model, *, more: bool) -> bool:
    """Whether turns of the thread would be left out for the window of this model, or were not read; with `more`, where
    one of its tools gives as much as is shown of a result.

    Raises ContextOverflow.
    """
    _, made, _ = _made(question, model)
    if unread(question.history) is not None or _lacks(made):
        return True
    try:
        return more and _lacks(_made(question, model, more=True)[1])
    except ContextOverflow:  # no more of the thread can give way than what does already
        return False


def _lacks(made: Assembly) -> bool:
    """Whether turns are left out."""
    return any(one.as_ is None and one.why == _WINDOW and one.part.kind is not Kind.MEMORY for one in made.shown)


def whole(question: Question) -> Iterator[Part]:
    """All that a question shows where it has the room, in order."""
    yield from _head(question)
    yield from (part for _, part in parts_in(question.history))
    yield from _request(question)
    yield from (part for _, part in parts_in(question.turns))
    yield from _tail(question)


def room_in(question: Question, model: Model) -> Budget:
    """What the input of a call is fitted to."""
    schemas = [*question.tools, *([question.schema] if question.schema else [])]
    return budget_for(model, min(output_limit(question, model), model.window // 2), schemas)


def room_beside(question: Question, model: Model) -> int:
    """Tokens of the input that what is asked itself leaves for what was said before."""
    limit, count = room_in(question, model), tokens_of(model)
    own = [*_head(question), *_request(question), *(part for _, part in parts_in(question.turns)), *_tail(question)]
    return limit.input - sum(counts(own, count, limit.per_part))


def _made(
    question: Question, model: Model, *, more: bool = False
) -> tuple[Question, Assembly, dict[Place, Part | None]]:
    """The parts fitted, with what is not shown as it was, and the question with the tool `recall` where something gave
    way or had done so before: it takes room, too. `more` keeps room for one more result. A document is shown once.
    """
    question, instead = once(question)
    past, turns = list(parts_in(question.history)), list(parts_in(question.turns, len(question.history)))
    said = (part for _, part in turns)
    parts = [*_head(question), *(part for _, part in past), *_request(question), *said, *_tail(question)]
    asked = with_recall(question) if any(_had_recall(part) for part in parts) else question
    made = _assembled(parts, model, asked, more=more)
    if asked is question and _gave_way(made):
        asked = with_recall(question)
        if asked is not question:
            made = _assembled(parts, model, asked, more=more)
    return asked, with_whole(made, instead, tokens_of(model)), _changes(made, [*past, *turns])


def _assembled(parts: Sequence[Part], model: Model, question: Question, *, more: bool = False) -> Assembly:
    """Fitted with the margin of an estimate; where only that keeps it from fitting, or its summary, without it."""
    tokens, reader = tokens_of(model), Reader(model=model.name, provider=model.provider.value)
    limit = room_in(question, model)
    if more:
        limit = replace(limit, tools=limit.tools + int(limit.input * limit.result_share))
    try:
        made = assemble(parts, limit, reader, tokens)
        if tokens.exact or not any(one.as_ is None and one.part.kind is Kind.SUMMARY for one in made.shown):
            return made
    except ContextOverflow:
        if tokens.exact:
            raise
    return assemble(parts, replace(limit, margin=0), reader, tokens)


def _head(question: Question) -> Iterator[Part]:
    """What comes before the conversation."""
    if question.system:
        yield Part(role=Role.SYSTEM, text=question.system)
    for example in question.examples:
        yield Part(role=Role.USER, text=example.input, pinned=True, source="example")
        yield Part(role=Role.ASSISTANT, text=example.output, pinned=True, source="example")


def _request(question: Question) -> Iterator[Part]:
    """What is asked, and of what."""
    apart = bool(question.parts or question.media)
    who = question.asked_by or None
    yield Part(role=Role.SYSTEM if apart else Role.USER, text=question.prompt, asks=True, who=who)
    yield from (Part(role=Role.USER, text=part, pinned=True, who=who) for part in question.parts)
    yield from map(_seen, question.media)


def _tail(question: Question) -> Iterator[Part]:
    """What is said about the answer itself."""
    if question.mistakes:
        yield Part(role=Role.USER, text=f"Do not repeat this mistake: {question.mistakes[-1]}", pinned=True)
    if question.begun:
        yield Part(role=Role.ASSISTANT, text=question.begun, pinned=True)


_KINDS = {Capability.VISION: Kind.IMAGE, Capability.AUDIO: Kind.AUDIO}


def _seen(media: Shown) -> Part:
    kind = _KINDS.get(media.family[0], Kind.FILE)
    digest = blake2b(media.data.encode(), digest_size=16).hexdigest()
    return Part(role=Role.USER, kind=kind, pinned=True, tokens=media.tokens_max, data={"digest": digest})


def _changes(made: Assembly, turns: Iterable[tuple[Place, Part]]) -> dict[Place, Part | None]:
    """What is not shown as it was: in its place something shorter, or nothing."""
    of = {id(part): place for place, part in turns}
    return {of[id(one.part)]: one.as_ for one in made.shown if id(one.part) in of and one.as_ is not one.part}


def with_recall(question: Question) -> Question:
    """With the tool that gives results back, where there are tools and none of this name."""
    names = {tool["name"] for tool in question.tools}
    return replace(question, tools=[*question.tools, RECALL]) if names and RECALL["name"] not in names else question


def _gave_way(made: Assembly) -> bool:
    """Whether something has a handle in its place, or was left out for the window. What another model sealed is left
    out in any window, and no handle gives it back.
    """
    return any(one.as_ is not one.part and (one.as_ is not None or one.why == _WINDOW) for one in made.shown)


def _had_recall(part: Part) -> bool:
    """Whether this part of what was said shows that `recall` was offered: a summary stands for what gave way, a result
    was shown in part, or it was called. Then it stays: the tools stand first in what a provider caches, so a tool that
    goes and comes again costs the whole prefix each time.
    """
    if part.kind is Kind.CALL:
        return part.tool == RECALL["name"]
    return part.kind is Kind.SUMMARY or (part.kind is Kind.RESULT and IS_CUT.search(part.text) is not None)


_WINDOW = "window"
"""Why a part is left out: it has no room."""

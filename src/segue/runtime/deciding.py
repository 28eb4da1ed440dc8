"""A person's word on a question, held against what is asked and put into the inbox of its run: the first word wins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from ..core.asked import Asked, Said, distinct, person
from ..core.codec import Codec, codec, dumps, misfit, roundtrip
from ..core.commands import Wait
from ..core.questions import SERVICE
from ..core.shell import command
from ..errors import AlreadyDecided, InputError, StaleDecision, WrongAnswer
from ..journal import Post
from .given import calls_of
from .questions import Found, closed, decided, find, of_run, spoken

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["MISSING", "Word", "decide", "word_of"]

MISSING: Any = ...
"""Not given: None may be an answer."""


class Word(NamedTuple):
    """What somebody says: `approve`, `deny`, `answer` or `reassign`."""

    word: str
    by: str
    note: str = ""
    answer: Any = None
    to: tuple[str, ...] = ()
    via: str | None = None


def word_of(
    approved: bool | None, answer: Any, to: str | tuple[str, ...], *, by: str, note: str, via: str | None
) -> Word:
    """The one word that is given. Raises InputError unless it is just one, somebody's, and of its type: what comes from
    elsewhere may be "no", which is true of a text.
    """
    names = distinct(name for name in map(_name, (to,) if isinstance(to, str) else to) if name.strip())
    if approved is not None and not isinstance(approved, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"decide: approved is True or False, not {approved!r}", remedy="say yes or no")
    for what, said in (("by", by), ("note", note)):
        if not isinstance(said, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise InputError(f"decide: {what} is a text, not {said!r}", remedy='say who decides: by="ada"')
    if (approved is not None) + (answer is not MISSING) + bool(names) != 1:
        raise InputError("decide: one of approved=, answer= and to=", remedy="say yes or no, answer, or name somebody")
    if not by.strip():
        raise InputError("decide: by= is empty", remedy="say who decides: it is on record")
    if names:
        return Word("reassign", by, note, to=names, via=via)
    if approved is not None:
        return Word("approve" if approved else "deny", by, note, via=via)
    return Word("answer", by, note, answer, via=via)


def _name(given: object) -> str:
    if isinstance(given, str):
        return given
    raise InputError(f"decide: {given!r} is no name", remedy='name people or roles as texts: to="bob"')


async def decide(engine: Engine, id: str, word: Word, bound: str | None = None) -> None:
    """Send a word to the run that asks. Returns once it is on disk."""
    found = find(engine.journal, id)
    if bound is not None and bound != found.asked.bound:
        raise StaleDecision(
            f"what is asked ({found.asked.question!r}) is not what this decision was made on",
            run=found.row.id, key=found.asked.key, remedy=f"look at what is asked: {command('inbox', found.id)}",
        )  # fmt: skip
    _may(found, word)
    _in_time(engine, found)
    if found.asked.attempt is not None:
        await _to_step(engine, found, word)
    else:
        await _to_flow(engine, found, word)
    engine.host.scan_soon()


def _may(found: Found, word: Word) -> None:
    """Raises InputError for a word that does not go with what is asked."""
    kind, asked = found.asked.kind, found.asked
    yes_or_no = kind == "approval"
    if (word.word == "approve" and not yes_or_no) or (word.word == "answer" and yes_or_no):
        wants = "a yes or no" if yes_or_no else "an answer"
        how = command("approve", found.id) if yes_or_no else command("answer", found.id, "--value", "JSON")
        raise InputError(f"it asks for {wants}: {asked.question!r}", run=found.row.id, key=asked.key, remedy=how)


def _in_time(engine: Engine, found: Found) -> None:
    """Raises AlreadyDecided after its time, also while no process has come to see that it is over."""
    due_at = found.asked.due_at
    if due_at is not None and found.asked.kind != SERVICE and engine.clock.now() >= due_at:
        raise decided(found, Said("expired", "segue", due_at))


async def _to_step(engine: Engine, found: Found, word: Word) -> None:
    """A failed step asks: its words are those of `run.decide`."""
    run, asked = await engine.get(found.row.id), found.asked
    if word.word == "reassign":
        body = {"asked": asked.id, "to": list(word.to), "by": word.by, "why": word.note, "via": word.via}
        post = Post(run.id, "reassign", str(uuid4()), asked.key, engine.clock.now(), None, dumps(body))
        await engine.journal.post(post)
        return
    said: dict[str, Any] = {"fail": True} if word.word == "deny" else {"result": word.answer}
    if not await run.decide(asked.key, by=word.by, why=word.note, **said):
        _in_time(engine, found)
        raise _second(engine, found, word.by)


async def _to_flow(engine: Engine, found: Found, word: Word) -> None:
    """The flow asks: it waits for a signal. Words of one round are one post, so that the first one wins."""
    asked, at, row = found.asked, engine.clock.now(), found.row
    body: dict[str, Any] = {"word": word.word, "by": word.by, "bound": asked.bound, "at": at}
    body |= {"note": word.note} if word.note else {}
    body |= {"via": word.via} if word.via else {}
    if word.word == "reassign":
        body["to"] = list(word.to)
    if word.word == "answer":
        with engine.sealing(row.tenant):
            body["answer"] = json.loads(_fitting(await _form(engine, found), word.answer, found))
    once = str(uuid4()) if word.word == "reassign" else f"word/{asked.id}/{asked.refused}"
    if asked.quorum > 1 and word.word != "reassign":
        before = spoken(asked, word.by)
        if before is not None:
            raise decided(found, before, f"; of {asked.quorum} people who must agree each has one word")
        once += f"/{person(word.by)}"
    post = Post(row.id, "signal", once, asked.id, at, dumps(body), dumps({"by": word.by}))
    if not await engine.journal.post(post):
        raise _second(engine, found, word.by)


async def _form(engine: Engine, found: Found) -> Codec | None:
    """The type of the answer, if the flow is known in this process: its run is replayed up to where it asks."""
    calls = await calls_of(engine.journal, engine.keyring, found.row)
    waits = (c for c in calls.made.values() if isinstance(c, Wait) and c.name == found.asked.id)
    return next((wait.form for wait in waits if wait.form is not None), None)


def _fitting(form: Codec | None, value: Any, found: Found) -> bytes:
    """An answer as it is stored: secrets of its type sealed. Raises WrongAnswer."""
    data = roundtrip(codec(Any), value, marks=True)[0]
    if form is None:
        return data
    try:
        return form.encode(form.decode(data))
    except ValueError as error:
        raise _wrong(form, error, found.asked, found) from None


def _wrong(form: Codec, error: ValueError, asked: Asked, found: Found) -> WrongAnswer:
    wrong = WrongAnswer(
        f"the answer does not fit: {misfit(form, error)}", run=found.row.id, key=asked.key,
        remedy=f"see what is asked for: {command('inbox', found.id)}",
    )  # fmt: skip
    report: Any = getattr(error, "errors", list[Any])
    for first in report()[:1]:
        wrong.field = ".".join(map(str, first["loc"]))
    return wrong


def _second(engine: Engine, found: Found, by: str) -> Exception:
    """Somebody was quicker by a moment: who, and what they said."""
    for now in of_run(engine.journal, engine.journal.get(found.row.no)):
        if now.asked.id == found.asked.id:
            if now.asked.end is not None:
                return closed(now)
            said: Said | None = now.asked.word or spoken(now.asked, by)
            if said is not None:
                return decided(now, said)
    return AlreadyDecided("somebody else was quicker", run=found.row.id, key=found.asked.key)

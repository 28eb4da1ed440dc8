"""What the model calls of runs were shown: the manifests in the journal and their words, drawn and compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..context.differ import Difference, differences
from ..context.words import Words
from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.records import Manifest
from ..core.shell import command
from ..core.short import resolve
from ..errors import InputError
from ..journal.reading import Reader
from .exits import Exit
from .manifests import beside, compared, drawn, words_of
from .paint import emit, out
from .shelf import reading
from .words import excerpt


class Seen(NamedTuple):
    """One call, what it was shown, and the words of each part."""

    key: str
    attempt: int | None
    manifest: Manifest
    words: Sequence[Words]


def show(db: str, run: str, key: str | None, full: bool, as_json: bool) -> Exit:
    """Draw what the calls of a run were shown; of one key only its. Raises InputError where nothing is on record."""
    with reading(db) as reader:
        found = _of(reader, run, key)
    if as_json:
        print(json.dumps([_json(one) for one in found], ensure_ascii=False, indent=2))
        return Exit.DONE
    for one in found:
        emit(out(), *drawn(one.key, one.attempt, one.manifest, one.words, full=full, wide=out().width))
    return Exit.DONE


def diff(db: str, one: str, other: str, full: bool, as_json: bool) -> Exit:
    """Draw what two calls saw differently; each is RUN or RUN:KEY, and of several attempts the last counts."""
    with reading(db) as reader:
        then, now = _last(reader, one), _last(reader, other)
    said, says = ([words.says for words in seen.words] for seen in (then, now))
    found = differences(then.manifest, now.manifest, said, says)
    if as_json:
        print(json.dumps(_differences(found, then, now), ensure_ascii=False, indent=2))
        return Exit.DONE
    both = (then.manifest, now.manifest)
    emit(out(), *compared(both, found, (then.words, now.words), full=full, wide=out().width))
    return Exit.DONE


def _of(reader: Reader, run: str, key: str | None, *, last: bool = False) -> list[Seen]:
    row = reader.get(run)
    events = list(reader.events(row))
    shown = [reader.whole(event) for event in events if event.type == EventType.CONTEXT_ASSEMBLED]
    if key is not None:
        name = resolve(key, (event.key or "" for event in shown), what="call", run=run)
        shown = [event for event in shown if event.key == name]
    if not shown:
        raise InputError(
            "no manifest is on record" + (f" for {key!r}" if key is not None else ""), run=run,
            remedy=f"list its calls: {command('show', run)}",
        )  # fmt: skip
    return _read(reader, run, events, shown[-1:] if last else shown)


def _read(reader: Reader, run: str, events: Sequence[Event], shown: Sequence[Event]) -> list[Seen]:
    manifests = [Manifest.from_body(loads(event.body), event.version) for event in shown]
    try:
        from ..agent.rereading import Rereading  # noqa: PLC0415  it needs what `ask` needs
    except ImportError as error:
        none = Words(why=f"its words cannot be read: {error}")
        said = [[none] * len(manifest.parts) for manifest in manifests]
    else:
        again = Rereading(reader, reader.get(run), events)
        said = [again.words(event.key or "", one) for event, one in zip(shown, manifests, strict=True)]
    return [Seen(e.key or "", e.attempt, m, words) for e, m, words in zip(shown, manifests, said, strict=True)]


def _last(reader: Reader, named: str) -> Seen:
    run, key = _call(reader, named)
    return _of(reader, run, key or None, last=True)[-1]


def _call(reader: Reader, named: str) -> tuple[str, str]:
    """The run and the key that are meant: both may have a colon in them. The longest name that a run has counts."""
    at = len(named)
    while at > 0:
        if reader.find(named[:at]) is not None:
            return named[:at], named[at + 1 :]
        at = named.rfind(":", 0, at)
    run, _, key = named.partition(":")
    return run, key


def _json(seen: Seen) -> dict[str, Any]:
    body: dict[str, Any] = {"key": seen.key, "attempt": seen.attempt, **seen.manifest.to_body()}
    parts = zip(body["parts"], seen.words, strict=True)
    return {**body, "parts": [{**part, **_words_json(words)} for part, words in parts]}


def _words_json(words: Words) -> dict[str, Any]:
    """`text` is null where the words are not known: `text_why` says why, and so where they are not what was shown."""
    more = {"tool": words.tool or None, "text_shown": words.shown, "text_why": words.why or None}
    return {"text": words.text, **{name: said for name, said in more.items() if said is not None}}


def _differences(found: Sequence[Difference], then: Seen, now: Seen) -> list[dict[str, Any]]:
    both = (then.words, now.words)
    others = beside(found, both)
    return [_difference(each, *words_of(each, both), other) for each, other in zip(found, others, strict=True)]


def _difference(each: Difference, then: Words | None, now: Words | None, other: str) -> dict[str, Any]:
    body: dict[str, Any] = {"before": each.before, "after": each.after, "why": each.why, "part": each.part.write("")}
    words = now or then
    if words is None:
        return body
    body |= _words_json(words)
    if words.text is not None:
        body["excerpt"] = excerpt(words.text, other)
    if then is not None and now is not None and then.shown != now.shown:
        body["text_shown_before"] = then.shown if then.shown is not None else then.text
    return body

"""What came for a question, as a word. Pure.

`{"word": "approve" | "deny" | "answer" | "reassign", "by", "note", "bound", "at", "via", "answer", "to"}`. An approval
also takes just `true` or `false`, and `{"approved": true, "by": "ada", "note": ""}`, without a hash: such a signal
names its question, whose name is made of what was shown.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from ...core.records import AskKind

__all__ = ["Word", "said_in"]

_WORDS = ("approve", "deny", "answer", "reassign")


class Word(NamedTuple):
    """A word that makes sense; whether it fits is another matter."""

    word: str
    by: str = ""
    note: str = ""
    bound: str | None = None
    at: float | None = None
    via: str | None = None
    answer: Any = None
    to: tuple[str, ...] = ()


def said_in(payload: object, kind: AskKind, bound: str) -> Word:
    """The word of a signal's payload. Raises ValueError, saying why it decides nothing."""
    if isinstance(payload, bool):
        payload = {"approved": payload}
    if not isinstance(payload, dict):
        raise ValueError("it is no word: an object with `word` is expected")
    body = cast("dict[str, Any]", payload)
    if "word" not in body and isinstance(body.get("approved"), bool):
        body = {**body, "word": "approve" if body["approved"] else "deny"}
    word = body.get("word")
    if word not in _WORDS:
        raise ValueError(f"word: one of {', '.join(_WORDS)}, not {word!r}")
    if not _may(word, kind):
        raise ValueError(f"word: {word} is no word for a question of this kind ({kind.value})")
    if body.get("bound") not in (None, bound):
        raise ValueError("bound: it was meant for other arguments than those that are shown")
    to = body.get("to", ())
    to = (to,) if isinstance(to, str) else tuple(map(str, to)) if isinstance(to, list) else ()  # pyright: ignore[reportUnknownArgumentType]
    if word == "reassign" and not to:
        raise ValueError("to: nobody is named")
    at = body.get("at")
    return Word(
        word, str(body.get("by") or ""), str(body.get("note") or ""), body.get("bound"),
        float(at) if isinstance(at, int | float) else None, body.get("via"), body.get("answer"), to,
    )  # fmt: skip


def _may(word: str, kind: AskKind) -> bool:
    if word in ("approve", "answer"):
        return (kind is AskKind.APPROVAL) is (word == "approve")
    return True

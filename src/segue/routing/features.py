"""What is known of a request before anybody answers: rules of thumb over a bounded part of its text.

Pure, and bounded in time: of a long text the beginning and the end are read, where instructions stand, and the rest
only counts. None of this is asked of a model. What is learned rests on the embedding; these values choose the priors
and the expected length, and tell a reader what the router saw.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from . import cut
from .types import Embedder, Features, Kind, Modality, Piece, Request
from .words import HARD, KINDS, LANGUAGES, SCRIPTS, WEIGHTS

__all__ = ["count_tokens", "features", "features_of", "piece_of"]

_HEAD, _TAIL = 1800, 600
"""Characters that are read of a text."""
_BYTES_PER_TOKEN = 3.8
_TOKENS = {Modality.IMAGE: 1000, Modality.AUDIO: 1500, Modality.DOCUMENT: 3000, Modality.TEXT: 0}
"""Of a piece that nobody counted."""
_NEEDS = {Modality.IMAGE: "vision", Modality.AUDIO: "audio", Modality.DOCUMENT: "documents"}

_CODE = r"```|[;{}] ?$|=>|!=|==|^[ \t]{0,40}(?:def|class|import|from|return|if|for|while|fn|let|const|var)\b"
_MATHS = r"\\(?:frac|sqrt|int|sum|begin|left)|\$[^$\n]{1,80}\$|\d ?[-+*/^=<>×÷] ?[\dx(]|\d ?%"
_CALL, _FORMULA = r"|[\w)]\(\)", r"|\b[a-z] ?[=^] ?\S"
"""Cues that may begin with any letter are slow to look for: only where there is `()`, or one of `=^`."""
_CODES = {more: re.compile(_CODE + (_CALL if more else ""), re.MULTILINE) for more in (False, True)}
_FORMAL = {more: re.compile(_MATHS + (_FORMULA if more else "")) for more in (False, True)}
_OTHERS = min(low for _, low, _ in SCRIPTS)
_LIST = re.compile(r"^[ \t]{0,40}(?:[-*•]|\d{1,2}[.)])[ \t]", re.MULTILINE)
_BASE: Mapping[str, float] = {
    Kind.CHAT: 0.1, Kind.CLASSIFY: 0.2, Kind.EXTRACT: 0.2, Kind.TRANSLATE: 0.25, Kind.SUMMARISE: 0.25,
    Kind.QUESTION: 0.3, Kind.WRITE: 0.3, Kind.CODE: 0.45, Kind.MATHS: 0.45, Kind.REASON: 0.5,
}  # fmt: skip
"""The difficulty that a kind of task begins with."""


def features_of(request: Request, embedder: Embedder | None = None) -> Features:
    """The features of a request; what its caller knows goes before what is guessed."""
    return features(
        request.text,
        request.pieces,
        embedder,
        kind=request.kind,
        difficulty=request.difficulty,
        tokens=request.tokens_in,
        task=request.task,
    )


def features(
    text: str,
    pieces: Sequence[Piece] = (),
    embedder: Embedder | None = None,
    *,
    kind: str | None = None,
    difficulty: float | None = None,
    tokens: int | None = None,
    task: str = "",
) -> Features:
    """The features of a prompt and its parts. What is given is not guessed."""
    seen = _excerpt("\n".join((_excerpt(text), *(piece.text[:_TAIL] for piece in pieces[:8] if piece.text))))
    words = Counter(cut.words(seen.casefold()))
    code = _share(_CODES["()" in seen], seen, 80)
    maths = _share(_FORMAL["=" in seen or "^" in seen], seen, 160)
    modalities = frozenset({Modality.TEXT, *(piece.modality for piece in pieces)})
    kind = kind or _kind(words, code, maths)
    total = count_tokens(text) + sum(map(_tokens, pieces)) if tokens is None else tokens
    return Features(
        kind=kind,
        difficulty=_difficulty(kind, words, seen, total, max(code, maths)) if difficulty is None else difficulty,
        tokens=total,
        counted=tokens is not None,
        language=_language(seen, words),
        code=code,
        maths=maths,
        modalities=modalities,
        text=_whole(text, pieces),
        task=task,
        embedding=None if embedder is None else embedder.embed(_whole(text, pieces)),
        embedding_model=None if embedder is None else embedder.name,
    )


def needs_of(request: Request, modalities: frozenset[Modality]) -> frozenset[str]:
    """The capabilities that an answer cannot do without."""
    return request.needs | {_NEEDS[modality] for modality in modalities if modality in _NEEDS}


def count_tokens(text: str) -> int:
    """An estimate for any language, rather high than low: bytes of UTF-8, and marks more often than words."""
    return 0 if not text else 4 + math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN)


def piece_of(value: object) -> Piece:
    """What a part of a request is: text, a `Piece`, or anything that says its `media_type`; the rest counts as text."""
    if isinstance(value, Piece):
        return value
    media = getattr(value, "media_type", None)
    if isinstance(media, str):
        family = media.partition("/")[0]
        known = {"image": Modality.IMAGE, "audio": Modality.AUDIO, "text": Modality.TEXT}
        modality = known.get(family, Modality.DOCUMENT)
        return Piece(modality) if modality is not Modality.TEXT else Piece(tokens=_TOKENS[Modality.DOCUMENT])
    return Piece(text=value if isinstance(value, str) else repr(value))


def _tokens(piece: Piece) -> int:
    return piece.tokens if piece.tokens is not None else _TOKENS[piece.modality] + count_tokens(piece.text)


def _excerpt(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def _share(cues: re.Pattern[str], text: str, every: int) -> float:
    """How dense the cues are: 1 is one in so many characters, and at least three of them."""
    found = len(cues.findall(text))
    return round(min(1.0, found * every / max(len(text), 3 * every)), 3)


def _kind(words: Counter[str], code: float, maths: float) -> str:
    points = {Kind.CODE.value: 3.0 * code, Kind.MATHS.value: 3.0 * maths}
    for word, many in words.items():
        group = KINDS.get(word)
        if group is not None:
            points[group] = points.get(group, 0.0) + min(many, 3) * WEIGHTS.get(group, 1.0)
    best = max(points, key=lambda group: points[group])
    return str(best) if points[best] > 0.3 else Kind.ANY.value


def _difficulty(kind: str, words: Counter[str], text: str, tokens: int, formal: float) -> float:
    hard = len(HARD & words.keys())
    asked = min(4, text.count("?") + len(_LIST.findall(text)))
    long = math.log2(1 + tokens / 100) * 0.04
    steps = 0.1 if "step by step" in text.casefold() else 0.0
    base = _BASE.get(kind, 0.35)
    return round(min(1.0, base + 0.08 * min(hard, 4) + 0.03 * asked + min(0.3, long) + steps + 0.15 * formal), 3)


def _language(text: str, words: Counter[str]) -> str:
    if not text.isascii():
        found = _script(text)
        if found:
            return found
    points: Counter[str] = Counter()
    for word, many in words.items():
        language = LANGUAGES.get(word)
        if language is not None:
            points[language] += many
    ranked = points.most_common(2)
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return "und"
    return ranked[0][0]


def _script(text: str) -> str | None:
    """The language whose script most of the letters have, if another than the Latin one."""
    letters = [ord(c) for c in text[:400] if c.isalpha()]
    others = [c for c in letters if c >= _OTHERS]
    for language, low, high in SCRIPTS if len(others) * 4 > len(letters) else ():
        share = sum(low <= c <= high for c in others)
        if share * 4 > len(letters):
            return language
    return None


def _whole(text: str, pieces: Sequence[Piece]) -> str:
    return "\n".join((text, *(piece.text for piece in pieces if piece.text)))

"""Dialogues with questions whose evidence is known: JSON, gzip'd or plain.

`{"turns": [{"id", "at", "speaker", "text"}], "questions": [{"question", "evidence": [ids], "category"}]}`
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..recall.passages import Passage

__all__ = ["Dialogue", "Question", "read"]

_FORMS = ("%I:%M %p on %d %B, %Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the places of the turns that hold the answer. The evidence is read by the measure alone."""

    text: str
    evidence: tuple[int, ...]
    category: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One thread and what is asked about it."""

    name: str
    turns: list[Passage]
    questions: list[Question]


def read(files: Sequence[str]) -> list[Dialogue]:
    """The dialogues of some files. Raises InputError, naming the file."""
    return [_read(Path(file)) for file in files]


def _read(path: Path) -> Dialogue:
    try:
        raw = path.read_bytes()
        said = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
        turns = [_turn(turn) for turn in said["turns"]]
        places = {turn.id: at for at, turn in enumerate(turns)}
        questions = [_question(one, places) for one in said["questions"]]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", remedy="name a file with a dialogue") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no dialogue: {type(error).__name__} {error}", remedy="see segue context --help for the format"
        ) from None
    return Dialogue(path.name, turns, [one for one in questions if one.evidence])


def _turn(turn: dict[str, Any]) -> Passage:
    at = _when(str(turn.get("at", "")))
    session = str(turn["id"]).rpartition(":")[0] or str(turn.get("at", ""))
    return Passage(id=turn["id"], text=turn["text"], who=turn.get("speaker", ""), at=at, session=session)


def _question(one: dict[str, Any], places: dict[str, int]) -> Question:
    evidence = tuple(dict.fromkeys(places[name] for name in one["evidence"] if name in places))
    return Question(one["question"], evidence, str(one.get("category", "")))


def _when(text: str) -> datetime | None:
    for form in _FORMS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None

"""Labelled requests: gzip'd (or plain) JSON lines, one request a line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

__all__ = ["Row", "common_models", "costs", "read", "scores", "without"]


@dataclass(frozen=True, slots=True)
class Row:
    """One request, and how each model did on it."""

    id: str
    task: str
    prompt: str
    scores: Mapping[str, float]
    """0 to 1, by model."""
    usd: Mapping[str, float] | None
    """What each model's answer cost; None: not known."""


def read(paths: Sequence[str | Path]) -> list[Row]:
    """All rows of some files, each once: also of a file that is given twice, by another name, or copied.

    Raises InputError naming file, line and field.
    """
    files = {Path(path).resolve(): Path(path) for path in reversed(paths)}
    found = [row for path in reversed(files.values()) for row in _file(path)]
    rows = list({(row.id, row.task, row.prompt): row for row in found}.values())
    if not rows:
        raise InputError(f"no rows in {', '.join(map(str, paths)) or 'no file'}", remedy="give --train and --test FILE")
    return rows


def _file(path: Path) -> Iterable[Row]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {why}", remedy="give a file of JSON lines, gzip'd or plain") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _row(line, f"{path} line {number}")


def _row(line: str, where: str) -> Row:
    try:
        said: Any = json.loads(line)
    except ValueError as error:
        raise _wrong(where, f"is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise _wrong(where, "is no object")
    body = cast("dict[str, Any]", said)
    prompt, scores, usd = body.get("prompt"), _numbers(body.get("scores")), _numbers(body.get("usd"))
    if not isinstance(prompt, str):
        raise _wrong(where, "'prompt' is no text")
    if not scores or not all(0 <= score <= 1 for score in scores.values()):
        raise _wrong(where, "'scores' is no object of numbers from 0 to 1")
    return Row(str(body.get("id", where)), str(body.get("task") or ""), prompt, scores, usd)


def _numbers(said: Any) -> dict[str, float] | None:
    if not isinstance(said, dict):
        return None
    found = {str(k): v for k, v in cast("dict[Any, Any]", said).items()}
    return {k: float(v) for k, v in found.items() if isinstance(v, (int, float))} if found else None


def _wrong(where: str, what: str) -> InputError:
    return InputError(
        f"{where}: {what}",
        remedy='a row is {"id", "task", "prompt", "scores": {model: 0..1}, "usd": {model: cost} | null}',
    )


def without(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The rows whose requests are not among those of `others`."""
    known = {mark for row in others for mark in _marks(row)}
    return [row for row in rows if known.isdisjoint(_marks(row))]


def _marks(row: Row) -> Iterator[tuple[str, ...]]:
    """What no row of another request has: the words of the prompt, however they are spaced, and the id within its task.
    A bare number is no such id: each file may count its rows anew.
    """
    yield (" ".join(row.prompt.split()),)
    if not row.id.isdecimal():
        yield row.task, row.id


def common_models(rows: Sequence[Row]) -> list[str]:
    """The models that all rows have in common, by name."""
    common = set(rows[0].scores)
    for row in rows:
        common &= row.scores.keys()
    return sorted(common)


def scores(rows: Sequence[Row], models: Sequence[str]) -> NDArray[np.float64]:
    """`(rows, models)`, 0 to 1."""
    return np.array([[row.scores[name] for name in models] for row in rows])


def costs(rows: Sequence[Row], models: Sequence[str]) -> NDArray[np.float64]:
    """`(rows, models)`, USD; NaN where it is not known."""
    return np.array([[(row.usd or {}).get(name, np.nan) for name in models] for row in rows])

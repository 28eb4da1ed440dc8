"""What is embedded and what came of it, as the journal has it: floats as they come from providers, 32 bits each."""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Embedded", "Packed", "Texts", "units"]

_TEXTS, _CHARS = 256, 400_000
"""Of one durable step: what a crash may cost is that much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """Texts to embed in one step. `space` is the one that all of them must lie in; None: that of whoever is chosen."""

    texts: list[str]
    route: str | None = None
    model: str | None = None
    space: str | None = None
    require: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """The vectors of one step: little-endian 32-bit floats one after the other, base64."""

    model: str
    space: str
    length: int
    data: str
    tokens_in: int = 0
    cost_nano: int | None = None

    @classmethod
    def of(  # noqa: D102
        cls, vectors: Sequence[Sequence[float]], *, model: str, space: str, tokens_in: int, cost_nano: int | None
    ) -> Packed:
        flat = array("f", (x for vector in vectors for x in vector))
        if sys.byteorder == "big":
            flat.byteswap()
        length, data = len(vectors[0]), b64encode(flat.tobytes()).decode()
        return cls(model=model, space=space, length=length, data=data, tokens_in=tokens_in, cost_nano=cost_nano)

    def vectors(self) -> list[list[float]]:
        """As plain floats, in the order of the texts."""
        flat = array("f", b64decode(self.data))
        if sys.byteorder == "big":
            flat.byteswap()
        return [flat[at : at + self.length].tolist() for at in range(0, len(flat), self.length)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """Vectors in the order of the texts, and whose they are. Store `space` beside them: others do not compare."""

    vectors: list[list[float]]
    space: str
    """The model's own id and the length of its vectors; empty where nothing was embedded, or all was given by hand."""
    models: tuple[str, ...]
    """Of the catalogue: who made them. More than one where one has stood in for another of the same space."""
    tokens_in: int = 0
    cost_nano: int | None = None

    @classmethod
    def of(cls, parts: Sequence[Packed]) -> Embedded:
        """All parts as one."""
        costs = [part.cost_nano for part in parts if part.cost_nano is not None]
        return cls(
            vectors=[vector for part in parts for vector in part.vectors()],
            space=next((part.space for part in parts if part.space), ""),
            models=tuple(dict.fromkeys(part.model for part in parts if part.model)),
            tokens_in=sum(part.tokens_in for part in parts),
            cost_nano=sum(costs) if len(costs) == len(parts) else None,
        )


def units(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts as one durable step takes them."""
    unit: list[str] = []
    size = 0
    for text in texts:
        if unit and (len(unit) >= _TEXTS or size + len(text) > _CHARS):
            yield unit
            unit, size = [], 0
        unit.append(text)
        size += len(text)
    if unit:
        yield unit

"""What is expected of each model on a request: kernel ridge regression over n-grams, topics and surface.

The mean is what is known of the model at large, plus what requests like this one have shown, believed as far as such
requests were seen (`trust`). A request that is unlike all of them gets the means: it knows when it does not know.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UnreadableModel
from ..types import Features
from .space import Place, Space
from .trust import Trust, likeness

__all__ = ["Expected", "QualityModel"]

F32 = NDArray[np.float32]
FORMAT = 1
SHARES = {"words": 0.5, "topics": 0.25, "surface": 0.25}
"""Of each part in the kernel."""
TOPIC_WIDTH, SURFACE_WIDTH = 2.0, 0.02
"""Of the Gaussians over topics and surface: exp(-width * squared distance)."""


class Expected(NamedTuple):
    """Quality of each model, 0 to 1, with its uncertainty; `n` is the number of like requests that it rests on."""

    mean: F32
    sd: F32
    n: F32


@dataclass(frozen=True, slots=True, eq=False)
class QualityModel:
    """A trained predictor of quality. Immutable; `fit.fit` makes it. Safe to share between threads."""

    version: str
    models: tuple[str, ...]
    space: Space
    words: F32
    """`(n-grams, models)`: the word part of the kernel, summed up."""
    topics: F32
    """`(rows, topics)` of what was learned from."""
    surface: F32
    dual: F32
    """`(rows, models)`; 0 where a row says nothing of a model."""
    seen: NDArray[np.bool_]
    """`(rows, models)`: which row says something of which model."""
    mean: F32
    spread: F32
    """Of each model: how much what is expected of it varies with the request."""
    noise: float
    """The standard deviation of one outcome around what was expected."""
    common: Trust
    """In how hard a request is for all."""
    apart: Trust
    """In who is better at it than usual."""

    def expected(self, text: str) -> Expected:
        """Of all models, for a request."""
        return self._at(self.space.place(text))

    def predict(self, features: Features, models: Sequence[str]) -> tuple[F32, F32, F32]:
        """As the pipeline asks for it: NaN for a model that nothing was learned of."""
        known = {name: place for place, name in enumerate(self.models)}
        said = self.expected(features.text)
        places = [known.get(name, -1) for name in models]
        blank = np.array([np.nan], np.float32)
        columns = (np.concatenate([column, end])[places] for column, end in zip(said, (blank, blank, blank * 0), strict=True))
        mean, sd, n = columns
        return mean, sd, np.nan_to_num(n)

    def _at(self, place: Place) -> Expected:
        cosines = self.topics @ place.topics
        near = _gauss(2.0 - 2.0 * cosines, TOPIC_WIDTH)
        far = ((self.surface - place.surface) ** 2).sum(1)
        kernel = SHARES["topics"] * near + SHARES["surface"] * _gauss(far, SURFACE_WIDTH)
        moved = SHARES["words"] * (place.weights @ self.words[place.terms]) + kernel @ self.dual
        like = float(likeness(cosines[None])[0])
        together = moved.mean()
        shown = self.common(like) * together + self.apart(like) * (moved - together)
        counts = self.seen.sum(0)
        unsure = self.spread**2 * (1.0 - self.apart(like)) + self.noise**2 / np.maximum(counts, 1.0)
        close = np.maximum(cosines, 0.0) ** 8 @ self.seen
        return Expected(
            np.clip(self.mean + shown, 0.0, 1.0).astype(np.float32), np.sqrt(unsure).astype(np.float32), close.astype(np.float32)
        )

    def to_bytes(self) -> bytes:
        """As a file: numbers only, nothing that runs when it is read."""
        arrays = {
            "hashes": self.space.hashes, "idf": self.space.idf, "axes": self.space.axes, "centre": self.space.centre,
            "spread_of_surface": self.space.spread, "words": self.words, "topics": self.topics, "surface": self.surface,
            "dual": self.dual, "seen": self.seen, "mean": self.mean, "spread": self.spread,
            "common_at": self.common.at, "common_share": self.common.share, "apart_at": self.apart.at,
            "apart_share": self.apart.share,
        }  # fmt: skip
        head = {
            "format": FORMAT, "version": self.version, "models": self.models, "rare": self.space.rare, "noise": self.noise
        }  # fmt: skip
        file = io.BytesIO()
        np.savez_compressed(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> QualityModel:
        """Read what `to_bytes` wrote. Raises UnreadableModel."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                a = {name: file[name] for name in file.files if name != "head"}
            if head["format"] != FORMAT:
                raise ValueError(f"its format is {head['format']}, this Segue reads {FORMAT}")
            space = Space(a["hashes"], a["idf"], head["rare"], a["axes"], a["centre"], a["spread_of_surface"])
            return cls(
                head["version"], tuple(head["models"]), space, a["words"], a["topics"], a["surface"], a["dual"],
                a["seen"], a["mean"], a["spread"], head["noise"], Trust(a["common_at"], a["common_share"]),
                Trust(a["apart_at"], a["apart_share"]),
            )  # fmt: skip
        except Exception as error:
            raise UnreadableModel(
                f"the trained router cannot be read: {type(error).__name__}: {error}",
                remedy="train it anew: segue routes train",
            ) from error


def _gauss(squares: F32, width: float) -> F32:
    return np.exp(-width * np.maximum(squares, 0.0))

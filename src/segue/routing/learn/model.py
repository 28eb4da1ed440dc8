"""What is expected of each model on a request: kernel ridge regression over n-grams, topics and surface.

The mean is what is known of the model at large, plus what requests like this one have shown, believed as far as such
requests were seen (`trust`). A request that is unlike all of them gets the means: it knows when it does not know.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.shell import command
from ..errors import UnreadableModel
from ..table import PRIOR_SD
from ..types import Features
from .space import Place, Space
from .surface import SURFACE
from .trust import Trust, kin, likeness

__all__ = ["Expected", "QualityModel"]

F32 = NDArray[np.float32]
FORMAT = 2
DOUBT = 0.5
"""Standard deviations of a difference that count as none."""
_HAIR = 1e-3
NOISE_MIN = 0.15
"""What one verdict is unsure by at least: that all so far were the same does not make the next one certain."""
SHARES = {"words": 0.45, "topics": 0.1, "surface": 0.45}
"""Of each part in the kernel."""
TOPIC_WIDTH, SURFACE_WIDTH = 2.0, 0.5 / SURFACE
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
    seen: F32
    """`(rows, models)`: 1 where a row says something of a model, else 0."""
    mean: F32
    spread: F32
    """Of each model: how much what is expected of it varies with the request."""
    noise: float
    """The standard deviation of one outcome around what was expected."""
    common: Trust
    """In how hard a request is for all."""
    apart: Trust
    """In who is better at it than usual."""
    _surface_squares: F32 = field(init=False, repr=False)
    _counts: F32 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """What every prediction needs."""
        object.__setattr__(self, "_surface_squares", (self.surface**2).sum(1))
        object.__setattr__(self, "_counts", self.seen.sum(0))

    def expected(self, text: str) -> Expected:
        """Of all models, for a request."""
        return self._at(self.space.place(text))

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """As the pipeline asks for it: NaN for a model that nothing was learned of."""
        known = {name: place for place, name in enumerate(self.models)}
        mean, sd, n = self.expected(features.text)
        at = np.array([known.get(name, -1) for name in models], np.intp)
        unknown = at < 0
        return np.where(unknown, np.nan, mean[at]), np.where(unknown, np.nan, sd[at]), np.where(unknown, 0.0, n[at])

    def _at(self, place: Place) -> Expected:
        cosines = self.topics @ place.topics
        near = _gauss(2.0 - 2.0 * cosines, TOPIC_WIDTH)
        far = self._surface_squares - 2.0 * (self.surface @ place.surface) + place.surface @ place.surface
        formed = _gauss(far, SURFACE_WIDTH)
        kernel = SHARES["topics"] * near + SHARES["surface"] * formed
        moved = SHARES["words"] * (place.weights @ self.words.take(place.terms, axis=0)) + kernel @ self.dual
        alike = kin(cosines, formed)
        like = float(likeness(alike[None])[0])
        together = moved.mean()
        shown = self.common(like) * together + self.apart(like) * (moved - together)
        unsure = self.spread**2 * (1.0 - self.apart(like)) + max(self.noise, NOISE_MIN) ** 2 / np.maximum(
            self._counts, 1.0
        )
        close = np.square(np.square(alike)) @ self.seen
        mean = self._doubting(np.clip(self.mean + shown, 0.0, 1.0), np.sqrt(unsure))
        known = self.apart.within(like) * (self._counts > 0)  # of what is unlike all that was seen, a prior is known
        sd = np.sqrt(np.maximum(unsure, known * unsure + (1.0 - known) * PRIOR_SD**2))
        return Expected(mean.astype(np.float32), sd.astype(np.float32), close.astype(np.float32))

    def _doubting(self, mean: F32, sd: F32) -> F32:
        """Whoever seems better than the model that is best at large, by no more than the doubt about the two, comes
        next to it instead: to leave what is known to be good takes a reason.
        """
        usual = int(np.argmax(self.mean))
        gain = mean - mean[usual]
        doubtful = (gain > 0) & (gain <= DOUBT * np.sqrt(sd**2 + sd[usual] ** 2))
        moved: F32 = np.where(doubtful, mean[usual] - _HAIR * (1.0 - gain), mean).astype(np.float32)
        return moved

    def to_bytes(self) -> bytes:
        """As a file: numbers only, nothing that runs when it is read."""
        arrays: dict[str, Any] = {
            **{f"space_{name}": getattr(self.space, name) for name in _SPACE},
            **{name: getattr(self, name) for name in _OWN},
            **{f"{name}_{part}": getattr(getattr(self, name), part) for name in _TRUST for part in ("at", "share")},
        }
        head = {"format": FORMAT, "version": self.version, "models": self.models}
        head |= {"rare": self.space.rare, "noise": self.noise}
        file = io.BytesIO()
        np.savez_compressed(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> QualityModel:
        """Read what `to_bytes` wrote. Raises UnreadableModel."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                if head["format"] != FORMAT:
                    raise ValueError(f"its format is {head['format']}, this Segue reads {FORMAT}")
                space = Space(rare=head["rare"], **{name: file[f"space_{name}"] for name in _SPACE})
                trust: dict[str, Any] = {name: Trust(file[f"{name}_at"], file[f"{name}_share"]) for name in _TRUST}
                own: dict[str, Any] = {name: file[name] for name in _OWN}
            return cls(
                version=head["version"], models=tuple(head["models"]), space=space, noise=head["noise"], **own, **trust
            )
        except Exception as error:
            raise UnreadableModel(
                f"the trained router cannot be read: {type(error).__name__}: {error}",
                remedy=f"train it anew: {command('routes', 'train')}",
            ) from error


_SPACE = ("hashes", "idf", "axed", "axes", "centre", "spread")
_OWN = ("words", "topics", "surface", "dual", "seen", "mean", "spread")
_TRUST = ("common", "apart")


def _gauss(squares: Any, width: float) -> Any:
    return np.exp(-width * np.maximum(squares, 0.0))

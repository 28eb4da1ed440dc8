"""What is shown and is no text: an image, a sound, a document, as bytes with their type."""

from __future__ import annotations

import mimetypes
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models import Capability, Catalogue
from ..models.errors import CannotSee
from ..routing import Modality, Piece

if TYPE_CHECKING:
    from pydantic_ai.messages import BinaryContent

__all__ = ["IMAGE_MAX", "TOKENS", "Media", "Shown", "hold_seen", "interleaved", "media_of", "needs_of", "split"]

_FAMILIES = {
    "image": (Capability.VISION, Modality.IMAGE, "an image"),
    "video": (Capability.VISION, Modality.IMAGE, "a video"),
    "audio": (Capability.AUDIO, Modality.AUDIO, "a sound"),
}
_DOCUMENT = (Capability.DOCUMENTS, Modality.DOCUMENT, "a document")
TOKENS = 1600
"""Of an image, at most, as providers count a large one; other media are taken to be as long."""

IMAGE_MAX = 6400
"""Of an image, at the finest resolution that any of the providers reads."""


@dataclass(frozen=True, slots=True)
class Media:
    """A part of a question that is no text: `ask("What is on it?", Media.open("cat.png"))`.

    `type` is its media type, as `image/png`. Objects of other libraries are taken too: one with `data` and
    `media_type` (pydantic-ai's BinaryContent), and an image of Pillow.
    """

    data: bytes
    type: str
    __pydantic_config__ = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}  # noqa: RUF012  read by pydantic

    def __post_init__(self) -> None:
        if not self.data or "/" not in self.type:
            what = "it is empty" if not self.data else f"{self.type!r} is no media type"
            raise InputError(f"Media: {what}", remedy='give bytes and a type such as "image/png"')

    @classmethod
    def open(cls, path: str | Path) -> Media:
        """A file; its name says the type. In a flow, read files in a step. Raises InputError for a name without one."""
        guessed, _ = mimetypes.guess_type(str(path))
        if guessed is None:
            raise InputError(f"Media.open: the name {path} does not say what it is", remedy="Media(data, type)")
        return cls(Path(path).read_bytes(), guessed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A `Media` as an argument of the step: base64, and before which of the question's parts it stands."""

    at: int
    type: str
    data: str

    @classmethod
    def of(cls, media: Media, at: int) -> Shown:
        """At this place among the parts."""
        return cls(at=at, type=media.type, data=b64encode(media.data).decode())

    @property
    def family(self) -> tuple[Capability, Modality, str]:
        """The capability that it takes, its modality, and what it is called."""
        return _FAMILIES.get(self.type.partition("/")[0], _DOCUMENT)

    @property
    def tokens_max(self) -> int:
        """What a budget sets aside for it. Of pages and minutes only the size is known: one token for four bytes."""
        return IMAGE_MAX if self.family[1] is Modality.IMAGE else max(IMAGE_MAX, len(self.data) * 3 // 16)

    @property
    def piece(self) -> Piece:
        """As the router sees it."""
        return Piece(self.family[1], tokens=TOKENS)

    def content(self) -> BinaryContent:
        """As it goes into a conversation."""
        from pydantic_ai.messages import BinaryContent  # noqa: PLC0415  heavy, and only who asks needs it

        return BinaryContent(b64decode(self.data), media_type=self.type)


def media_of(part: object) -> Media | None:
    """A part as Media, if that is what it is."""
    if isinstance(part, Media):
        return part
    data, kind = getattr(part, "data", None), getattr(part, "media_type", None)
    if isinstance(data, bytes) and isinstance(kind, str):
        return Media(data, kind)
    if type(part).__module__.startswith("PIL.") and hasattr(part, "save"):
        return _pillow(part)
    return None


def _pillow(image: Any) -> Media:
    """An image of Pillow, as PNG: the same pixels have the same bytes."""
    out = BytesIO()
    image.save(out, "PNG")
    return Media(out.getvalue(), "image/png")


def split(parts: Iterable[object]) -> tuple[list[object], list[Shown]]:
    """What is text or shown as JSON, and what is media with its place among it."""
    plain: list[object] = []
    media: list[Shown] = []
    for part in parts:
        one = media_of(part)
        if one is None:
            plain.append(part)
        else:
            media.append(Shown.of(one, len(plain)))
    return plain, media


def interleaved(texts: Sequence[str], media: Sequence[Shown]) -> list[str | Any]:
    """Texts and media in the order in which they were given."""
    said: list[str | Any] = []
    for at in range(len(texts) + 1):
        said += [one.content() for one in media if one.at == at]
        said += texts[at : at + 1]
    return said


def needs_of(media: Sequence[Shown]) -> set[str]:
    """The capabilities that it takes to see all of it."""
    return {one.family[0].value for one in media}


def hold_seen(media: Sequence[Shown], catalogue: Catalogue, model: str | None) -> None:
    """See that somebody can take all of it: `model`, if one was asked for. Raises CannotSee, naming who can."""
    models = catalogue.models
    for one in media:
        needs, _, what = one.family
        can = [name for name, known in models.items() if known.can(needs)]
        if model is not None and model in models and model not in can:
            raise _cannot(f"{model} cannot take {what} ({one.type})", needs, can)
        if not can:
            raise _cannot(f"no model of the catalogue can take {what} ({one.type})", needs, can)


def _cannot(says: str, needs: Capability, can: Sequence[str]) -> CannotSee:
    who = f"ask one of {', '.join(can)}" if can else f'describe a model with capabilities = ["{needs.value}"]'
    error = CannotSee(f"{says}; those that can: {', '.join(can) or 'none'}", remedy=who)
    error.needs, error.can = needs.value, ", ".join(can)
    return error

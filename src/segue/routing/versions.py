"""Trained models as named versions, in the folder `<database>-routes` beside the journal they were learned from.

    current              which one is in use, and whether it is held there
    v7.json              what a version is: made when, from how much, and the hash of its model
    3fa9….model          the models, by the hash of their content
    training             locked by the process that trains: the kernel frees it when that dies

A file is written beside its place, synced and renamed, the model before what names it: whenever the process or the
machine dies, what is there is whole. Nothing is changed once it is there, but `current`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..core.shell import command
from ..errors import InputError
from .errors import UnreadableModel

__all__ = ["Current", "Version", "Versions"]

KEPT = 20
"""Versions; of older ones only the current one stays."""
_DRAFT_S = 3600.0
_NAME = re.compile(r"v([1-9][0-9]*)\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A trained model, by name."""

    name: str
    """`v7`: what a decision names as the source of its estimates."""
    model: str
    """The hash of its content."""
    made_at: float
    """Seconds since the epoch, UTC."""
    lessons: int
    """How many judged requests it was learned from."""
    models: tuple[str, ...]
    """Whom it knows."""
    position: int
    """Of the journal: what it had seen."""
    trained: str = ""
    """The trainer's own name of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Current:
    """Which version is in use."""

    name: str
    held: bool = False
    """Whether a person went back to it: nothing newer takes its place until somebody trains by hand."""
    by: str = ""
    at: float = 0.0


class Versions:
    """The versions of one folder. Safe to use from several threads and processes at once."""

    def __init__(self, folder: str | Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = Path(folder), clock

    @classmethod
    def of(cls, database: str) -> Versions:
        """Those beside a database."""
        return cls(f"{database}-routes")

    def list(self) -> list[Version]:
        """All that can be gone back to, oldest first. What cannot be read is left out."""
        return [version for name in self._names() if (version := self._read(name)) is not None]

    def find(self, name: str) -> Version:
        """A version by name. Raises InputError."""
        version = self._read(name)
        if version is None:
            known = ", ".join(self._names()[-8:]) or f"none yet: {command('routes', 'train')}"
            raise InputError(f"no version is called {name!r}", remedy=f"there are {known}")
        return version

    def current(self) -> Current | None:
        """Which one is in use; None: none."""
        try:
            said = json.loads((self.folder / "current").read_bytes())
            return Current(**said)
        except (OSError, ValueError, TypeError):
            return None

    def stamp(self) -> tuple[int, int] | None:
        """Changes whenever `current` does, at the price of one look at the file; None: there is none."""
        try:
            at = (self.folder / "current").stat()
        except OSError:
            return None
        return at.st_mtime_ns, at.st_ino

    def content(self, version: Version) -> bytes:
        """A version's model. Raises UnreadableModel: it is gone, or not what it was."""
        try:
            data = self._model(version.model).read_bytes()
        except OSError as error:
            raise _unreadable(version, error.strerror or "it cannot be read") from error
        if _hash(data) != version.model:
            raise _unreadable(version, "it is not what it was when it was written")
        return data

    def add(self, data: bytes, *, lessons: int, models: tuple[str, ...], position: int, trained: str = "") -> Version:
        """Keep a model under the next name, only while `training`; `use` puts it to use. Raises OSError."""
        self.folder.mkdir(exist_ok=True)
        model = _hash(data)
        if not self._model(model).exists():
            self._write(self._model(model).name, data)
        number = max((int(name[1:]) for name in self._names()), default=0) + 1
        version = Version(
            name=f"v{number}", model=model, made_at=self._clock(), lessons=lessons, models=models,
            position=position, trained=trained,
        )  # fmt: skip
        self._write(f"{version.name}.json", json.dumps(asdict(version)).encode())
        return version

    def use(self, name: str, *, held: bool = False, by: str = "") -> Current:
        """Put a version to use, at once for all processes. Raises InputError; UnreadableModel where it is damaged."""
        self.content(self.find(name))
        current = Current(name=name, held=held, by=by, at=self._clock())
        self._write("current", json.dumps(asdict(current)).encode())
        return current

    def prune(self, kept: int = KEPT) -> None:
        """Remove the oldest but so many, never the current one; only while `training`."""
        current, names = self.current(), self._names()
        for name in names[: max(0, len(names) - kept)]:
            if current is None or name != current.name:
                (self.folder / f"{name}.json").unlink(missing_ok=True)
        left = self.list()
        if len(left) < len(self._names()):
            return  # one cannot be read just now: whose model it names is not known
        used = {version.model for version in left}
        for path in self.folder.glob("*.model"):
            if path.stem not in used:
                path.unlink(missing_ok=True)
        for path in self.folder.glob("*.draft"):  # of a process that died
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _DRAFT_S:
                    path.unlink()

    @contextmanager
    def training(self) -> Generator[bool]:
        """Whether this one may train: of all threads and processes one at a time. Never waits."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "training").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _names(self) -> list[str]:
        try:
            found = [m for path in os.listdir(self.folder) if (m := _NAME.fullmatch(path))]
        except OSError:
            return []
        return [f"v{m[1]}" for m in sorted(found, key=lambda m: int(m[1]))]

    def _read(self, name: str) -> Version | None:
        if not _NAME.fullmatch(f"{name}.json"):
            return None
        try:
            said: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_bytes())
            said["models"] = tuple(said["models"])
            return Version(**said)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _model(self, model: str) -> Path:
        return self.folder / f"{model}.model"

    def _write(self, name: str, data: bytes) -> None:
        """Durable and whole, or not at all."""
        draft = self.folder / f"{name}.{os.getpid()}-{secrets.token_hex(4)}.draft"
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.folder / name)
        finally:
            draft.unlink(missing_ok=True)
        _sync(self.folder)


def _sync(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _unreadable(version: Version, why: str) -> UnreadableModel:
    back, anew = command("routes", "rollback", "NAME"), command("routes", "train")
    return UnreadableModel(
        f"the trained model of {version.name} cannot be used: {why}",
        remedy=f"go back to another one: {back}, or train anew: {anew}",
    )

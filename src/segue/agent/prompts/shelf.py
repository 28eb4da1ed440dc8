"""Where prompts lie: folders of versions beside segue.toml, tables in it, and how far each version is rolled out.

    [prompts.triage]
    folder = "prompts/triage"                # v1.md, v2.md, …; this is where it is looked for anyway
    rollout = { v2 = 0.9, v3 = 0.1 }         # without: the newest version has everything

    [prompts.greet.versions]
    v1 = "Greet {{name}}."

`rollout.toml` in a prompt's folder is written by `segue prompts set` and `rollback`; its last entry counts, before what
segue.toml says.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from ...core.shell import command
from ...errors import PromptError
from ...models.reading import Table, meant, open_config
from .filling import Version, places

__all__ = ["Named", "Shelf"]

_LOG = "rollout.toml"
_FOLDER = "prompts"
_VERSION = re.compile(r"[\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """One prompt: its versions, oldest first, and the share of each."""

    name: str
    versions: Mapping[str, Version]
    shares: Mapping[str, float]
    folder: Path | None = None
    """None: it stands in segue.toml."""
    before: tuple[Mapping[str, float], ...] = ()
    """The shares that `rollout.toml` had before, oldest first."""
    gone: Mapping[str, float] = field(default_factory=dict[str, float])
    """The shares that it gives to versions that are no longer there."""

    @property
    def places(self) -> list[str]:
        """Those of all versions. Raises PromptError."""
        return sorted({name for version in self.versions.values() for name, _ in places(version)})

    def check(self) -> None:
        """See that each version with a share is there. Raises PromptError."""
        for lost in self.gone:
            path = Path(self.folder or "") / _LOG
            error = PromptError(
                f"{path}: prompt {self.name!r} has no version {lost!r}, which has a share; there are:"
                f" {', '.join(self.versions)}",
                remedy=f"write {path.with_name(f'{lost}.md')} again, or:"
                f" {command('prompts', 'set', self.name, f'{list(self.versions)[-1]}=1')}",
            )
            error.path = str(path)
            raise error

    def drawn(self, luck: float) -> Version:
        """The version at a number in [0, 1). Raising a later version's share keeps whoever has it. Raises PromptError
        where a version that has a share is gone.
        """
        self.check()
        reached, whole = 0.0, sum(self.shares.values())
        for name, share in self.shares.items():
            reached += share / whole
            if luck < reached:
                return self.versions[name]
        return self.versions[[name for name, share in self.shares.items() if share > 0][-1]]

    def version(self, name: str) -> Version:
        """One of them. Raises PromptError."""
        if name not in self.versions:
            file = f"{self.name}/{name}.md" if self.folder is None else f"{self.folder}/{name}.md"
            remedy = f"name one of those, or write {file}"
            said = f"prompt {self.name!r} has no version {name!r}; it has: {', '.join(self.versions)}"
            raise PromptError(said, remedy=remedy)
        return self.versions[name]

    def held(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Shares in the order of the versions. Raises PromptError for what cannot be."""
        for name, share in shares.items():
            self.version(name)
            if not 0 <= share < float("inf"):
                raise PromptError(f"prompt {self.name!r}: a share is 0 or more, and {name} has {share}")
        if not sum(shares.values()) > 0:
            raise PromptError(f"prompt {self.name!r}: no version has a share")
        return {name: float(shares[name]) for name in self.versions if name in shares}

    def roll_out(self, shares: Mapping[str, float], *, by: str = "") -> None:
        """Write these shares to `rollout.toml`: they hold for runs that draw from now on. Raises PromptError."""
        folder = self._written()
        said = ", ".join(f'"{name}" = {share:g}' for name, share in self.held(shares).items())
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with (folder / _LOG).open("a", encoding="utf-8") as file:
            file.write(f'[[rollout]]\nat = {at}\nby = "{_plain(by)}"\nshares = {{ {said} }}\n\n')

    def roll_back(self, *, by: str = "") -> Mapping[str, float]:
        """Give the shares that held before. Raises PromptError where there are none."""
        self._written()
        earlier = next((s for s in reversed(self.before) if dict(s) != {**self.shares, **self.gone}), None)
        if earlier is None:
            raise PromptError(
                f"prompt {self.name!r}: there is nothing to go back to",
                remedy=command("prompts", "set", self.name, "VERSION=SHARE"),
            )
        self.roll_out(earlier, by=by)
        return earlier

    def _written(self) -> Path:
        """The folder in which its rollout is written. Raises PromptError where it has none."""
        if self.folder is None:
            path = Path(next((one.path for one in self.versions.values()), ""))
            if path.suffix == ".md":
                raise PromptError(
                    f"prompt {self.name!r} is one file, {path}, and so one version",
                    remedy=f"move it to {path.with_suffix('') / 'v1.md'}, and write the next version beside it",
                )
            raise PromptError(f"prompt {self.name!r} stands in segue.toml: change its rollout there")
        return self.folder


def luck_of(name: str, key: str) -> float:
    """A number in [0, 1), always the same for a prompt and a key."""
    return int.from_bytes(blake2b(f"{name}\0{key}".encode(), digest_size=7).digest(), "big") / (1 << 56)


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """All prompts by name. Read it anew to see what has changed."""

    prompts: Mapping[str, Named] = field(default_factory=dict[str, Named])
    wrong: Mapping[str, PromptError] = field(default_factory=dict[str, PromptError])
    """Those whose own files cannot be read, and why: the others do not suffer from it."""

    @classmethod
    def read(cls, config: str | None = None) -> Shelf:
        """Those of a configuration file, and of the folder `prompts` beside it. Raises ConfigError."""
        table = open_config(config)
        root = Path.cwd() if table is None else Path(table.mistakes.path).resolve().parent
        made: dict[str, Named] = {}
        wrong: dict[str, PromptError] = {}

        def put(name: str, read: Callable[[], Named | None]) -> None:
            try:
                found = read()
            except PromptError as error:
                wrong[name] = error
            else:
                made.update({} if found is None else {name: found})

        if table is not None:
            with table.mistakes.told():
                inside = table.table("prompts")
                for name, one in inside.each() if inside is not None else ():
                    put(name, partial(_read, name, one, root))
        for folder in sorted((root / _FOLDER).iterdir()) if (root / _FOLDER).is_dir() else ():
            name = folder.stem
            if name not in made and name not in wrong and (folder.is_dir() or folder.suffix == ".md"):
                put(name, partial(_lying, name, folder))
        return cls(prompts=made, wrong=wrong)

    def get(self, name: str) -> Named:
        """One of them. Raises PromptError."""
        if name in self.wrong:
            raise self.wrong[name]
        if name not in self.prompts:
            close = meant(name, self.prompts)
            hint = f"; did you mean {close}?" if close else f"; there are: {', '.join(self.prompts) or 'none'}"
            raise PromptError(f"there is no prompt {name!r}{hint}", remedy=f"write {_FOLDER}/{name}/v1.md")
        return self.prompts[name]


def _read(name: str, table: Table, root: Path) -> Named | None:
    folder = root / (table.text("folder") or f"{_FOLDER}/{name}")
    inline, rollout = table.table("versions"), table.table("rollout")
    table.done(hints={"path": "folder", "shares": "rollout", "versions": "versions"})
    if inline is not None and "folder" in table.values:
        table.wrong("folder", "its versions stand here: leave out the folder, or versions")
    if not table.fine:
        return None
    versions = _inline(inline) if inline is not None else _files(folder)
    if not versions:
        return table.wrong(None, f"there are no versions: write {folder}/v1.md, or versions = {{ v1 = ... }}")
    shares = _shares(rollout, versions) if rollout is not None else None
    if not table.fine:
        return None
    first = _newest(versions) if shares is None else shares
    try:
        Named(name=name, versions=versions, shares=first).held(first)
    except PromptError as error:
        return table.wrong("rollout", error.message)
    return _named(name, versions, first, None if inline is not None else folder)


def _lying(name: str, folder: Path) -> Named | None:
    """A prompt of which segue.toml says nothing."""
    versions = _files(folder)
    return _named(name, versions, _newest(versions), folder if folder.is_dir() else None) if versions else None


def _newest(versions: Mapping[str, Version]) -> dict[str, float]:
    return {list(versions)[-1]: 1.0}


def _shares(table: Table, versions: Mapping[str, Version]) -> dict[str, float]:
    shares = {key: table.number(key) or 0.0 for key in table.values}
    for key, share in shares.items():
        if key not in versions:
            close = meant(key, versions)
            guess = f"; did you mean {close}? There" if close else "; there"
            table.wrong(key, f"there is no version {key!r}{guess} are: {', '.join(versions)}")
        elif share < 0:
            table.wrong(key, f"{share} is negative: a share is 0 or more")
    return shares


def _inline(table: Table) -> dict[str, Version]:
    lines, made = Path(table.mistakes.path), dict[str, Version]()
    for key in table.values:
        at = ".".join(map(str, (*table.at, key)))
        made[key] = Version(name=key, text=table.text(key) or "", path=f"{lines}: {at}")
        try:
            list(places(made[key]))
        except PromptError as error:
            table.wrong(key, error.message.partition(": ")[2].removeprefix(f"{at}, "))
    return made


def _files(folder: Path) -> dict[str, Version]:
    """Versions in their natural order: v2 before v10."""
    if folder.is_file():
        return {"v1": _version("v1", folder)}
    found = [p for p in folder.glob("*.md") if _VERSION.fullmatch(p.stem)] if folder.is_dir() else []
    return {p.stem: _version(p.stem, p) for p in sorted(found, key=lambda p: _natural(p.stem))}


def _version(name: str, path: Path) -> Version:
    try:
        return Version(name=name, text=path.read_text(encoding="utf-8-sig").rstrip("\n"), path=str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = "this is no UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        wrong = PromptError(f"{path}: {why}", remedy=f"put {path} right")
        wrong.path = str(path)
        raise wrong from error


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name)]


def _named(name: str, versions: Mapping[str, Version], first: Mapping[str, float], folder: Path | None) -> Named:
    """With what `rollout.toml` says, which counts before the `first` shares. Raises PromptError."""
    log = _log(folder)
    named = Named(name=name, versions=versions, shares=first, folder=folder)
    if not log:
        return replace(named, shares=named.held(first))
    gone = {lost: share for lost, share in log[-1].items() if lost not in versions and share > 0}
    there = {version: share for version, share in log[-1].items() if version in versions}
    shares = {} if gone and not any(there.values()) else named.held(there)
    return replace(named, shares=shares, before=(first, *log[:-1]), gone=gone)


def _log(folder: Path | None) -> Sequence[Mapping[str, float]]:
    path = None if folder is None else folder / _LOG
    if path is None or not path.is_file():
        return ()
    try:
        entries = cast("list[dict[str, Any]]", tomllib.loads(path.read_text(encoding="utf-8")).get("rollout", []))
        return [{name: float(share) for name, share in one["shares"].items()} for one in entries]
    except (tomllib.TOMLDecodeError, KeyError, AttributeError, TypeError, ValueError) as error:
        wrong = PromptError(f"{path}: this is no rollout: {error}", remedy="put it right, or delete the file")
        wrong.path = str(path)
        raise wrong from error


def _plain(text: str) -> str:
    return re.sub(r'[\\"\x00-\x1f\x7f\ud800-\udfff]', "", text)

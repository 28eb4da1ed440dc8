"""`segue prompts`: the named prompts, how far each version is rolled out, and how each did in this database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ..core.shell import command
from ..errors import InputError
from .columns import cut
from .exits import Exit
from .paint import Copyable, emit, out, tell
from .shelf import path_of
from .words import plural, printable

if TYPE_CHECKING:
    from ..agent.prompts import Named, Shelf
    from ..routing.past import Row

ACTIONS = {
    "list": (),
    "set": ("VERSION=0.9", "VERSION=0.1"),
    "pin": ("VERSION",),
    "rollback": (),
}


@dataclass(slots=True)
class Fared:
    """How one version did."""

    asks: int = 0
    answered: int = 0
    first: int = 0
    """Answered by the first call: no check had turned anything down, and nobody had failed."""
    rejected: int = 0
    """Answers that a schema, a check or a guard turned down."""
    scores: list[float] = field(default_factory=list[float])
    cost_nano: int = 0

    def take(self, row: Row) -> None:
        """One more question, with all its rounds."""
        self.asks += 1
        self.answered += row.answered
        self.first += row.at_once
        self.rejected += row.rejected
        self.cost_nano += row.cost_nano or 0
        if row.score is not None:
            self.scores.append(row.score)

    def body(self) -> dict[str, Any]:
        """As JSON; the score is the mean, 0 to 1, and money is USD for one question."""
        asks = max(1, self.asks)
        return {
            "asks": self.asks, "answered": self.answered, "first": self.first, "rejected": self.rejected,
            "score": sum(self.scores) / len(self.scores) if self.scores else None, "scored": len(self.scores),
            "cost_usd": round(self.cost_nano / asks / 1e9, 9),
        }  # fmt: skip


def fared(found: Iterable[Row]) -> dict[tuple[str, str], Fared]:
    """How each version of each prompt did, by name and version."""
    made: dict[tuple[str, str], Fared] = {}
    for row in found:
        for place in row.prompts.items():
            made.setdefault(place, Fared()).take(row)
    return made


def prompts(
    action: str, name: str | None, shares: Sequence[str], *, db: str, config: str | None, by: str, as_json: bool
) -> Exit:
    """Do what is asked. Raises InputError, PromptError, ConfigError."""
    from ..agent.prompts import Shelf  # noqa: PLC0415  pydantic, for the commands that need it

    if action not in ACTIONS:
        raise InputError(f"no action is called {action!r}", remedy=f"one of {', '.join(ACTIONS)}")
    takes = {"set": None, "pin": 1}.get(action, 0)
    if takes is not None and len(shares) > takes:
        raise InputError(f"prompts {action} takes no {shares[takes]!r}", remedy=_how(action, name))
    if action == "list":
        return _listed(Shelf.read(config), name, db, as_json=as_json)
    if name is None or (not shares and action != "rollback"):
        raise InputError(
            f"prompts {action}: {'which prompt' if name is None else 'which version'}?", remedy=_how(action, name)
        )
    named = Shelf.read(config).get(name)
    before = dict(named.shares)
    if action == "rollback":
        now = dict(named.roll_back(by=by))
    else:
        now = {shares[0]: 1.0} if action == "pin" else _read(name, shares)
        named.roll_out(now, by=by)
    if as_json:
        print(json.dumps({"prompt": name, "shares": now, "before": before}))
        return Exit.DONE
    emit(out(), Text("✓ ", "green").append(f"{printable(name)}: {_said(now)}", "default"))
    tell(Text("runs that have a version keep it", "dim"))
    tell(Copyable(command("prompts", "rollback", name), "to undo that"))
    return Exit.DONE


def _how(action: str, name: str | None) -> str:
    """The command, as it is said."""
    said = ["prompts"] if action == "list" else ["prompts", action, name or "NAME"]
    return command(*said, *ACTIONS[action])


def _read(name: str, shares: Sequence[str]) -> dict[str, float]:
    made: dict[str, float] = {}
    for one in shares:
        version, _, share = one.partition("=")
        try:
            number = float(share)
        except ValueError:
            raise InputError(f"{one!r} is no share", remedy=_how("set", name)) from None
        if version in made:
            raise InputError(f"the share of {version} is there twice", remedy="give each version one share")
        if not 0 <= number <= 1:
            raise InputError(f"{one!r}: a share is from 0 to 1", remedy=_how("set", name))
        made[version] = number
    return made


def _said(shares: Mapping[str, float]) -> str:
    whole = sum(shares.values())
    return ", ".join(f"{printable(name)} {share / whole:.0%}" for name, share in shares.items() if share)


def _listed(shelf: Shelf, only: str | None, db: str, *, as_json: bool) -> Exit:
    found = [shelf.get(only)] if only is not None else list(shelf.prompts.values())
    how = _past(db)
    if as_json:
        body = {one.name: _body(one, how) for one in found}
        print(json.dumps(body, ensure_ascii=False, indent=2))
    else:
        _shown(found, how)
    for error in shelf.wrong.values() if only is None else ():
        raise error
    for one in found:
        one.check()
    return Exit.DONE


def _body(one: Named, how: Mapping[tuple[str, str], Fared]) -> dict[str, Any]:
    """Its versions, those that are gone and have a share too."""
    paths = {version: text.path for version, text in one.versions.items()}
    return {
        version: {"share": {**one.shares, **one.gone}.get(version, 0.0), "path": paths.get(version)}
        | how.get((one.name, version), Fared()).body()
        for version in (*one.versions, *one.gone)
    }


def _shown(found: Sequence[Named], how: Mapping[tuple[str, str], Fared]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("prompt", "version", "share", "asked", "at once", "turned down", "score", "USD an ask"):
        left = head in ("prompt", "version")
        table.add_column(head, no_wrap=not left, justify="left" if left else "right")
    for one in found:
        shares = {**one.shares, **one.gone}
        for n, version in enumerate((*one.versions, *one.gone)):
            did, share = how.get((one.name, version), Fared()), shares.get(version, 0.0) / sum(shares.values())
            title, said = cut(one.name if n == 0 else ""), f"{share:.0%}" if share else ""
            table.add_row(title, cut(version), said, *_figures(did), style="yellow" if version in one.gone else None)
    if found:
        emit(out(), table)
    said = "; at once: answered by the first call, with all checks passed" if found else ""
    tell(Text(plural(len(found), "prompt") + said, "dim"))


def _figures(did: Fared) -> list[str]:
    if not did.asks:
        return ["", "", "", "", ""]
    said = did.body()
    score = "" if said["score"] is None else f"{said['score']:.2f} of {said['scored']}"
    return [f"{did.asks}", f"{did.first / did.asks:.0%}", f"{did.rejected}", score, f"{said['cost_usd']:.6f}"]


def _past(db: str) -> dict[tuple[str, str], Fared]:
    """From the journal; nothing where there is none yet."""
    from ..journal import Journal  # noqa: PLC0415
    from ..routing.past import rows  # noqa: PLC0415
    from ..routing.traffic import Traffic  # noqa: PLC0415

    if not Path(path_of(db)).is_file():
        return {}
    traffic = Traffic()
    with Journal.open_readonly(path_of(db)) as reader:
        traffic.read(reader)
    return fared(rows(traffic))

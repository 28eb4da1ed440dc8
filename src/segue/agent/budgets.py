"""What tenants and conversations may spend: in Python, or `[budgets.tenants]` and `[budgets.threads]` of `segue.toml`.

`acme = { usd = 100, per = "day" }` names one, `default = { usd = 20, per = "month" }` counts for each other one, and a
number alone is for ever. Pure, but for reading the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args

from ..core.budgets import nano
from ..core.records import BudgetScope, ScopeKind
from ..errors import DefinitionError, InputError
from ..models.reading import Table, open_config, read_config
from ..runtime.purse import Purse

__all__ = ["Allowance", "Budgets", "Period", "load_budgets", "read_budgets"]

Period = Literal["day", "month", "year"]
"""By the calendar, in UTC."""
_STAMPS: Mapping[str, str] = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}
_WORDS = {"amount": "usd", "limit": "usd", "max": "usd", "period": "per", "every": "per", "budget_usd": "usd"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What may be spent. Raises DefinitionError for a negative amount and an unknown period."""

    usd: float | str | None = None
    """USD; None: it is only counted."""
    per: Period | None = None
    """For each day, month or year; None: in all."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.usd is not None and nano(self.usd) < 0:
            raise DefinitionError(f"Allowance(usd={self.usd!r}): not negative", remedy="0 allows nothing")
        if self.per is not None and self.per not in _STAMPS:
            raise DefinitionError(f"Allowance(per={self.per!r}): one of {', '.join(_STAMPS)}, or nothing")

    def scope(self, kind: ScopeKind, name: str, at: float) -> BudgetScope:
        """The budget that a call counts against at a time, in seconds since the epoch."""
        stamp = None if self.per is None else datetime.fromtimestamp(at, UTC).strftime(_STAMPS[self.per])
        limit = None if self.usd is None else nano(self.usd)
        return BudgetScope(kind=kind, name=name, limit_nano=limit, period=stamp)


DEFAULT = "default"
"""Whose allowance counts for everybody who is not named. Each has an account of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budgets:
    """The allowances of tenants and of threads, by name."""

    tenants: Mapping[str, Allowance] = field(default_factory=dict[str, Allowance])
    threads: Mapping[str, Allowance] = field(default_factory=dict[str, Allowance])

    def tenant(self, name: str) -> Allowance | None:
        """That of a tenant."""
        return self.tenants.get(name) or self.tenants.get(DEFAULT)

    def thread(self, name: str) -> Allowance | None:
        """That of a conversation."""
        return self.threads.get(name) or self.threads.get(DEFAULT)

    def scopes(self, purse: Purse, thread: str | None) -> tuple[BudgetScope, ...]:
        """What a call counts against: the run and those above it that have a budget; its thread, which is the one that
        is given or that of the run, and its tenant, where they have an allowance.
        """
        payers = purse.payers()
        found = [
            BudgetScope(kind=ScopeKind.RUN, name=p.run, limit_nano=p.budget_nano)
            for p in payers
            if p.budget_nano is not None
        ]
        thread = (thread or purse.thread()) if self.threads else None
        if thread is not None and (given := self.thread(thread)) is not None:
            found.append(given.scope(ScopeKind.THREAD, thread, purse.now()))
        tenant = payers[0].tenant
        if self.tenants and (given := self.tenant(tenant)) is not None:
            found.append(given.scope(ScopeKind.TENANT, tenant, purse.now()))
        return tuple(found)


def load_budgets(path: str | os.PathLike[str] | None = None) -> Budgets:
    """The budgets of a file; without `path` of the one that SEGUE_CONFIG names, else of segue.toml in this folder.

    Raises ConfigError.
    """
    table = open_config(path)
    return Budgets() if table is None else _budgets(table)


def read_budgets(text: str, path: str = "segue.toml") -> Budgets:
    """The budgets of a file's text. Raises ConfigError."""
    return _budgets(read_config(text, path))


def _budgets(table: Table) -> Budgets:
    with table.mistakes.told():
        inside = table.table("budgets")
        if inside is None:
            return Budgets()
        tenants, threads = _allowances(inside, "tenants"), _allowances(inside, "threads")
        inside.done(hints={"tenant": "tenants", "thread": "threads"})
    return Budgets(tenants=tenants, threads=threads)


def _allowances(table: Table, key: str) -> dict[str, Allowance]:
    named = table.table(key)
    if named is None:
        return {}
    made = {name: _allowance(named, name) for name in named.values}
    return {name: one for name, one in made.items() if one is not None}


def _allowance(table: Table, name: str) -> Allowance | None:
    if not isinstance(table.ask(name), dict):
        usd = table.number(name)
        return None if usd is None or not _fits(table, name, usd) else Allowance(usd=usd)
    inside = table.table(name)
    assert inside is not None
    usd, per = inside.number("usd"), inside.word("per", get_args(Period))
    inside.done(hints=_WORDS)
    fits = usd is None or _fits(inside, "usd", usd)
    return Allowance(usd=usd, per=per) if fits and inside.fine else None  # pyright: ignore[reportArgumentType]  a word


def _fits(table: Table, key: str, usd: float) -> bool:
    if usd < 0:
        table.wrong(key, f"{usd} is negative: 0 or more, in USD")
        return False
    try:
        nano(usd)
    except InputError as error:
        table.wrong(key, error.message)
        return False
    return True

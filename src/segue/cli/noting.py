"""The command `segue memory`. What it does is imported when it is called: help is quick."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from ..config import DEFAULT_DATABASE
from .app import ACTING, command
from .commands import user
from .exits import Exit
from .options import AsJson, By, Db, Debug, Why
from .talking import Tenant


@command("memory", ACTING)
def memory(
    action: Annotated[
        str, typer.Argument(metavar="[ACTION]", help="list [SCOPE], edit NOTE TEXT, forget NOTE….")
    ] = "list",
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WHAT]…", help="A scope (user:ann); or notes, by number.", show_default=False),
    ] = None,
    *,
    tenant: Tenant = "default",
    by: By = "",
    why: Why = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """List what is remembered, correct a note, or forget it.

    list: the scopes that have notes, or the notes of one, with where each comes from. edit NOTE TEXT: the new words
    stand for the old ones. forget NOTE…: the words leave the file, those that they corrected too. Neither comes back by
    itself.
    """
    from . import notes

    return notes.memory(notes.Asked(db, tenant, as_json), action, what or [], user(by), why)

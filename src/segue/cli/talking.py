"""The commands `segue threads` and `segue thread`. What they do is imported when they are called: help is quick."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from ..config import DEFAULT_DATABASE
from .app import LOOKING, command
from .exits import Exit
from .options import AsJson, Db, Debug

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME", help="Whose.")]


@command("threads", LOOKING)
def threads(*, limit: Limit = 50, db: Db = DEFAULT_DATABASE, as_json: AsJson = False, debug: Debug = False) -> Exit:
    """List conversations, the one with the newest turn first."""
    from . import conversations

    return conversations.threads(db, limit, as_json)


@command("thread", LOOKING)
def thread(
    id: Annotated[str, typer.Argument(metavar="THREAD", help="The name of a conversation.", show_default=False)],
    *,
    tenant: Tenant = "default",
    limit: Limit = 50,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Show the turns of a conversation, and its branches.

    Of the last ones: the run of each, what it was given and gave, and where it branches. What an ordinary run has
    said in the thread, by ask(thread=), stands among them, with the step that said it. A branch shows the turns that it
    shares too. All of a turn: segue show RUN.
    """
    from . import conversations

    return conversations.thread(db, id, tenant, limit, as_json)

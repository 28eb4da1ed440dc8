"""The command `segue context`. What it does is imported when it is called: help is quick."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from ..config import DEFAULT_DATABASE
from .app import LOOKING, command
from .exits import Exit
from .options import AsJson, Db, Debug


@command("context", LOOKING)
def context(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="diff A B, bench FILE….")],
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT]…", help="Two calls, each RUN or RUN:KEY; or files with dialogues.", show_default=False
        ),
    ] = None,
    *,
    full: Annotated[
        bool, typer.Option("--full", "-f", help="diff: all words of what differs, below each other.")
    ] = False,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Compare what calls were shown, or measure recall.

    diff A B: which parts only one of two calls saw, or saw otherwise, why, and the words in which they differ. A call
    is RUN:KEY; RUN alone is its last. What one call was shown: segue show RUN --step KEY --context.

    bench FILE…: whether the evidence of a question is in the context assembled for it, at 1,000, 2,000 and 4,000
    tokens, beside recency, BM25 and an embedding alone. A file is JSON, gzip'd or plain: {"turns": [{"id", "at",
    "speaker", "text"}], "questions": [{"question", "evidence": [ids], "category"}]}.
    """
    from . import benching

    return benching.context(action, what or [], db, as_json, full=full)

"""The options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from .manual import COMMON

Db = Annotated[
    str, typer.Option("--db", metavar="FILE", envvar="SEGUE_DB", help="The database.", rich_help_panel=COMMON)
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", envvar="SEGUE_CONFIG", show_default="segue.toml", help="The models."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Give JSON on stdout, and errors as JSON.", rich_help_panel=COMMON)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show an error's whole traceback.", rich_help_panel=COMMON)]

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.", show_default=False)]
Given = Annotated[
    str | None,
    typer.Option(
        "--input", "-i", metavar="JSON|@FILE|-", show_default=False,
        help="The arguments: an object by parameter name or, for a flow with one parameter, just its value. {} is none "
        "where that one has a default and takes no object.",
    ),
]  # fmt: skip
NewId = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", show_default=False, help="The new run's id. The same id is the same run."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on the way.")]
Patience = Annotated[
    float,
    typer.Option("--patience-s", metavar="SECONDS", min=0, help="Wait for timers and retries due within this time."),
]
By = Annotated[
    str, typer.Option("--by", metavar="NAME", envvar="SEGUE_BY", show_default="this user", help="Who: for the record.")
]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", show_default=False, help="Why: for the record.")]

LISTED = 50
"""So many are listed where nothing else is said."""
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="COND", show_default=False,
        help="All runs with state=, flow=, tenant=, reason=, id=, parent=; age>2h, age<1h, idle>1d; repeatable.",
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --where: only list them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="With --where: do not ask.")]
Flow = Annotated[
    str | None,
    typer.Option("--flow", metavar="NAME", help="A flow: its runs, and those to come."),
]
OfFlow = Annotated[
    str | None, typer.Option("--flow", metavar="FLOW", help="Only of this flow, with or without MODULE:.")
]
All = Annotated[bool, typer.Option("--all", help="The whole engine: every run, and those to come.")]
Paused = Annotated[
    bool, typer.Option("--paused", help="Pause the whole engine first: only what is resumed by name goes on.")
]
MaybeRun = Annotated[str | None, typer.Argument(metavar="RUN", help="The id of a run.", show_default=False)]

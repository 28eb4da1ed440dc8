"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Db = Annotated[
    str, typer.Option("--db", metavar="FILE", envvar="SEGUE_DB", help="The database.", show_default=True, rich_help_panel="Common")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel="Common")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.", rich_help_panel="Common")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.", show_default=False)]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who does this, for the record.", envvar="SEGUE_BY")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the record.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell nothing on the way.")]
Patience = Annotated[
    float,
    typer.Option(
        "--patience-s", metavar="SECONDS", min=0, help="Wait for timers and retries that are due within this time."
    ),
]
NewId = Annotated[str | None, typer.Option("--id", metavar="ID", help="The new run's id; the same id is the same run.")]

"""The commands that act on a run, and that tidy up."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from ..config import DEFAULT_DATABASE
from .app import ACTING, LOOKING, TIDYING, command
from .commands import user
from .exits import Exit
from .options import AsJson, By, Config, Db, Debug, RunId, Why


@command("signal", ACTING)
def signal(
    run: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the flow waits for.")],
    *,
    payload: Annotated[str | None, typer.Option("--payload", "-p", metavar="JSON|@FILE|-", help="Its payload.")] = None,
    id: Annotated[str | None, typer.Option("--id", metavar="ID", help="The same id again sends nothing.")] = None,
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Send a signal, before or after the flow waits for it."""
    from . import telling

    return telling.signal(telling.Sender(db, as_json), run, name, payload=payload, id=id, by=user(by))


@command("cancel", ACTING)
def cancel(
    run: RunId, *, by: By = "", why: Why = "", db: Db = DEFAULT_DATABASE, as_json: AsJson = False, debug: Debug = False
) -> Exit:
    """Ask a run to end.

    The flow sees a cancellation and may clean up durably.
    """
    from . import telling

    return telling.cancel(telling.Sender(db, as_json), run, user(by), why)


@command("pause", ACTING)
def pause(
    run: RunId, *, by: By = "", why: Why = "", db: Db = DEFAULT_DATABASE, as_json: AsJson = False, debug: Debug = False
) -> Exit:
    """Let a run start no new work, until it is resumed."""
    from . import telling

    return telling.pause(telling.Sender(db, as_json), run, user(by), why)


@command("override", ACTING)
def override(
    run: RunId,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The open step; may be shortened.")],
    *,
    result: Annotated[str | None, typer.Option("--result", metavar="JSON|@FILE|-", help="This is its result.")] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Its result is null.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Make it again, as if it had never been tried.")] = False,
    by: By = "",
    why: Why = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Say what came of an open step.

    With one of --result, --skip and --retry.
    """
    from . import telling

    to = telling.Sender(db, as_json)
    return telling.override(to, run, key, result, retry=retry, skip=skip, by=user(by), why=why)


@command("feedback", ACTING)
def feedback(
    run: RunId,
    score: Annotated[float, typer.Argument(metavar="SCORE", min=0, max=1, help="From 0 to 1.")],
    *,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Of one step; may be shortened.")] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="In words.")] = "",
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Record how good a run's result was, or a step's.

    Also after its end.
    """
    from . import telling

    return telling.feedback(telling.Sender(db, as_json), run, score, key=key, by=user(by), note=note)


@command("gc", TIDYING)
def gc(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Runs that ended so long ago: 90d, 12h, 30min, 10s.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Delete the runs that ended long ago.

    With their events and what only they used. Their ids are never run again; runs that a fork goes on from stay.
    """
    from . import collecting

    return collecting.collect(db, older_than, dry_run=dry_run, as_json=as_json)


@command("prompts", LOOKING)
def prompts(
    action: Annotated[str, typer.Argument(metavar="[ACTION]", help="list, set, pin, rollback.")] = "list",
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A prompt; list: only this one.", show_default=False)
    ] = None,
    shares: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VERSION=SHARE]...", help="set: as v2=0.9 v3=0.1; pin: a version.", show_default=False),
    ] = None,
    *,
    config: Config = None,
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """List named prompts, and roll their versions out or back.

    list: each version's share, and how it did in this database: how many questions it was in, how many of them were
    answered at once, how many answers a check or a guard turned down, what people thought of them, what one cost.
    set NAME v2=0.9 v3=0.1: the shares from now on; a run that has drawn its version keeps it. pin NAME v2: all of
    it. rollback NAME: the shares that held before.
    """
    from . import prompts as named

    return named.prompts(action, name, shares or [], db=db, config=config, by=user(by), as_json=as_json)

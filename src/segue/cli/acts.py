"""The commands that act on a run, and that tidy up."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config import DEFAULT_DATABASE
from ..errors import InputError
from .app import ACTING, LOOKING, TIDYING, command
from .commands import user
from .exits import Exit
from .options import LISTED, All, AsJson, By, Config, Db, Debug, DryRun, Flow, Limit, MaybeRun, RunId, Where, Why, Yes

if TYPE_CHECKING:
    from .bulk import Bulk


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
    run: MaybeRun = None,
    *,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = "",
    why: Why = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Ask a run to end, or all that --where means.

    The flow sees a cancellation and may clean up durably.
    """
    from . import bulk, telling

    lists_only(where, dry_run=dry_run)
    if one_of(run, where=where) == "where":
        how = _bulk(db, where, dry_run=dry_run, yes=yes, as_json=as_json, by=by, why=why)
        return bulk.act(how, "cancel", "asked to end", lambda r: r.cancel(by=how.by, why=why), bulk.can_end)
    return telling.cancel(telling.Sender(db, as_json), run or "", user(by), why)


@command("pause", ACTING)
def pause(
    run: MaybeRun = None,
    *,
    flow: Flow = None,
    all_: All = False,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = "",
    why: Why = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Let a run, a flow or the whole engine start no new work.

    What is on its way ends. It holds in every process and over restarts, until it is resumed.
    """
    from . import bulk, switching, telling

    lists_only(where, dry_run=dry_run)
    what = one_of(run, where=where, flow=flow, all=all_)
    if what in ("flow", "all"):
        return switching.turn(db, flow, user(by), why, on=True, as_json=as_json)
    if what == "where":
        how = _bulk(db, where, dry_run=dry_run, yes=yes, as_json=as_json, by=by, why=why)
        return bulk.act(how, "pause", "asked to pause", lambda r: r.pause(by=how.by, why=why), bulk.can_pause)
    return telling.pause(telling.Sender(db, as_json), run or "", user(by), why)


@command("override", ACTING)
def override(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run; not with --where.")] = None,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="The open step; may be shortened.")] = None,
    *,
    result: Annotated[str | None, typer.Option("--result", metavar="JSON|@FILE|-", help="This is its result.")] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Its result is null.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Make it again, as if it had never been tried.")] = False,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = "",
    why: Why = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Say what came of an open step.

    With one of --result, --skip and --retry. With --where in all runs that have such a step open; without KEY the one
    that set each run aside. Of a call in whose way a recorded effect stands, --result says that it is the same effect,
    --retry that it is another one. A step that has an outcome is made again in a fork: segue fork RUN --at KEY.
    """
    from . import telling

    lists_only(where, dry_run=dry_run)
    to = telling.Sender(db, as_json)
    if where:
        how = _bulk(db, where, dry_run=dry_run, yes=yes, as_json=as_json, by=by, why=why)
        return telling.override_all(to, how, key or run, result, retry=retry, skip=skip)
    if run is None or key is None:
        raise InputError("override needs RUN and KEY, or --where", remedy="see segue override --help")
    return telling.override(to, run, key, result, retry=retry, skip=skip, by=user(by), why=why)


@command("decide", ACTING)
def decide(
    run: RunId,
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="The step; may be left out where it is the only one."),
    ] = None,
    *,
    retry: Annotated[bool, typer.Option("--retry", help="Try it again.")] = False,
    result: Annotated[str | None, typer.Option("--result", metavar="JSON|@FILE|-", help="This is its result.")] = None,
    use: Annotated[str | None, typer.Option("--use", metavar="NAME", help="Try this one: a model, a tool.")] = None,
    fail: Annotated[bool, typer.Option("--fail", help="Let the step fail with its error.")] = False,
    by: By = "",
    why: Why = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Answer what a failed step asks a person.

    With one of --retry, --result, --use and --fail. The first word counts. A result that is not of the step's type is
    refused, and the question waits on. What an escalated question is given is checked like a model's answer as well:
    the run asks again where the question's own check turns it down.
    """
    from . import deciding, telling

    to = telling.Sender(db, as_json)
    return deciding.decide(to, run, key, result, retry=retry, use=use, fail=fail, by=user(by), why=why)


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


@command("acts", LOOKING)
def acts(
    *,
    limit: Limit = LISTED,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """List what operators did to flows, to the engine and in bulk.

    With who and why, newest first. What was done to one run is in its journal: segue show RUN.
    """
    from . import switching

    return switching.acts(db, limit, as_json)


def resume_many(
    run: str | None, given: dict[str, Any], *, db: str, dry_run: bool, yes: bool, as_json: bool, by: str, why: str
) -> Exit:
    """`segue resume` of a flow, of the engine, or of all runs that --where means: by those who carry runs out."""
    from . import bulk, switching

    if one_of(run, **given) != "where":
        return switching.turn(db, given["flow"], user(by), why, on=False, as_json=as_json)
    how = _bulk(db, given["where"], dry_run=dry_run, yes=yes, as_json=as_json, by=by, why=why)
    return bulk.act(how, "resume", "told to go on", lambda r: r.resume(by=how.by, why=why), bulk.can_resume)


def one_of(run: str | None, **given: object) -> str:
    """Which of RUN, --where, --flow and --all is given. Raises InputError unless it is just one."""
    said = [name for name, value in {"run": run, **given}.items() if value]
    if len(said) != 1:
        options = ", ".join(["RUN", *(f"--{name}" for name in given)])
        what = " and ".join(said) or "none"
        raise InputError(f"one of {options} is needed: {what} given", remedy="give just one of them")
    return said[0]


def lists_only(where: list[str] | None, *, dry_run: bool) -> None:
    """Raise InputError for a dry run of what is done to one run, a flow or the engine: it would be done for real."""
    if dry_run and not where:
        raise InputError(
            "--dry-run lists what --where means: there is no --where", remedy="leave --dry-run out, or add --where"
        )


def _bulk(db: str, where: list[str] | None, *, dry_run: bool, yes: bool, as_json: bool, by: str, why: str) -> Bulk:
    from .bulk import Bulk

    return Bulk(db=db, where=where or [], dry_run=dry_run, yes=yes, as_json=as_json, by=user(by), why=why)


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

"""The commands that carry runs out and that look. What one does is imported when it is called: help is quick."""
# ruff: noqa: PLC0415

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from ..config import DEFAULT_DATABASE
from .app import LOOKING, RUNNING, command
from .exits import Exit
from .options import (
    LISTED,
    AsJson,
    By,
    Config,
    Db,
    Debug,
    DryRun,
    Given,
    Limit,
    NewId,
    OfFlow,
    Patience,
    Paused,
    Quiet,
    RunId,
    Where,
    Why,
    Yes,
)  # fmt: skip


def user(by: str) -> str:
    """Who acts: as said, else as the system knows the user."""
    try:
        return by or getpass.getuser()
    except (OSError, KeyError):
        return ""


@command("run", RUNNING)
def run(
    target: Annotated[str, typer.Argument(metavar="MODULE:FLOW", help="The flow: a module or FILE.py, and its name.")],
    *,
    given: Given = None,
    id: NewId = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Record the run and print its id; segue resume carries it out.")
    ] = False,
    paused: Paused = False,
    quiet: Quiet = False,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Start a flow and wait for its result.

    The result goes to stdout, everything else to stderr. With the id of a run that is there, goes on with that run.
    Ctrl-C suspends the run: nothing is lost, and segue resume goes on. A second Ctrl-C kills.
    """
    from . import starting
    from .carrying import Carrying

    how = Carrying(db=db, as_json=as_json, quiet=quiet, paused=paused)
    return starting.run(how, target, given, id, only_record=detach)


@command("resume", RUNNING)
def resume(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run; without it, all that are open.")] = None,
    *,
    flow: Annotated[
        str | None,
        typer.Option("--flow", metavar="NAME", help="Only let a paused flow go on again.", show_default=False),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Only let the paused engine go on again.")] = False,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    paused: Paused = False,
    patience_s: Patience = 60.0,
    stay: Annotated[
        bool, typer.Option("--stay", help="Without RUN: stay, and take up what comes, until Ctrl-C.")
    ] = False,
    by: By = "",
    why: Why = "",
    quiet: Quiet = False,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Go on with a run, or with all that are open; lift a pause.

    It carries runs out until nothing moves by itself, then says what still waits, and on what. A paused or stuck run
    goes on when it is named, and its batch is waited for; without RUN, a batch is looked at once. Flows are found by
    module and name, or by the file they were started from. With --flow, --all or --where nothing is carried out here.
    """
    from . import resuming
    from .carrying import Carrying

    if flow is not None or all_ or where or dry_run:
        from .acts import lists_only, resume_many

        lists_only(where, dry_run=dry_run)
        given = {"flow": flow, "all": all_, "where": where}
        return resume_many(run, given, db=db, dry_run=dry_run, yes=yes, as_json=as_json, by=by, why=why)
    how = Carrying(db=db, as_json=as_json, quiet=quiet, paused=paused)
    if run is None:
        return resuming.resume_all(how, patience_s, stay)
    return resuming.resume(how, run, patience_s, user(by), why)


@command("fork", RUNNING)
def fork(
    run: RunId,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="KEY|SEQ", help="The step to make anew, or the last event to keep. Default: keep all."
        ),
    ] = None,
    result: Annotated[
        list[str] | None, typer.Option("--result", metavar="KEY=JSON", help="Another result for a step; repeatable.")
    ] = None,
    given: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="Arguments to change, by name.")
    ] = None,
    id: NewId = None,
    repeat: Annotated[
        bool, typer.Option("--repeat", help='Allow effects that are effect="once", also of children, to happen again.')
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Only record it, and print its id.")] = False,
    quiet: Quiet = False,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Make a new run that goes on from a step of this one.

    It knows the outcomes that the step had seen. The run that it comes from stays as it is. The
    new one is carried out here, as by segue run. Children whose end it does not keep start anew.
    """
    from . import starting
    from .carrying import Carrying

    how = Carrying(db=db, as_json=as_json, quiet=quiet)
    return starting.fork(how, run, at=at, results=result or [], given=given, id=id, repeat=repeat, only_record=detach)


@command("runs", LOOKING)
def runs(
    *,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Only these: a state, paused, open or ended.")
    ] = None,
    flow: OfFlow = None,
    where: Where = None,
    limit: Limit = LISTED,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """List runs, newest first.

    With state, flow, age, the number of steps with an outcome, and what they wait for.
    """
    from . import listing

    given = [f"{name}={value}" for name, value in (("state", state), ("flow", flow)) if value]
    return listing.runs(db, [*given, *(where or [])], limit, as_json)


@command("show", LOOKING)
def show(
    run: RunId,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="One of its calls, with everything.")] = None,
    *,
    full: Annotated[
        bool, typer.Option("--full", "-f", help="Nothing shortened: whole keys, values, every call.")
    ] = False,
    step: Annotated[
        str | None, typer.Option("--step", metavar="KEY", help="The same as KEY.", show_default=False)
    ] = None,
    context: Annotated[
        bool, typer.Option("--context", help="What the models were shown: each part, its fate and why, its words.")
    ] = False,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Show a run: its calls, its result, what to do.

    Draws the tree of calls with times, attempts, errors and results and, for a run that waits or is set aside,
    says for what and which command helps. A KEY may be shortened as the tree shows it, or be just the step's name.
    """
    if context:
        from . import seen

        return seen.show(db, run, step or key, full, as_json)
    from . import showing

    return showing.show(db, run, step or key, full, as_json)


@command("budgets", LOOKING)
def budgets(
    *,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only these: tenant, thread, run or ask.")
    ] = None,
    limit: Limit = LISTED,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """List budgets: limit, spent, held and estimated, in USD.

    Those of tenants and threads come first, then those of runs and of single questions. What is held is set aside for
    calls that are on their way; what is estimated is the part of what is spent that no provider has confirmed.
    """
    from . import budgets

    return budgets.budgets(db, kind, limit, as_json)


@command("watch", LOOKING)
def watch(run: RunId, db: Db = DEFAULT_DATABASE, as_json: AsJson = False, debug: Debug = False) -> Exit:
    """Follow a run live until it ends or is set aside.

    With --json its events, one a line.
    """
    from . import following

    return following.watch(db, run, as_json)


@command("events", LOOKING)
def events(
    run: RunId,
    *,
    after: Annotated[int, typer.Option("--after", metavar="SEQ", min=0, help="Only events after this one.")] = 0,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only of this type: step.completed, or just step.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more until the run ends.")] = False,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Print a run's journal, one event a line.

    With --json, one JSON object a line.
    """
    from . import following

    return following.events(db, run, after=after, kind=kind, follow=follow, as_json=as_json)


@command("check", LOOKING)
def check(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run; without it, all that are open.")] = None,
    flow: OfFlow = None,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Replay open runs against today's code.

    Nothing is carried out, nothing is written. Says for each: ok, orphaned (goes on without some outcomes),
    unsure (a new call comes first, and what follows depends on its result), mismatch, undecodable, fails,
    unknown flow.
    """
    from . import checking

    return checking.checked(db, run, flow, as_json)


@command("models", LOOKING)
def models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Only these; without, all.", show_default=False)
    ] = None,
    *,
    ping: Annotated[
        bool, typer.Option("--ping", help="Ask each for a word: it costs a few tokens. Ends with 1 if one fails.")
    ] = False,
    reopen: Annotated[
        list[str] | None, typer.Option("--reopen", metavar="MODEL", help="It takes calls again; or MODEL/DEPLOYMENT.")
    ] = None,
    config: Config = None,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """List the models, what they cost and can do.

    Prices are USD per million tokens; a + says that long requests cost more, a ? that no price is known. Where runs of
    this database have asked models, it stands beside how they fare; --reopen lets through what was shut or broken.
    Mistakes in the file, in its other tables too, are told with their lines.
    """
    from . import models as listed

    return listed.models(names or [], config, as_json, test=ping, db=db, reopen=reopen or [])


@command("route", LOOKING)
def route(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What would be asked.", show_default=False)],
    *,
    policy: Annotated[
        str | None,
        typer.Option("--policy", "-p", metavar="ROUTE", help="A route, or cheapest, best, fastest, cascade."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="The kind of task, instead of a guess: code, write, …")
    ] = None,
    needs: Annotated[
        list[str] | None,
        typer.Option("--needs", metavar="CAPABILITY", help="What it takes: tools, vision; repeatable."),
    ] = None,
    luck: Annotated[
        float, typer.Option("--luck", metavar="NUMBER", min=0, max=0.999999, help="What draws the choice, 0 to 1.")
    ] = 0.5,
    config: Config = None,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Show which model would answer a prompt, and why.

    Prints the decision table: who is eligible and why the others are not, what quality, cost and latency are expected
    of each, its score and its chance. No model is called. It knows what was learned and how models are, as an engine
    on this database would. Ends with 1 where nobody could answer.
    """
    from . import route as routed

    return routed.route(prompt, policy, db, config, as_json, kind=kind, needs=needs or [], luck=luck)


@command("routes", LOOKING)
def routes(
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="list, eval NEW.toml, train, versions, rollback NAME, bench DATA.")
    ] = "list",
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHAT]",
            help="A file with routes, a version, or the data of a bench: pair, many.",
            show_default=False,
        ),
    ] = None,
    *,
    route: Annotated[
        str | None, typer.Option("--route", metavar="ROUTE", help="eval: only asks that took this route.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", metavar="ROUTE", help="eval: this route of NEW.toml for all asks.")
    ] = None,
    last: Annotated[int, typer.Option("--last", metavar="COUNT", min=1, help="eval: so many asks at most.")] = 10_000,
    days: Annotated[
        float, typer.Option("--days", metavar="DAYS", min=0.01, help="eval: within which a claim is wanted.")
    ] = 14.0,
    train: Annotated[
        list[str] | None, typer.Option("--train", metavar="FILE", help="bench: rows to learn from; may be repeated.")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", metavar="FILE", help="bench: rows to ask about; may be repeated.")
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option("--leave-out", metavar="TASK", help="bench: learn from all other tasks; all: each in turn."),
    ] = None,
    config: Config = None,
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """List routes, judge others, and look after what was learned.

    list: the routes of the file. eval NEW.toml: what its routes would have cost, answered and taken on the past
    traffic of this database, with 95% intervals; ends with 1 where all that is refused. train: learn now from
    checks and feedback. versions: what was learned. rollback NAME: go back to a version, and stay there.

    bench pair|many: measure the learned router on labelled requests, beside random, the best single model and an
    oracle. Its files are JSON lines, gzip'd or plain: a row is {"id", "task", "prompt", "scores": {model: 0..1},
    "usd": {model: cost} or null}. Test rows are never learned from. With --leave-out, a task that it has not seen.
    """
    from . import routes as routing

    asked = routing.Asked(
        db=db, config=config, as_json=as_json, train=train or [], test=test or [], route=route, policy=policy,
        last=last, days=days, by=user(by), leave_out=leave_out or [],
    )  # fmt: skip
    return routing.routes(action, what, asked)

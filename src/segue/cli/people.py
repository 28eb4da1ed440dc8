"""The commands for what waits for people. What one does is imported when it is called: help is quick."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from ..config import DEFAULT_DATABASE
from .app import ACTING, LOOKING, command
from .commands import user
from .exits import Exit
from .options import AsJson, By, Db, Debug

Question = Annotated[
    str,
    typer.Argument(metavar="ID", show_default=False, help="The question, as segue inbox has it; or its run."),
]  # fmt: skip
Note = Annotated[str, typer.Option("--note", metavar="TEXT", show_default=False, help="In words: for the record.")]


@command("inbox", LOOKING)
def inbox(
    question: Annotated[
        str | None, typer.Argument(metavar="ID", help="One question, with everything.", show_default=False)
    ] = None,
    *,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="NAME", show_default=False, help="Only what asks this person or role."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:  # fmt: skip
    """List what waits for people.

    What is asked, of whom, by which run, since when and until when; what is due first comes first. With ID one question
    in full: what is shown, what was tried, the form, what was said so far, and the commands that decide it.
    """
    from . import inbox

    return inbox.one(db, question, as_json) if question else inbox.inbox(db, for_, limit, as_json)


@command("approve", ACTING)
def approve(
    question: Question,
    *,
    note: Note = "",
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Say yes to what a run asks.

    The first word counts. It holds for exactly what the question shows.
    """
    from . import answering, telling

    return answering.approve(telling.Sender(db, as_json), question, by=user(by), note=note)


@command("deny", ACTING)
def deny(
    question: Question,
    *,
    note: Note = "",
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Say no to what a run asks, or decline to answer.

    Where a failed step asks, it fails with its error.
    """
    from . import answering, telling

    return answering.deny(telling.Sender(db, as_json), question, by=user(by), note=note)


@command("answer", ACTING)
def answer(
    question: Question,
    value: Annotated[
        str,
        typer.Option(
            "--value", metavar="JSON|@FILE|-", show_default=False,
            help="The answer; where a text is asked for, also without quotes.",
        ),
    ],
    *,
    note: Note = "",
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:  # fmt: skip
    """Answer a form, or what was escalated.

    The answer is held against the type that is asked for; one that does not fit is refused with the field that is
    wrong, and the question waits on. A check of an escalated question is the run's: what that turns down is asked
    again.
    """
    from . import answering, telling

    return answering.answer(telling.Sender(db, as_json), question, value, by=user(by), note=note)


@command("reassign", ACTING)
def reassign(
    question: Question,
    to: Annotated[
        list[str], typer.Option("--to", metavar="NAME", show_default=False, help="A person or a role; repeatable.")
    ],
    *,
    note: Note = "",
    by: By = "",
    db: Db = DEFAULT_DATABASE,
    as_json: AsJson = False,
    debug: Debug = False,
) -> Exit:
    """Ask somebody else instead.

    Its time limit and its reminders stay.
    """
    from . import answering, telling

    return answering.reassign(telling.Sender(db, as_json), question, to, by=user(by), note=note)

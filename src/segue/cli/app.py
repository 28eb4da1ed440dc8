"""The application: every error becomes a calm message and an exit code, and nothing that draws is imported early."""
# ruff: noqa: PLC0415

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import takewhile
from pathlib import Path
from typing import Annotated, NoReturn, ParamSpec, cast

import typer

from ..config import config_option, database_option
from ..core.shell import naming
from .exits import MEANING, Exit
from .leaving import deaf_at_last, ends, leave_at_once
from .manual import Command, Commands
from .outputs import OutputError, Unread, ready, say

P = ParamSpec("P")

RUNNING, LOOKING, ACTING, TIDYING = "Carry runs out", "Look", "Act on a run", "Tidy up"
CODES = "Exit codes: " + ", ".join(f"{c.value} {c.name.lower()}" for c in MEANING) + "."

app = typer.Typer(
    name="segue",
    cls=Commands,
    epilog=CODES,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    ready()
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if arguments is None:
        deaf_at_last()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = _only(words[0] if words else "")(words, prog_name="segue", standalone_mode=False)
        sys.stdout.flush()
    except Unread:
        code = Exit.DONE  # `segue runs | head`: nothing more is written, and nothing is said about it
    except OutputError as error:
        code = _failed(error, as_json=_asks_for_json(words))
    except Exception as error:  # noqa: BLE001  the parser's own: commands end with a code
        code = _unreadable(error, as_json=_asks_for_json(words))
    if code in (Exit.SUSPENDED, Exit.TERMINATED):
        leave_at_once(int(code))
    if arguments is None:
        ends(int(code or 0))
    sys.exit(int(code or 0))


def _only(name: str) -> typer.Typer:
    """The application with this command alone; with all of them where there is no such one.

    Typer reads the signatures of all commands that it is given before it calls one: most of the time of a short one.
    """
    called = [command for command in app.registered_commands if command.name == name]
    if not called:
        return app
    one = copy.copy(app)
    one.registered_commands = called
    return one


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether `--json` is given: what the parser refuses it has not read."""
    return "--json" in takewhile(lambda word: word != "--", arguments)


def _unreadable(error: Exception, *, as_json: bool) -> Exit:
    from ..errors import UsageError

    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", None) or "segue"
    shown = getattr(error, "format_message", lambda: str(error))()
    return _failed(UsageError(shown.rstrip("."), remedy=f"see {path} --help"), as_json=as_json)


def command(name: str, panel: str) -> Callable[[Callable[P, Exit]], Callable[P, Exit]]:
    """Register a command whose errors are said calmly and whose code is its exit."""

    def register(function: Callable[P, Exit]) -> Callable[P, Exit]:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            with naming(database_option(str(kwargs["db"])), config_option(cast("str | None", kwargs.get("config")))):
                try:
                    code = function(*args, **kwargs)
                    sys.stdout.flush()
                except KeyboardInterrupt:
                    code = Exit.SUSPENDED
                except OutputError:
                    raise
                except Exception as error:  # noqa: BLE001  the edge: every error is said, and none as a traceback of ours
                    of = _cause(error, kwargs.get("db"), kwargs.get("run"))
                    code = _failed(of, debug=bool(kwargs.get("debug")), as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(int(code))

        app.command(name, cls=Command, rich_help_panel=panel)(guarded)
        return function

    return register


def _cause(error: Exception, db: object, run: object) -> Exception:
    from .damaged import cause

    return cause(error, db, run)


def _failed(error: Exception, *, as_json: bool, debug: bool = False) -> Exit:
    from .exits import exit_of

    say(error, as_json=as_json, debug=debug)
    return exit_of(error)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"segue {version('segue')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Durable flows over one journal: start runs, look at them, act on them.

    The database is segue.db in this folder, or what SEGUE_DB or --db names.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())

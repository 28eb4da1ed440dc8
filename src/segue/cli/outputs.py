"""Where a command writes: its results on stdout, everything else on stderr, whether anybody reads them or not.

What stderr does not take is not said, and nothing else changes: a run is carried on. What stdout does not take is an
error of ours, so that a pipe of somebody else's is never taken for it. Results have a descriptor of their own: what
the programs print that steps call, to the stdout that they find, goes to stderr as well.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO, cast

from ..errors import SegueError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(SegueError):
    """What was to be printed cannot be written to stdout."""

    code = "output"


class Unread(OutputError):
    """Whoever read stdout has gone, as `head` does that has enough: nobody is to be told."""


class Patient(FileIO):
    """A descriptor that may not block, as some programs hand theirs on: what it has no room for now waits."""

    def write(self, b: ReadableBuffer, /) -> int:
        """Raises OSError."""
        while (taken := cast("int | None", super().write(b))) is None:
            select.select([], [self.fileno()], [])
        return taken


class Results(Patient):
    """Stdout. Once it has failed it takes nothing more: what came after a gap would be read as if there were none."""

    lost = False

    def write(self, b: ReadableBuffer, /) -> int:
        """Raises OutputError, once."""
        if self.lost:
            return memoryview(b).nbytes
        try:
            return super().write(b)
        except BrokenPipeError as error:
            self.lost = True
            raise Unread("nobody reads stdout any more") from error
        except OSError as error:
            self.lost = True
            raise OutputError(
                f"stdout cannot be written: {error.strerror}",
                remedy="make room where it goes, or name another place: segue … > FILE",
            ) from error


class Words(Patient):
    """Stderr. What it does not take is lost, and nobody is held up by it, nor are the programs that steps call."""

    theirs: tuple[int, ...] = ()
    """Other descriptors by which programs write to it."""

    def write(self, b: ReadableBuffer, /) -> int:
        """Raises nothing."""
        try:
            return super().write(b)
        except BrokenPipeError:
            _to_nowhere(self.fileno(), *self.theirs)
        except OSError:  # there may be room again
            _to_nowhere(*self.theirs)
        return memoryview(b).nbytes


def ready() -> None:
    """Make this process's own streams such ones. One that was closed is as /dev/null from now on."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115  it is there to the end
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    elif _is(sys.stdout, 1):
        sys.stdout.flush()
        sys.stdout = _own(sys.stdout, Results(os.dup(1), "w"))
        os.dup2(2, 1)
        Words.theirs = (1,)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    elif _is(sys.stderr, 2):
        sys.stderr = _own(sys.stderr, Words(2, "w", closefd=False))
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, f"__{name}__") is None:
            setattr(sys, f"__{name}__", getattr(sys, name))


def columns() -> int:
    """How wide stdout is: what COLUMNS says, or its terminal, or 80."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    return 80


def _own(stream: TextIO, raw: FileIO) -> TextIO:
    return TextIOWrapper(
        BufferedWriter(raw),
        encoding=stream.encoding,
        errors="replace",  # a terminal without UTF-8 gets question marks, not a crash
        line_buffering=isinstance(raw, Words) or raw.isatty() or getattr(stream, "write_through", False),
    )


def _to_nowhere(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for number in descriptors:
        os.dup2(null, number)
    os.close(null)


def _is(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):  # somebody catches what is printed
        return False


@contextmanager
def of_runs(code: int, *, as_json: bool, run: str | None = None, remedy: str | None = None) -> Generator[None]:
    """Print what runs came to. The command ends with `code`, which is theirs, also where this cannot be printed."""
    try:
        yield
        sys.stdout.flush()
    except Unread:
        pass
    except OutputError as error:
        say(OutputError(error.message, run=run, remedy=remedy or error.remedy), as_json=as_json, code=code)


def say(error: Exception, *, as_json: bool, debug: bool = False, code: int | None = None) -> None:
    """Tell an error on stderr. `code`: of a command that ends with another one than the error's."""
    from .faults import as_json as error_json  # noqa: PLC0415  few commands fail
    from .paint import complain  # noqa: PLC0415

    if as_json and not debug:
        print(error_json(error, code), file=sys.stderr)
    else:
        complain(error, debug=debug)

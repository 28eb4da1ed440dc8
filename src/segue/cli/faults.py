"""Errors as a user reads them: message, place, next thing to do; tracebacks cut to the user's own frames. Pure."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import traceback
from concurrent import futures
from pathlib import Path

from ..core.faults import Fault, own_frames
from ..errors import InternalError, SegueError, UnknownFlow
from .exits import exit_of

_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line \d+')
_OURS = (
    "<frozen importlib",
    str(Path(__file__).parents[1]),
    *(str(Path(module.__file__ or "asyncio").parent) for module in (asyncio, importlib, futures)),
)


class ImportFailed(UnknownFlow):
    """The module of a flow raised while it was imported: `__cause__` is its error."""


def known(error: BaseException) -> SegueError:
    """The error itself, or for one that is not in the tree a bug of ours."""
    if isinstance(error, SegueError):
        return error
    said = "".join(traceback.format_exception_only(error)).strip()
    return InternalError(f"a bug in Segue: {said}", remedy="report it, with the traceback that --debug prints")


def as_json(error: BaseException, exit_: int | None = None) -> str:
    """An error as one JSON object in one line. `exit_`: of a command that ends with another code than the error's."""
    of = known(error)
    body = {
        "code": of.code, "message": of.message, "run": of.run, "key": of.key, "remedy": of.remedy,
        "exit": int(exit_of(error) if exit_ is None else exit_),
    }  # fmt: skip
    body |= {name: getattr(error, name, None) or None for name in ("field", "by", "verdict", "at")}
    return json.dumps({"error": {k: v for k, v in body.items() if v is not None}}, ensure_ascii=False)


def whole_trace(error: BaseException) -> str:
    """The traceback with every frame."""
    return "".join(traceback.format_exception(error))


def import_trace(error: ImportFailed) -> str:
    """What the user's module raised, from the user's first frame on."""
    cause = error.__cause__
    if cause is None:
        return ""
    return users_trace("".join(traceback.format_exception(type(cause), cause, own_frames(cause), chain=False)))


def trace_of(fault: Fault) -> str:
    """The user's part of a recorded traceback; empty when there is none."""
    return users_trace(fault.trace) if fault.trace else ""


def users_trace(text: str) -> str:
    """A traceback without the frames of Segue, asyncio and the import system."""
    kept: list[str] = []
    ours = False
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            ours = frame["file"].startswith(_OURS)
        elif not line.startswith("    ") and not line.startswith("  ["):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept)

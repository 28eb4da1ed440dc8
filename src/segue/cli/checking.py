"""`segue check`: would today's code replay the runs that are open?"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ..core.lifecycle import ENDED
from ..core.short import short_key
from ..runtime.check import GOES_ON, Finding, Verdict, check, check_one
from .exits import Exit
from .paint import Drawn, emit, out, pairs, stated, tell
from .shelf import reading
from .words import plural, printable


def checked(db: str, run: str | None, flow: str | None, as_json: bool) -> Exit:
    """Replay open runs against today's code, and say what each comes to."""
    verdicts: list[Verdict] = []
    console = out()
    with reading(db) as reader, redirect_stdout(sys.stderr):
        for verdict in [check_one(reader, reader.get(run))] if run is not None else check(reader, flow=flow):
            verdicts.append(verdict)
            if not as_json:
                emit(console, *drawn(verdict))
    if as_json:
        print(json.dumps([_verdict_json(v) for v in verdicts], ensure_ascii=False, indent=2))
    else:
        _summed_up(verdicts)
    if any(v.finding not in GOES_ON | {Finding.UNKNOWN_FLOW} for v in verdicts):
        return Exit.STUCK
    return Exit.UNKNOWN if any(v.finding is Finding.UNKNOWN_FLOW for v in verdicts) else Exit.DONE


def _summed_up(verdicts: list[Verdict]) -> None:
    bad = sum(v.finding not in GOES_ON for v in verdicts)
    unsure = sum(v.finding is Finding.UNSURE for v in verdicts)
    if verdicts and verdicts[0].state in ENDED:  # it was asked for by its name: else only open runs are checked
        left = ", and the code would not replay it" if bad else ""
        return tell(Text(f"The run has ended ({verdicts[0].state}): there is nothing to go on with{left}.", "dim"))
    said = plural(len(verdicts), "run") + (f", {bad:,} would not go on" if bad else ": the code can go on with all")
    said += f", {unsure:,} of them checked up to a new call" if unsure else ""
    tell(Text(said if verdicts else "No open runs.", "dim"))


def drawn(verdict: Verdict) -> list[Drawn]:
    """A verdict in a few lines."""
    head = stated(verdict.finding)
    head.append(f"  {printable(verdict.run)}", "default").append(f"  {printable(verdict.flow)}", "dim")
    rows: list[tuple[str, RenderableType]] = []
    if verdict.message:
        rows.append(("", Text(printable(verdict.message))))
    if verdict.remedy:
        rows.append(("do", Text(verdict.remedy)))
    rows += [("effect at risk", Text(printable(short_key(k)), "yellow")) for k in verdict.effects]
    rows += [("may be asked for", Text(printable(short_key(k)))) for k in verdict.later if k not in verdict.effects]
    rows += [("orphaned", Text(printable(short_key(k)))) for k in verdict.orphans]
    return [head, pairs(rows, 2)] if rows else [head]


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    body = {name: getattr(verdict, name) for name in Verdict.__dataclass_fields__}
    return {k: v for k, v in body.items() if v is not None}

"""`segue show`: one run, or one of its calls."""

from __future__ import annotations

import json
import time
from typing import Any

from ..core.shell import command
from ..core.short import resolve
from ..errors import InputError
from .advice import Standing, advise
from .decided import decisions_json
from .exits import Exit
from .paint import emit, out
from .shelf import parsed, reading, standing_of, summary
from .story import Call
from .tree import one_call, shown
from .waits import Say


def show(db: str, run: str, key: str | None, full: bool, as_json: bool) -> Exit:
    """Draw one run, or one of its calls."""
    with reading(db) as reader:
        standing = standing_of(reader, reader.get(run))
    now, say = time.time(), command
    if key is not None:
        found = resolve(key, standing.story.calls, what="call", run=run)
        if found is None:
            raise InputError(f"the run has no call {key!r}", run=run, remedy=f"list its keys: {say('show', run)}")
        call = standing.story.calls[found]
        if as_json:
            print(json.dumps(call_json(call), ensure_ascii=False, indent=2))
        else:
            emit(out(), *one_call(call, now))
        return Exit.DONE
    if as_json:
        print(json.dumps(run_json(standing, now, say), ensure_ascii=False, indent=2))
    else:
        emit(out(), *shown(standing, now, say, full=full))
    return Exit.DONE


def run_json(standing: Standing, now: float, say: Say) -> dict[str, Any]:
    """A run with its calls, as JSON."""
    story = standing.story
    end = story.end
    fault, cost = story.fault, story.spending.of()
    return {
        **summary(standing),
        "process": int(standing.pid) if standing.owned and standing.pid.isdecimal() else None,
        "input": parsed(story.args),
        "part": story.part + 1,
        "part_input": parsed(story.part_args),
        "result": parsed(end.value) if end is not None else None,
        "error": None if fault is None else fault.body(),
        "ended_at": None if end is None else end.at,
        "starts": story.starts,
        "events": story.last_seq,
        "cost_usd": None if cost is None else cost.amount / 1e9,
        "cost_estimated_usd": None if cost is None else cost.estimated / 1e9,
        "fork_of": story.fork_of,
        "kept": standing.row.memo_seq,
        "orphaned": story.orphans,
        "calls": [call_json(c) for c in story.calls.values()],
        "todo": [{"says": a.says, "do": [c for c, _ in a.do]} for a in advise(standing, now, say)],
    }


def call_json(call: Call) -> dict[str, Any]:
    """One call as JSON."""
    body = {
        "key": call.key, "kind": call.kind, "state": call.stand, "began": call.began, "ended": call.ended,
        "attempts": call.attempts, "args": parsed(call.args), "value": parsed(call.value), "due_at": call.due_at,
        "child": call.child, "effect": call.effect or None, "notes": call.notes, "kept": call.kept,
        "error": None if call.fault is None else call.fault.body(),
        "decisions": decisions_json(call),
        "failed_attempts": [{"attempt": n, **f.body()} for n, f in call.failures],
    }  # fmt: skip
    return {k: v for k, v in body.items() if v is not None and v != []}

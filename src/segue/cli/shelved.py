"""`segue routes list`, `train`, `versions` and `rollback`: the routes, and the trained models on their shelf."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from ..core.shell import command
from ..errors import InputError
from ..models.spec import Catalogue
from .columns import cut
from .exits import Exit
from .paint import Copyable, emit, out, tell
from .routes import Asked, watched
from .words import ago, plural, printable


def listed(asked: Asked) -> Exit:
    """The routes of the configuration, and what each wants."""
    from ..routing import load_routes  # noqa: PLC0415  its policies are asked what they want
    from ..routing.reasons import wanted  # noqa: PLC0415

    catalogue = Catalogue.load(asked.config)
    found = load_routes(asked.config, list(catalogue.models))
    if asked.as_json:
        body = {name: policy.body() | {"version": policy.version()} for name, policy in found.items()}
        print(json.dumps({"source": catalogue.source, "routes": body}, ensure_ascii=False, indent=2))
        return Exit.DONE
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("route", "policy", "wants", "explores"):
        table.add_column(head, no_wrap=head not in ("route", "wants"))
    for route, policy in found.items():
        explore = getattr(policy, "explore", None)
        share = "" if explore is None or not explore.ceiling else f"{explore.floor:.0%} to {explore.ceiling:.0%}"
        table.add_row(cut(route), policy.kind, Text(printable(wanted(policy.body()))), Text(share, "dim"))
    if found:
        emit(out(), table)
    said = plural(len(found), "route") + f" of {printable(catalogue.source or 'the built-in catalogue')}"
    tell(Text(said if "default" in found else f"{said}; without a route, the cheapest that can do it is asked", "dim"))
    return Exit.DONE


def trained(asked: Asked) -> Exit:
    """Learn from all judged traffic now, and put that to use. 1 where there was nothing to learn."""
    from ..journal import Journal  # noqa: PLC0415
    from ..routing.learned import train  # noqa: PLC0415
    from ..routing.versions import Versions  # noqa: PLC0415

    catalogue = Catalogue.load(asked.config)
    shelf = Versions.of(asked.db)
    with Journal.open_readonly(asked.db) as reader:
        done = watched(lambda report: train(reader, shelf, catalogue, report=report))
    if asked.as_json:
        made = None if done.version is None else asdict(done.version)
        print(json.dumps({"version": made, "why": done.why, "lessons": done.lessons, "new": done.new}))
    elif done.version is not None:
        emit(out(), Text("✓ ", "green").append(f"{done.version.name} is in use", "default"))
        judged = plural(done.lessons, "judged answer")
        tell(Text(f"learned from {judged} ({done.new} new) of {', '.join(map(printable, done.version.models))}", "dim"))
    else:
        emit(out(), Text("– ", "dim").append(f"nothing was trained: {done.why}", "default"))
        how = command("feedback", "RUN", "SCORE")
        tell(Text(f"answers are judged by checks of ask(..., check=) and by feedback: {how}", "dim"))
    return Exit.DONE if done.version is not None else Exit.FAILED


def versions(asked: Asked) -> Exit:
    """All that can be gone back to, newest first."""
    from ..routing.versions import Versions  # noqa: PLC0415

    shelf = Versions.of(asked.db)
    found, current = shelf.list()[::-1], shelf.current()
    if asked.as_json:
        body = {"current": None if current is None else asdict(current), "versions": [asdict(v) for v in found]}
        print(json.dumps(body, ensure_ascii=False, indent=2))
        return Exit.DONE
    if not found:
        tell(Text("nothing was learned yet: routes go by the catalogue's priors", "dim"))
        return Exit.DONE
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("", "version", "made", "learned from", "models"):
        table.add_column(head, no_wrap=head != "models")
    now = time.time()
    for one in found:
        used = current is not None and one.name == current.name
        judged = plural(one.lessons, "judged answer")
        models = Text(", ".join(map(printable, one.models)), "dim")
        sign = Text("→", "green") if used else ""
        table.add_row(sign, one.name, ago(now - one.made_at), judged, models, style="bold" if used else "")
    emit(out(), table)
    if current is not None and current.held:
        who = f" by {printable(current.by)}" if current.by else ""
        tell(Text(f"{current.name} is held{who}: what is learned from now on is not put to use by itself", "yellow"))
        tell(Copyable(command("routes", "train"), "to go on with what was learned since"))
    return Exit.DONE


def rolled_back(name: str, asked: Asked) -> Exit:
    """Go back to a version, and stay there. Raises InputError."""
    from ..routing.versions import Versions  # noqa: PLC0415

    shelf = Versions.of(asked.db)
    before = shelf.current()
    if not shelf.list():
        raise InputError("nothing was learned yet", remedy=f"train first: {command('routes', 'train')}")
    now = shelf.use(name, held=True, by=asked.by)
    if asked.as_json:
        print(json.dumps({"current": asdict(now), "before": None if before is None else before.name}))
        return Exit.DONE
    emit(out(), Text("✓ ", "green").append(f"{now.name} is in use, and held", "default"))
    if before is not None and before.name != now.name:
        tell(Copyable(command("routes", "rollback", before.name), "to undo that"))
    return Exit.DONE

"""`python -m segue.testing.provider`: a provider in a process of its own, until it is interrupted.

    python -m segue.testing.provider --model small:rpm=60,window=8000 --model large --fault large:cut=0.1 --mixed 0.2

Prints its URLs; `--json` prints them as one line of JSON. `/-/counts` and `/-/log` tell what it has seen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ...errors import UsageError
from .faults import FaultPlan, Faults, Trouble, known, mixed
from .served import Served
from .server import Provider, serve

_SETTABLE = {field.name: field.type for field in fields(Served) if field.type in ("int", "int | None", "float", "bool")}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted. 2 when the command line is wrong."""
    said = _parser().parse_args(argv)
    try:
        models = dict(map(model, said.model or ["small", "medium", "large"]))
        plan = _plan(said, models)
    except UsageError as error:
        print(f"segue.testing.provider: {error}", file=sys.stderr)
        return 2
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(models, plan, said))
    return 0


def model(text: str) -> tuple[str, Served]:
    """A model as `name:field=value,field=value`.

    Raises:
        UsageError: A field is unknown, or its value is not of its type.
    """
    name, _, rest = text.partition(":")
    given: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        field, _, value = pair.partition("=")
        if field not in _SETTABLE:
            raise UsageError(f"model {name!r} has no field {field!r}; there are: {', '.join(_SETTABLE)}")
        given[field] = _value(str(_SETTABLE[field]), field, value)
    return name, Served(**given)


def _value(kind: str, field: str, value: str) -> object:
    if kind == "bool":
        if value not in ("", "true", "false"):
            raise UsageError(f"{field} is true or false, not {value!r}")
        return value != "false"
    try:
        return float(value) if kind == "float" else int(value)
    except ValueError:
        raise UsageError(f"{field} is a number, not {value!r}") from None


def _plan(said: argparse.Namespace, models: dict[str, Served]) -> FaultPlan:
    everywhere: dict[Trouble, float] = mixed(said.mixed) if said.mixed else {}
    own: dict[str, dict[Trouble, float]] = {}
    for text in said.fault or ():
        where, _, rate = text.partition("=")
        name, _, trouble = where.rpartition(":")
        rates = own.setdefault(name, dict(everywhere)) if name else everywhere
        rates[known(trouble)] = float(_value("float", text, rate or "1"))  # pyright: ignore[reportArgumentType]  a float
    if unknown := [name for name in own if name not in models]:
        raise UsageError(f"faults are given for {', '.join(unknown)}, but there are only: {', '.join(models)}")
    return FaultPlan(
        rates=everywhere,
        models={name: Faults(rates=rates) for name, rates in own.items()},
        seed=said.seed,
        **{name: getattr(said, name) for name in ("retry_after_s", "slow_s", "gap_s", "silence_s")},
    )


async def _serve(models: dict[str, Served], plan: FaultPlan, said: argparse.Namespace) -> None:
    async with serve(models, faults=plan, host=said.host, port=said.port) as provider:
        print(_urls(provider, as_json=said.json), flush=True)
        await asyncio.get_running_loop().create_future()


def _urls(provider: Provider, *, as_json: bool) -> str:
    urls = {"openai": provider.openai_url, "anthropic": provider.url, "google": provider.url}
    if as_json:
        return json.dumps({"url": provider.url, **urls, "models": list(provider.models)})
    return "\n".join(
        [f"{name:<10} {url}" for name, url in urls.items()] + [f"{'models':<10} {', '.join(provider.models)}"]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="segue.testing.provider", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes a free one")
    add("--model", action="append", metavar="NAME[:FIELD=VALUE,...]", help=f"fields: {', '.join(_SETTABLE)}")
    add("--fault", action="append", metavar="[MODEL:]FAULT=RATE", help=f"faults: {', '.join(Trouble)}")
    add("--mixed", type=float, default=0.0, metavar="RATE", help="this share of calls fails, in mixed ways")
    add("--seed", type=int, default=0)
    add("--retry-after-s", type=float, default=FaultPlan().retry_after_s, help="what a 429 says")
    add("--slow-s", type=float, default=FaultPlan().slow_s, help="before the first token, with slow-first")
    add("--gap-s", type=float, default=FaultPlan().gap_s, help="between pieces, with trickle")
    add("--silence-s", type=float, default=FaultPlan().silence_s, help="until a silent connection is cut")
    add("--json", action="store_true", help="print the URLs as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/reference/events.md from the records: `python -m tools.events_reference`."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from segue.core.events import DELIVERED, Event
from segue.core.faults import Fault, FaultKind
from segue.core.records import RECORDS
from segue.core.records.base import Part, Slot, slots
from segue.core.records.shapes import Many, Maybe, Named, Nested, Shape

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "events.md"

HEAD = """# Events

*Generated from `segue.core.records` by `python -m tools.events_reference`; do not edit.*

A run's journal is a list of events. Each has an envelope and, by its type, a body. In Python, `record_of(event)` gives
the body as a frozen dataclass:

```python
from segue import Engine
from segue.core.records import Decision, record_of


async def choices(engine: Engine, run_id: str) -> list[object]:
    events = (await engine.get(run_id)).events(follow=False)
    return [r.chosen for r in [record_of(e) async for e in events] if isinstance(r, Decision)]
```

The rules of the format:

- A field that has a default is left out of the JSON where it has it. A default never changes.
- A field never changes its meaning. New fields have defaults; they and new words in a vocabulary raise the version.
- Whoever reads a later version passes over fields that it does not know, and takes an unknown word for `other`.
- Money is whole nano-dollars (1e-9 USD), in fields called `…_nano`. Times are seconds since the epoch, UTC; lengths of
  time are seconds, in fields called `…_s`.
- A value of type `Secret` is sealed wherever it stands: `{"$sealed": {…}}`.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, _envelope(), _index(), "## Records\n", *(_record(t) for t in RECORDS), "## Parts of records\n"]
    parts += [_part(kind) for kind in _nested()]
    parts.append(_fault())
    return "\n".join(parts)


def _envelope() -> str:
    doc = inspect.getdoc(Event) or ""
    return f"## Envelope\n\n`({', '.join(Event._fields)})`. {doc.partition(chr(10) * 2)[2].replace(chr(10), ' ')}\n"


def _index() -> str:
    rows = ["## Types\n", "| type | record | reaches the flow | says |", "| --- | --- | --- | --- |"]
    for name, kind in RECORDS.items():
        seen = "yes" if name in DELIVERED else ""
        rows.append(f"| `{name}` | [{kind.__name__}](#{_anchor(name)}) | {seen} | {_sentence(kind)} |")
    return "\n".join(rows) + "\n"


def _record(name: str) -> str:
    kind = RECORDS[name]
    return f"### `{name}`\n\n`{kind.__name__}`, version {kind.version}. {_text(kind)}\n\n{_table(kind)}"


def _part(kind: type[Part]) -> str:
    return f"### {kind.__name__}\n\n{_text(kind)}\n\n{_table(kind)}"


def _fault() -> str:
    kinds = ", ".join(f"`{k}`" for k in FaultKind)
    return f"### Fault\n\n{' '.join((inspect.getdoc(Fault) or '').split())}\n\nKinds: {kinds}.\n"


def _table(kind: type[Part]) -> str:
    if not slots(kind):
        return "No fields of its own.\n"
    docs = _field_docs(kind)
    rows = ["| field | type | default | |", "| --- | --- | --- | --- |"]
    for slot in slots(kind):
        rows.append(f"| `{slot.json}` | {_type(slot)} | {_default(slot)} | {docs.get(slot.name, '')} |")
    return "\n".join(rows) + "\n"


def _type(slot: Slot) -> str:
    if slot.shape.name.startswith("fault:"):
        return "[fault](#fault)"
    return slot.shape.name.replace("fault: `kind`", "[fault](#fault): `kind`")


def _default(slot: Slot) -> str:
    if slot.required:
        return "*required*"
    default = list(slot.default) if isinstance(slot.default, tuple) else slot.default
    return f"`{json.dumps(default)}`"


def _field_docs(kind: type[Part]) -> dict[str, str]:
    """The text under each field, by its name; a base class's fields come first."""
    docs: dict[str, str] = {}
    for base in reversed([k for k in kind.__mro__ if issubclass(k, Part)]):
        body = _body(base)
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=said)):
                    docs[name] = " ".join(str(said).split()).replace("|", "\\|")
                case _:
                    pass
    return docs


def _body(kind: type) -> list[ast.stmt]:
    top = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(top, ast.ClassDef)
    return top.body


def _nested() -> list[type[Part]]:
    """The parts that records are made of, in the order in which they are met."""
    found: dict[type[Part], None] = {}
    for kind in RECORDS.values():
        for part in _within(kind):
            found.setdefault(part)
    return list(found)


def _within(kind: type[Part]) -> Iterator[type[Part]]:
    for slot in slots(kind):
        shape: Shape = slot.shape
        while isinstance(shape, (Maybe, Many, Named)):
            shape = shape.of
        if isinstance(shape, Nested):
            yield shape.kind
            yield from _within(shape.kind)


def _text(kind: type[Part | StrEnum]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def _sentence(kind: type[Part]) -> str:
    return re.split(r"(?<=[.!?]) ", _text(kind))[0]


def _anchor(name: str) -> str:
    return name.replace(".", "")


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

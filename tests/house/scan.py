"""What a source file does, read from its text: values in, values out. The rules themselves stand in the tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "segue"

POOR_NAMES = re.compile(r"Manager|Handler|Helper|Utils?(?![a-z])")
CLOCKS_AND_DICE = {
    "date": {"today"},
    "datetime": {"now", "today", "utcnow"},
    "os": {"urandom", "getrandom"},
    "uuid": {"uuid1", "uuid4"},
}
# A class of one letter keeps each pattern from matching its own text.
MACHINE_PLACES = re.compile(
    r"(?<![\w.\-])/(?:[w]ork|[r]oot|tmp/[b]ash_jobs|opt/[p]ypi)(?![\w\-])"
    r"|files\.[p]ythonhosted\.org|[p]ypi\.org/simple|test\.[p]ypi\.org|registry\.[n]pmjs\.org"
)


def sources() -> list[Path]:
    """Every Python file of the package."""
    return sorted(SRC.rglob("*.py"))


def imported(code: str) -> set[str]:
    """The first names of all modules that `code` imports, at the top or inside of anything."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def named(code: str, library: str) -> list[str]:
    """Each name that `code` imports of a library, with its module: `library.module.name`."""
    names: list[str] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name == library or name.startswith(f"{library}.")]


def clocks_and_dice(code: str) -> list[str]:
    """Calls that ask the machine for the time or for chance, as `name:line`."""
    return [
        f"{node.value.id}.{node.attr}:{node.lineno}"
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in CLOCKS_AND_DICE.get(node.value.id, ())
    ]


def long_functions(code: str, limit: int) -> list[str]:
    """Functions of more than `limit` lines, as `name:lines`."""
    spans = (
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [f"{name}:{lines}" for name, lines in spans if lines > limit]


def bare_excepts(code: str) -> list[int]:
    """Lines with an `except:` that names nothing."""
    return [n.lineno for n in ast.walk(ast.parse(code)) if isinstance(n, ast.ExceptHandler) and n.type is None]


def poor_class_names(code: str) -> list[str]:
    """Classes named by what they are to their author, not by what they are."""
    classes = (node.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ClassDef))
    return [name for name in classes if POOR_NAMES.search(name)]


def machine_places(text: str) -> list[str]:
    """Paths of one machine and hosts of a registry, as `line: text`."""
    return [f"{n}: {line.strip()}" for n, line in enumerate(text.splitlines(), 1) if MACHINE_PLACES.search(line)]


def commands_by_hand(code: str, names: frozenset[str]) -> list[str]:
    """Commands of `segue` in texts that are shown, as `line: text`. Not in docstrings and helps, which are read as
    prose, and not where help is asked for.
    """
    tree = ast.parse(code)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    prose |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "help"}
    written = re.compile(rf"\bsegue ({'|'.join(sorted(names))})\b(?! --help)")
    return [
        f"{node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        and written.search(node.value)
    ]  # fmt: skip

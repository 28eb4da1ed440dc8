"""Each key of a TOML file is found in the line where it stands."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.models.lines import Path, last_of, line_of, lines_of

TEXT = '''# models
[models.fast]            # a comment with [brackets] and = signs
provider = "openai"
"quoted key" = """
[models.not-a-table]
price = 1
"""
price = { in = 1, out = { a = 2 } }
words = [
    "one",   # first
    "two # no comment",
    [3, 4],
]
limits.rpm = 5

[[models.fast.deployments]]
name = 'a"b'
[[models.fast.deployments]]
name = "second"
[models.fast.deployments.limits]
rpm = 7
[ "models" . 'odd name' ]
x = 1979-05-27T07:32:00Z
'''
WHERE: list[tuple[Path, int]] = [
    (("models", "fast"), 2),
    (("models", "fast", "provider"), 3),
    (("models", "fast", "quoted key"), 4),
    (("models", "fast", "price", "out", "a"), 8),
    (("models", "fast", "words", 0), 10),
    (("models", "fast", "words", 1), 11),
    (("models", "fast", "words", 2, 1), 12),
    (("models", "fast", "limits", "rpm"), 14),
    (("models", "fast", "deployments", 0, "name"), 17),
    (("models", "fast", "deployments", 1), 18),
    (("models", "fast", "deployments", 1, "limits", "rpm"), 21),
    (("models", "odd name", "x"), 23),
]


@pytest.mark.parametrize(("path", "line"), WHERE)
def test_a_path_has_the_line_where_it_begins(path: Path, line: int) -> None:
    tomllib.loads(TEXT)
    assert lines_of(TEXT)[path] == line
    assert lines_of(TEXT.replace("\n", "\r\n"))[path] == line


def test_what_has_no_line_has_that_of_what_is_in_it_or_around_it() -> None:
    lines = lines_of(TEXT)
    assert line_of(lines, ("models", "fast", "limits")) == 14
    assert line_of(lines, ("models", "fast", "window")) == 2
    assert line_of(lines, ("nothing",)) == 2 and line_of({}, ("nothing",)) == 0


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("[a]\nx = [1,\n2", ("a", "x"), 2),
        ("[a.b", ("a", "b"), 1),
        ("x =\n", ("x",), 1),
        ("", (), 0),
        ("x = 1\n=", ("x",), 1),
    ],
)
def test_the_last_key_of_a_text_that_breaks_off(text: str, path: Path, line: int) -> None:
    assert last_of(text) == (path, line)


@given(st.text(st.sampled_from("ab=[]{}.\"'#,\n\\ 1"), max_size=60))
def test_it_ends_whatever_the_text_is_and_misses_nothing_of_a_valid_one(text: str) -> None:
    lines = lines_of(text)
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    assert {path for path in paths(values) if line_of(lines, path) == 0} == set()
    named = {path for path in lines if all(isinstance(part, str) for part in path)}
    assert all(reached(values, path) for path in named)


names = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", min_codepoint=32), min_size=1, max_size=6)
values = st.recursive(
    st.integers() | st.booleans() | names | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, st.dictionaries(names, values, max_size=4), max_size=4), st.integers(0, 3))
def test_every_value_stands_in_the_line_that_is_given(tables: dict[str, Any], blank: int) -> None:
    """Written one key a line, with blank lines and comments between: then the lines are known."""
    text, known = "", dict[Path, int]()
    for name, table in tables.items():
        text += "# [no] table = 1\n" * blank + f"[{quoted(name)}]\n"
        known[(name,)] = text.count("\n")
        for key, value in table.items():
            text += f"{quoted(key)} = {written(value)}  # {{\n"
            known |= {(name, key, *rest): text.count("\n") for rest in [(), *paths(value)]}
    assert tomllib.loads(text) == tables
    assert {path: lines_of(text).get(path) for path in known} == known


def paths(value: object, at: Path = ()) -> Iterator[Path]:
    inside = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, one in inside:
        yield (*at, key)
        yield from paths(one, (*at, key))


def reached(value: Any, path: Path) -> bool:
    for part in path:
        if isinstance(value, list):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)} = {written(v)}" for k, v in value.items()) + "}"
    return repr(value)

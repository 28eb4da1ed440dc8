"""Deep JSON and YAML name the path and the method of a piece; rows with line breaks in their cells stay whole."""

from __future__ import annotations

import csv
import json
from io import StringIO

import pytest

from segue.context.recall.above import ABOVE, above
from segue.context.recall.pieces import WHOLE, pieces

METHODS, PATHS = ("get", "put", "delete"), ("/orders/{id}", "/users/{id}", "/invoices/{id}/lines/{line}")
FILL = "Visitors are met at the door and are given a badge. The kitchen is on the first floor; leave it as it was. " * 4


def shown(text: str) -> list[tuple[str, str]]:
    """The pieces after the first one, with what stands above each."""
    parts = pieces(text)
    found = above(text, parts)
    assert len(parts) > 2 and all(len(one) <= ABOVE for one in found)
    return [*zip(found, parts, strict=True)][1:]


def over(text: str, says: str) -> str:
    return next(one for one, part in shown(text) if says in part)


def answer(path: str, method: str, code: int) -> dict[str, object]:
    fields = {f"{method}_{path.split('/')[1]}_{code}_{n}": {"type": "string"} for n in range(6)}
    said = {"type": "object", "additionalProperties": {"properties": fields}}
    return {"description": "Said", "content": {"application/json": {"schema": said}}}


API = {
    path: {method: {"responses": {str(code): answer(path, method, code) for code in (200, 404)}} for method in METHODS}
    for path in PATHS
}


def yaml(text: str) -> str:
    """JSON as YAML says it."""
    lines = (line.rstrip(",{ ").replace('"', "") for line in text.split("\n"))
    return "\n".join(line.removeprefix("  ") for line in lines if line.strip(" }"))


API_JSON = json.dumps({"paths": API}, indent=2)


@pytest.mark.parametrize("text", [API_JSON, yaml(API_JSON)])
@pytest.mark.parametrize("title", ["", "# The interface of the shop, in the version of 2026\n\n```\n"])
def test_a_piece_of_an_openapi_document_names_its_path_and_method(text: str, title: str) -> None:
    found = shown(f"{title}{text}")
    for path in PATHS:
        for method in METHODS:
            key = f"{method}_{path.split('/')[1]}_404_5"
            said, part = next(one for one in found if key in one[1])
            assert path in said or path in part[: part.index(key)]
            assert method in said.split(path)[-1] or f"{method}" in part[: part.index(key)].split("404_0")[0]


def test_keys_that_stand_in_many_places_are_left_out_first_and_then_the_outer_ones() -> None:
    deep, inside = "", 0
    for name in ("first", "second"):
        for key in (f"{name} of all the things there are", "spec", f"{name}-in-the-middle-of-all-of-them-{'x' * 40}"):
            deep += f"{' ' * inside}{key}:\n"
            inside += 2
        deep += f"{' ' * inside}spec:\n{' ' * (inside + 2)}last-{name}:\n"
        inside += 4
    found = over(deep + "\n".join(f"{' ' * inside}key{n}: {n}" for n in range(200)), "key150")
    assert "spec" not in found and found.endswith("last-second: …") and "last-first: > second of all" in found


def test_what_fits_stands_as_it_stands_in_the_text() -> None:
    text = "jobs:\n  mail:\n" + "\n".join(f"    key{n}: {n}" for n in range(300))
    assert over(text, "key200") == "jobs: …\n  mail: …"
    assert over(f"# {'Of the mail ' * 30}\n\n{FILL}\n\n```\n{text}", "key200").endswith("…\njobs: …\n  mail: …")


def table(cell: str, quoting: int = csv.QUOTE_MINIMAL, by: str = ",", end: str = "\n") -> str:
    made = StringIO()
    write = csv.writer(made, quoting=quoting, delimiter=by, lineterminator=end)  # pyright: ignore[reportArgumentType]
    write.writerows([("id", "title", "text"), *((n, f"Printer {n}", cell.format(n=n)) for n in range(60))])
    return made.getvalue()


@pytest.mark.parametrize(
    "cell",
    [
        "Hello, printer {n} is broken.\nIt says PAPER JAM, but there is none.\nThanks, Ann",
        'Hello.\n\nPrinter {n} is broken:\n\n- paper, ink\n- 5" of cable\n\n# Now\n\nThanks',
        'It "jams",\nsays {n}\n',
    ],
)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("by", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_with_line_breaks_in_its_cells_is_whole_and_stands_under_its_names(
    cell: str, quoting: int, by: str, end: str
) -> None:
    text = table(cell, quoting, by, end)
    names = text.partition(end)[0]
    rows = list[list[str]]()
    for said, part in shown(text):
        assert said == names
        rows += csv.reader(StringIO(part, newline=""), delimiter=by)
    assert all(len(row) == 3 for row in rows) and rows[-1][1] == "Printer 59"
    assert over(f"# Tickets\n\n{text}\n\n# Rome\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}", "Key.") == "Rome"


@pytest.mark.parametrize("by", [",", ";", "\t"])
@pytest.mark.parametrize("cell", ["{n}", "Call {n}\nagain", "Call {n},\n\nagain"])
@pytest.mark.parametrize("title", ["", "# Depots\n\n", "Depots of the north:\n"])
def test_the_names_of_columns_may_have_line_breaks(by: str, cell: str, title: str) -> None:
    made = StringIO()
    names = ("depot", "planned\n(EUR)", "actual\n(EUR)", "note\nof whom")
    rows = [(f"Depot {n}", n * 7, n * 11, cell.format(n=n)) for n in range(60)]
    csv.writer(made, delimiter=by, lineterminator="\n").writerows([names, *rows])
    found = list[list[str]]()
    for said, part in shown(title + made.getvalue()):
        assert said.endswith(by.join(("depot", '"planned (EUR)"', '"actual (EUR)"', '"note of whom"')))
        found += csv.reader(StringIO(part, newline=""), delimiter=by)
    assert [row[0] for row in found] == [row[0] for row in rows[-len(found) :]]


def test_inch_marks_that_are_not_closed_join_no_rows() -> None:
    text = "pipe,planned,actual\n" + "\n".join(f'Pipe {n} {n % 9}" wide,{n},{n * 3}' for n in range(90))
    assert {said for said, _ in shown(text)} == {"pipe,planned,actual"}


def test_a_row_that_is_longer_than_a_piece_is_cut_within_and_stands_under_its_names() -> None:
    text = table(f"{FILL}\n\n{FILL}\n{FILL} {{n}}")
    assert {said for said, _ in shown(text)} == {"id,title,text"}
    assert all(len(part) <= WHOLE for part in pieces(text))


@pytest.mark.parametrize("quote", ['Pipe of 5", {n}', 'He said, "no', 'x = f(a, """doc'])
def test_a_quote_that_is_never_closed_joins_nothing(quote: str) -> None:
    text = "\n\n".join(f"{quote.format(n=n)}\n\n{FILL}" for n in range(9))
    assert "".join("".join(pieces(text)).split()) == "".join(text.split())
    assert len(pieces(text)) >= 4


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("# exported 2026-03-03\n# by Ann\nid,name,price\n", "id,name,price"),
        ("# exported by Ann\nid,name,price\n", "id,name,price"),
        ("# Prices\nid,name,price\n", "Prices\nid,name,price"),
        ("# Prices\n\n# exported by Ann\nid,name,price\n", "Prices\nid,name,price"),
    ],
)
def test_a_comment_above_a_csv_is_no_heading(text: str, stands: str) -> None:
    assert over(text + "\n".join(f"{n},N{n},{n}.5" for n in range(120)), "N100,") == stands


def test_rows_that_sql_inserts_stand_under_the_names_of_their_columns() -> None:
    rows = {name: ",\n".join(f"({n}, '{name}{n}', {n}.5)" for n in range(90)) for name in ("lamps", "chairs")}
    text = "\n\n".join(f"INSERT INTO {name} (id, name, price) VALUES\n{some};" for name, some in rows.items())
    assert over(text, "lamps80") == "INSERT INTO lamps (id, name, price) VALUES"
    assert over(text, "chairs80") == "INSERT INTO chairs (id, name, price) VALUES"
    assert over(f"{text}\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}", "Key.") == ""


def test_the_heading_of_a_clause_may_stand_right_above_it() -> None:
    text = "AGREEMENT\n\n" + "\n".join(
        f"{n}. {name}\n{n}.1 {FILL}\n{n}.2 {FILL}\n{n}.3 Key {n}. {FILL}"
        for n, name in enumerate(("DEFINITIONS", "FEES AND PAYMENT", "Liability"), 1)
    )
    assert over(text, "Key 2.") == "AGREEMENT > 2. FEES AND PAYMENT"
    assert over(text, "Key 3.") == "AGREEMENT > 3. Liability"


def test_the_heading_of_a_table_with_long_names_has_room() -> None:
    names = " | ".join(f"a long name of column {n}" for n in range(9))
    rows = "\n".join(f"| {n} | {' | '.join('b' * 8)} |" for n in range(90))
    found = over(f"# Prices of the shop\n\n| {names} |\n|{'---|' * 9}\n{rows}", "| 50 |")
    assert found.startswith("Prices of the shop\n| a long name of column 0 |")

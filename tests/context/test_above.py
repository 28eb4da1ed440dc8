"""A piece of a long document knows what it stands under, is found by it, and is shown with it."""

from __future__ import annotations

import pytest

from segue.context import Memory, Scope, ScopeKind, estimate
from segue.context.form import form
from segue.context.recall.above import ABOVE, above
from segue.context.recall.passages import Passage, Passages
from segue.context.recall.pieces import pieces
from segue.context.recall.ranking import ranked

OPS = Scope(ScopeKind.TEAM, "ops")
TOKENS = estimate()
CITIES = ("Berlin", "Paris", "Madrid", "Vienna", "Oslo", "Rome", "Lisbon", "Prague")
FILL = "Visitors are met at the door and are given a badge. The kitchen is on the first floor; leave it as it was. " * 3
BOOK = "# Handbook\n\n" + "\n\n".join(
    f"## Office {city}\n\n{FILL}\n\n{FILL}\n\n### Opening hours\n\nMonday to Friday from {7 + n} to {15 + n}. {FILL}"
    for n, city in enumerate(CITIES)
)
PRICES = "| article | list price | our price |\n|---------|---|---|\n" + "\n".join(
    f"| A-{n:03d} | {n * 3}.00 | {n * 2}.50 |" for n in range(200)
)
ORDERS = "id,ordered,shipped,returned\n" + "\n".join(f"R{n:04d},{n * 7 % 90},{n * 5 % 80},{n % 4}" for n in range(400))
BODY = "\n".join(f"        total += order.get('field {n}', {n})" for n in range(90))
HEAD = "    # all sums\n    def count(\n        self, order: Order\n    ) -> int:"
CODE = f"import os\n\n\nclass Till(Base):\n{HEAD}\n{BODY}\n"


def over(text: str) -> list[str]:
    found = above(text, pieces(text))
    assert len(found) > 2 and found[0] == "" and all(len(one) <= ABOVE for one in found)
    return found[1:]


def shown(memory: Memory, request: str, room: int = 1_000) -> str:
    parts = memory.recall(request, [OPS], room, TOKENS)
    assert sum(TOKENS(form(part)) for part in parts) <= room
    return "\n".join(part.text for part in parts)


def remembering(text: str) -> Memory:
    memory = Memory()
    assert memory.remember(text, OPS, source="document") is not None
    return memory


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        (PRICES, "| article | list price | our price |\n|---|---|---|"),
        (ORDERS, "id,ordered,shipped,returned"),
        (f"# Data\n\n```csv\n{ORDERS}\n```", "Data\nid,ordered,shipped,returned"),
        (" id | name\n----+------\n" + "\n".join(f" {n} | Bob {n}" for n in range(300)), "id | name\n---+---"),
        (CODE, "class Till(Base): …\n    def count( …"),
        ("jobs:\n  mail:\n" + "\n".join(f"    key{n}: {n}" for n in range(300)), "jobs: …\n  mail: …"),
        (f"Book\n====\n\nRome\n----\n\n{FILL * 9}", "Book > Rome"),
        (f"4.2 Opening hours\n\n{FILL * 9}", "4.2 Opening hours"),
        ("\n".join(f"2026-11-27,INFO,took {n} ms" for n in range(300)), ""),
        ("\n".join(f"Roses are red, violets are blue {n}" for n in range(200)), ""),
        ("\n".join(f"# Comment {n}.\nkey{n} = {n}\n" for n in range(200)), ""),
        (f"```sh\n# no heading\n```\n\n{FILL * 9}", ""),
    ],
)
def test_a_piece_stands_under_what_encloses_it(text: str, stands: str) -> None:
    assert {*over(text)} == {stands}


def test_a_piece_that_begins_with_a_heading_stands_under_the_outer_ones_only() -> None:
    text = pieces(BOOK)
    for piece, found in zip(text, above(BOOK, text), strict=True):
        if piece.startswith("### "):
            assert found.startswith("Handbook > Office ")
        elif piece.startswith("## "):
            assert found == "Handbook"
    deep = "".join(f"{'#' * n} Heading {n} {'of many words ' * 4}\n\n" for n in range(1, 7))
    assert "Heading 6" in over(f"{deep}{FILL * 9}")[-1], "the nearest of too many"


def test_the_office_of_opening_hours_is_found_and_named() -> None:
    with remembering(BOOK) as memory:
        for n, city in enumerate(CITIES):
            said = shown(memory, f"What are the opening hours of the office in {city}?", 500)
            piece = next(one for one in said.split("\n(") if f"from {7 + n} to" in one)
            assert f"Handbook > Office {city}\n" in piece


@pytest.mark.parametrize(
    ("table", "asks", "row"),
    [
        (PRICES, "What is our price of A-{:03d}?", "\n| A-{:03d} |"),
        (ORDERS, "How many of R{:04d} were returned?", "\nR{:04d},"),
    ],
)
def test_the_row_that_is_asked_for_is_among_what_is_recalled(table: str, asks: str, row: str) -> None:
    with remembering(table) as memory:
        said = [(n, shown(memory, asks.format(n))) for n in range(2, 200, 5)]
        assert sum(row.format(n) in text for n, text in said) == len(said)
        assert all(text.count("(") >= 3 for _, text in said), "three pieces at least"
        header = table.partition("\n")[0]
        assert all(header in piece for _, text in said for piece in text.split("\n(")[1:])


def test_the_line_of_a_function_is_found_by_its_name() -> None:
    names = ("tax", "discount", "bonus")
    body = "\n".join(
        f"    x{n} = order.get('field_{n}', {n})\n    if x{n} > {n}:\n        x{n} -= 1" for n in range(25)
    )
    with remembering(
        "\n".join(f"def compute_{name}(order):\n{body}\n    return '{name}'\n" for name in names)
    ) as memory:
        assert "def compute_bonus(order): …" in shown(memory, "What is field_20 in compute_bonus?")


def test_what_asks_for_a_number_is_not_looked_for() -> None:
    texts = ["Madrid has 16 places.", "Many places have many rooms and many doors.", *["Madrid sells cars."] * 20]
    found = Passages([Passage(id=f"p{n}", text=text, place=f"{n} of 22") for n, text in enumerate(texts)])
    assert int(ranked("How many places are there in Madrid?", found).argmax()) == 0


def test_of_a_corrected_document_the_piece_under_the_same_heading_is_shown() -> None:
    same = f"Open from 9 to 17. {FILL}"
    book = "# Book\n\n" + "\n\n".join(f"## Office {city}\n\n{FILL}\n\n{FILL}\n\n### Hours\n\n{same}" for city in CITIES)
    with Memory() as memory:
        note = memory.remember(book, OPS)
        assert note is not None
        texts = pieces(book)
        found = next(n for n, one in enumerate(above(book, texts), 1) if "Office Rome" in one)
        memory.edit(note, book.replace("# Book", f"# Book\n\n## Office Bern\n\n{FILL}\n\n{FILL}"))
        part = memory.part([note], None, [found])
        assert part is not None and "Book > Office Rome\n### Hours" in part.text


def test_a_piece_whose_number_is_no_more_is_the_last_one() -> None:
    with remembering(BOOK) as memory:
        part = memory.part([1], None, [999])
        assert part is not None and f"note-1.{len(pieces(BOOK))}" in (part.source or "")


def test_a_very_long_line_is_cut_in_no_time() -> None:
    assert len(pieces("x," * 400_000)) > 800

"""What stands above a piece of an everyday document is what it stands under; where that is uncertain, nothing does."""

from __future__ import annotations

import re
from time import process_time

import pytest

from segue.context.recall.above import ABOVE, above
from segue.context.recall.pieces import pieces

FILL = "Visitors are met at the door and are given a badge. The kitchen is on the first floor; leave it as it was. " * 4
LONG = f"{FILL}\n\n{FILL}"
CHINESE = "开放时间为周一至周五，访客须在前台登记并佩戴证件。" * 15
CITIES = ("Rome", "Oslo", "Paris")


def over(text: str, says: str) -> str:
    """What stands above the first piece that says something."""
    parts = pieces(text)
    found = above(text, parts)
    assert len(parts) > 1 and all(len(one) <= ABOVE for one in found)
    return next(one for part, one in zip(parts, found, strict=True) if says in part)


def offices(head: str, sub: str, joint: str = "\n\n") -> str:
    return joint.join(
        joint.join((head.format(n=n, city=city), FILL, sub.format(n=n), FILL, FILL, f"Key {n}. {FILL}"))
        for n, city in enumerate(CITIES, 1)
    )


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        (offices("{n}. Office {city}", "{n}.1. Parking"), "2. Office Oslo > 2.1. Parking"),
        (offices("{n} Office {city}", "{n}.1 Parking"), "2 Office Oslo > 2.1 Parking"),
        (offices("Office {city}", "Parking"), "Office Oslo > Parking"),
        (offices("Office {city}", "Parking", "\r\n\r\n"), "Office Oslo > Parking"),
        (offices("**Office {city}**", "**Parking**"), "Office Oslo > Parking"),
        (offices("OFFICE {n}", "Parking"), "OFFICE 2 > Parking"),
        (offices("## Office {city}.", "### Parking"), "Office Oslo. > Parking"),
        (f"# Board\n\n{offices('**{n}. Office {city}**', 'Ann: yes.')}", "Board > 2. Office Oslo"),
        (f"Minutes\n\n{offices('Topic {n}: Office {city}', 'Ann: yes.')}", "Minutes > Topic 2: Office Oslo"),
        (f"Handbook\n\nFor all.\n\n{offices('Office {city}', 'Parking')}", "Office Oslo > Parking"),
    ],
)
def test_headings_are_closed_by_those_of_their_level(text: str, nearest: str) -> None:
    assert over(text, "Key 2.") == nearest
    for piece, found in zip(pieces(text), above(text, pieces(text)), strict=True):
        if "Office" in piece.partition("\n")[0]:
            assert "Office" not in found, "the office before it"


@pytest.mark.parametrize(
    "short",
    ["停车位共有5个。", "2026", "1,250 EUR", "Thank you", "1. Open the box\n\n2. Plug it in", "Dear Ms. Dahl:", "NB"],
)
def test_a_short_paragraph_is_no_heading(short: str) -> None:
    assert over(f"{short}\n\n{LONG}\n\nKey. {FILL}", "Key.") == ""
    assert over(f"# Rome\n\n{short}\n\n{LONG}\n\nKey. {FILL}", "Key.") == "Rome"


def test_a_line_with_a_colon_heads_what_comes_next_only() -> None:
    items = "\n".join(f"- Ann {n} Berg of the second floor" for n in range(60))
    text = f"# Rome\n\nMembers:\n\n{items}\n\n{LONG}\n\nKey. {FILL}"
    assert over(text, "Ann 50") == "Rome > Members"
    assert over(text, "Key.") == "Rome"


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        (f"1. Budget\n\n{LONG}\n\n2. Hiring\n\n3. Office\n\n{LONG}\n\nKey. {FILL}", ""),  # 2 has nothing below it
        (f"1. Budget\n\n{LONG}\n\nAppendix\n\n{LONG}\n\nKey. {FILL}", "Appendix"),
        (f"Rome\n\n{FILL}\n\nCellar\n\n{FILL}\n\nHours\n\n{FILL}\n\nOslo\n\n{FILL}\n\nHours\n\nKey. {LONG}", ""),
        (f"Rome\n\n{LONG}\n\nRegards,\n\nAnn Berg\n\n{LONG}\n\nKey. {FILL}", ""),
        (f"Rome\n\n{LONG}\n\nOslo\n\n{LONG}\n\nFrom: bob@example.org\nSubject: Car\n\n{LONG}\n\nKey. {FILL}", ""),
        (f"Rome\n\n{LONG}\n\nOslo\n\n{LONG}\n\n---\n\n{LONG}\n\nKey. {FILL}", ""),
    ],
)
def test_where_it_is_uncertain_nothing_stands_above(text: str, stands: str) -> None:
    assert over(text, "Key.") == stands


def keys(name: str, n: int = 60) -> str:
    return "\n".join(f"{name}{at}={at}" for at in range(n))


YAML = "services:\n" + "\n".join(
    f"  {name}:\n# restart: always\n    env:\n" + "\n".join(f"      {name.upper()}{n}: {n}" for n in range(60))
    for name in ("search", "mail")
)
LISTS = "\n".join(
    f"{kind}:\n" + "\n".join(f"- {kind}{n}@example.org" for n in range(70)) for kind in ("staff", "guest")
)
PODS = "spec:\n  pods:\n" + "\n".join(
    f"  - name: {name}\n    env:\n" + "\n".join(f"    - {name}{n}: {n}" for n in range(80)) for name in ("web", "db")
)
BRACES = (
    "class Till\n{\n    int Count(Order order)\n    {\n" + "\n".join(f"        x{n}();" for n in range(99)) + "\n    }"
)
COMMENTS = "\n\n".join(f"# part {n}\ndef f{n}(x):\n" + "\n".join(f"    y{k} = {n}" for k in range(60)) for n in (1, 2))


@pytest.mark.parametrize(
    ("text", "says", "stands"),
    [
        (f"# keys\n{keys('A')}\n\n# DEBUG=true\n{keys('B', 90)}", "B80=", ""),
        (YAML, "MAIL50:", "services: …\n  mail: …\n    env: …"),
        (LISTS, "guest60@", "guest: …"),
        (PODS, "db35", "spec: …\n  pods: …\n  - name: db …\n    env: …"),
        (BRACES, "x90()", "class Till …\n    int Count(Order order) …"),
        (COMMENTS, "def f2", ""),
        (f"[server]\n{keys('a', 90)}\n\n; other\n[client]\n{keys('b', 90)}", "b80=", "[client] …"),
        (f"[server]\n{keys('a', 9)}\n\nThen go on. {LONG}\n\nKey. {FILL}", "Key.", ""),
    ],
)
def test_of_configuration_and_code_what_encloses_it(text: str, says: str, stands: str) -> None:
    assert over(text, says) == stands
    assert over(text.replace("\n", "\r\n"), says) == stands


@pytest.mark.parametrize(
    "item", ["- **{}**", "* **{}**:", "+ **{}**", "- __{}__", "* ***{}***", "- {}", "1. **{}**", "1) {}"]
)
@pytest.mark.parametrize("inside", ["   ", "    ", "\t"])
@pytest.mark.parametrize("joint", ["\n", "\n\n"])
@pytest.mark.parametrize("code", ["", "```sh\n{}# all\n{}run\n{}```\n\n{}", "    run\n\n{}"])
def test_an_item_stands_above_what_is_in_it(item: str, inside: str, joint: str, code: str) -> None:
    code = code.replace("{}", inside)
    text = "# Ops\n\n" + "\n\n".join(
        f"{item.format(name)}{joint}{inside}{FILL}\n\n{inside}{code}{FILL}\n\n{inside}{FILL}\n\n{inside}Key {name}."
        for name in ("Backup", "Restore", "Rotate")
    )
    assert over(text, "Key Restore.") == f"Ops\n{item.format('Restore')} …"
    assert over(f"{text}\n\n{LONG}\n\nLast. {FILL}", "Last.") == "Ops"
    inner = (
        f"- Ops\n{inside}" + item.format("Restore") + f"\n\n{inside}{inside}{FILL}" * 4 + f"\n\n{inside}{inside}Key."
    )
    assert over(inner, "Key.") == f"- Ops …\n{' ' * len(inside)}{item.format('Restore')} …"


@pytest.mark.parametrize("title", ["", "# Customers\n\n", "# Customers\n", "Our customers, as of May:\n\n"])
@pytest.mark.parametrize("joint", ["\n", "\n\n"])
@pytest.mark.parametrize("item", ["- **{} Ltd**", "* __{} Ltd__", "- **{} Ltd**:", "- {} Ltd"])
def test_an_item_in_bold_letters_stands_above_the_items_within_it(title: str, joint: str, item: str) -> None:
    text = title + joint.join(
        joint.join((item.format(name), *(f"  - Order {n}\n    - {name} {n}: {FILL[:200]}" for n in range(9))))
        for name in ("Alder", "Birch", "Cedar")
    )
    for name in ("Alder", "Birch", "Cedar"):
        assert f"{item.format(name)} …" in over(text, f"{name} 8").split("\n")


def test_an_item_in_bold_letters_with_a_text_below_it_stands_under_no_other_place() -> None:
    assert over(f"Rome\n\n{LONG}\n\nOslo\n\n{LONG}\n\n- **Paris**\n\n{LONG}\n\nKey. {FILL}", "Key.") == ""


def titled(*titles: str) -> str:
    """Titles, each with a sign before it, underlined with these, and what stands below each."""
    return "\n\n".join(f"{one[1:]}\n{one[0] * len(one[1:])}\n\n{LONG}\n\nKey {one[1:]}. {FILL}" for one in titles)


@pytest.mark.parametrize("sign", "*^#\"'+~.:_`")
def test_a_title_with_any_line_of_signs_below_it_closes_those_before(sign: str) -> None:
    text = titled(f"{sign}Offices", "=Rome", "=Oslo", f"{sign}Holidays")
    assert over(text, "Key Oslo.").endswith("Oslo") and over(text, "Key Holidays.") == "Holidays"
    assert over(text.replace("\n", "\r\n"), "Key Holidays.") == "Holidays"
    if sign not in ".:_`":
        short = text.replace(sign * 8, sign * 7)
        assert over(short, "Key Holidays.") == "Holidays"


@pytest.mark.parametrize(
    ("titles", "stands"),
    [
        (("*Guide", "=Rome", "-Parking", "=Oslo", "-Hours", "^Key"), "Guide > Oslo > Hours > Key"),
        (("=Guide", "-Rome", "~Parking", "-Oslo", "~Key"), "Guide > Oslo > Key"),
        (("=Guide", "-Rome", "~Parking", "-Key"), "Guide > Key"),
        (("=Guide", "-Rome", "`Parking", ".Hours", "`Key"), "Guide > Rome > Key"),
        (("=Rome", "=Oslo", "*Key"), "Key"),  # it may be of an outer level
        (("=Guide", "-Rome", "=Others", "~Key"), "Key"),
        (("-Rome", "=Guide", "-Key"), "Guide > Key"),  # of Markdown's signs it is known which is the outer one
    ],
)
def test_lines_of_signs_have_the_level_in_which_they_come_first(titles: tuple[str, ...], stands: str) -> None:
    assert over(titled(*titles), "Key Key.") == stands


@pytest.mark.parametrize("inside", ["", " "])
def test_a_line_of_signs_above_a_title_as_well_makes_it_one_of_another_level(inside: str) -> None:
    def both(sign: str, title: str) -> str:
        return f"{sign * 9}\n{inside}{title}\n{sign * 9}\n\n{LONG}\n\nKey {title}. {FILL}"

    parts = (both("#", "Guide"), both("*", "Rome"), titled("=Parking", "-Hours"), both("*", "Oslo"), titled("=Doors"))
    text = "\n\n".join(parts)
    assert over(text, "Key Hours.") == "Guide > Rome > Parking > Hours"
    assert over(text, "Key Oslo.") == "Guide > Oslo" and over(text, "Key Doors.") == "Guide > Oslo > Doors"
    assert over("\n\n".join((both("=", "Guide"), titled("=Rome", "-Parking", "=Oslo"))), "Key Oslo.") == "Guide > Oslo"
    for piece, found in zip(pieces(text), above(text, pieces(text)), strict=True):
        if piece.startswith("*"):
            assert found == "Guide", "not what is before it"


@pytest.mark.parametrize(
    "line",
    [
        "As said above in Oslo\n***",
        "Oslo\n...",
        "Wait\n...",
        "Oslo\n....................",
        "Oslo\n____________________",
        "Oslo\n```\nx\n```",
        "Run\n```\nx\n\nrun\n```",
        "```sh\nx\n\nrun\n```",
        "````sh\nx\n\nrun\n````",
        "~~~sh\nx\n\nrun\n~~~",
        "~~~~\nOslo\n~~~~",
        "::: {.note}\n\nOslo\n:::",
        "------\nTea  4\nBun  2\n------\nAll  6\n------",
        "Done.\n*****",
        "Oslo\n~~~\nx\n~~~",
        "Run\n~~~~\nsudo x\n~~~~",
        "+---+---+\n| a | b |\n+---+---+",
        "```\nOslo\n****\n```",
        "    Oslo\n    ****",
    ],
)
def test_rules_fences_tables_and_code_are_no_titles(line: str) -> None:
    assert over(f"Rome\n====\n\n{FILL}\n\n{line}\n\n{LONG}\n\nKey. {FILL}", "Key.") == "Rome"
    assert over(f"# Rome\n\n{FILL}\n\nOslo\n****\n\n{LONG}\n\nKey. {FILL}", "Key.") == "Rome"


@pytest.mark.parametrize("late", ["==", "--", "**"])
def test_a_line_between_two_late_in_a_text_takes_no_title_from_the_others(late: str) -> None:
    box = f"{late[0] * 9}\nChangelog\n{late[0] * 9}\n\n{LONG}\n\nKey Changelog. {FILL}"
    text = "\n\n".join((titled("=Guide", "-Rome", "-Oslo"), box, titled("=Others", "-Paris")))
    assert over(text, "Key Oslo.") == "Guide > Oslo" and over(text, "Key Paris.") == "Others > Paris"
    assert over(text, "Key Changelog.") == "", "a title, or a notice: it ends those before it"
    text = "\n\n".join((titled("=Guide", "-Rome"), box, titled("-Oslo")))
    assert over(text, "Key Oslo.") == "Guide > Oslo" and over(text, "Key Changelog.") == "Guide"


def test_a_sign_of_which_the_level_is_unknown_leaves_the_others_theirs() -> None:
    text = titled("=Guide", "-Rome", "=Others", "~Bonn", "-Oslo", "=Last", "-Paris")
    assert over(text, "Key Rome.") == "Guide > Rome" and over(text, "Key Paris.") == "Last > Paris"
    assert over(text, "Key Bonn.") == "Bonn" and over(text, "Key Oslo.") == "Oslo", "it may be in Bonn or not"


@pytest.mark.parametrize(
    "notice",
    [
        "Ann Lee, ann@example.com",
        "Do not copy this.",
        "N is a count. It can be given before",
        "As follows:",
        "Hello!",
        "Draft - do not circulate",
    ],
)
@pytest.mark.parametrize("sign", "-=*")
def test_a_notice_between_two_lines_heads_nothing(notice: str, sign: str) -> None:
    rules = f"{sign * 30}\n{notice}\n{sign * 30}\n\n{LONG}\n\nKey. {FILL}"
    assert over(f"Report\n\n{FILL}\n\n{rules}", "Key.") == ""
    assert over(f"{titled('=Guide', '-Rome')}\n\n{rules}\n\n{titled('-Oslo')}", "Key Oslo.") == "Guide > Oslo"
    assert notice not in over(f"{titled('=Guide', '-Rome')}\n\n{rules}\n\n{titled('-Oslo')}", "Key.")
    plain = "\n\n".join((f"1. Rome\n\n{LONG}", rules, f"2. Oslo\n\n{LONG}\n\nKey Oslo. {FILL}"))
    assert over(plain, "Key Oslo.") == "2. Oslo"


@pytest.mark.parametrize(
    ("before", "titles", "stands"),
    [
        ("", ("Handbook",), "Handbook > Oslo"),
        ("Name: x\nVersion: 1\n\n", ("Handbook",), "Handbook > Oslo"),
        (f"Tickets\n\n{FILL}\n\n", ("Ticket 1", "Ticket 2"), "Ticket 2"),
        (f"Cities\n\n{FILL}\n\n", ("Rome", "Bonn", "Paris"), "Paris"),
    ],
)
def test_a_line_between_two_is_a_title_where_it_comes_first_or_is_one_of_some(
    before: str, titles: tuple[str, ...], stands: str
) -> None:
    boxes = "\n\n".join(f"{'=' * 30}\n{one}\n{'=' * 30}\n\n{LONG}" for one in titles)
    plain = f"Rome\n\n{LONG}\n\nOslo\n\n{LONG}\n\n" if len(titles) == 1 else ""
    assert over(f"{before}{boxes}\n\n{plain}Key. {FILL}", "Key.") == stands


def test_lines_to_be_filled_in_are_no_titles() -> None:
    form = f"FORM\n\nName\n....\n\nStreet\n______\n\nNotes\n\n{LONG}\n\nKey. {FILL}"
    assert over(form, "Key.") == "Notes"


@pytest.mark.parametrize("item", ["- Backup", "* **Backup**", "1. Backup"])
def test_rows_of_a_table_in_an_item_stand_under_the_item(item: str) -> None:
    table = "   | name | city |\n   |---|---|\n" + rows("   | Ann {n} Berg of the second floor | Rome {n} |")
    assert over(f"# Ops\n\n{item}\n\n   {FILL}\n\n{table}", "Ann 80") == f"Ops\n{item} …\n| name | city |\n|---|---|"
    long = item + " that is kept and looked at each week" * 9
    found = over(f"# Ops\n\n{long}\n\n{table}", "Ann 80")
    assert found.startswith(f"Ops\n{item}") and found.endswith("…\n| name | city |\n|---|---|")


@pytest.mark.parametrize("code", ["import os", "Run this::\n\n    def f(x):\n        return 1", "#include <a.h>"])
def test_a_line_of_code_takes_no_heading_from_a_text(code: str) -> None:
    assert over(f"# Handbook\n\n## Rome\n\n{code}\n\n{LONG}\n\nKey. {FILL}", "Key.") == "Handbook > Rome"


def rows(form: str, n: int = 90) -> str:
    return "\n".join(form.format(n=at, thrice=at * 3, kind="ab"[at % 2]) for at in range(n))


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("country,2021,2022\n" + rows("C{n},{thrice},{n}"), "country,2021,2022"),
        ("name,role,city\n" + rows("Ann{n} Berg,nurse {kind},Rome"), "name,role,city"),
        ('"id","ordered"\n' + rows('"{n}","{thrice}"'), '"id","ordered"'),
        ('"name","amount, EUR"\n' + rows('"Berg, Ann{n}","{n},50"'), '"name","amount, EUR"'),
        ("Here it is:\nregion,north\n" + rows("R{n},{thrice}"), "region,north"),
        ("# Sales\nregion,north\n" + rows("R{n},{thrice}"), "Sales\nregion,north"),
        ("region,north\r\n" + rows("R{n},{thrice}").replace("\n", "\r\n"), "region,north"),
        (rows("Ann{n} Berg,nurse {kind},Rome"), ""),
        (rows("Ann{n},2021,{thrice}"), ""),
        (rows("In May{n}, we met {kind} and went on"), ""),
    ],
)
def test_names_of_columns_stand_above_the_rows(text: str, stands: str) -> None:
    assert over(text, pieces(text)[1]) == stands


@pytest.mark.proof
@pytest.mark.parametrize("size", [200_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_megabyte_takes_no_time(size: int) -> None:
    for text in (
        offices("{n}. Office {city}", "Parking") * 300,
        "a,b\n" + "x,1\n" * 250_000,
        "- **Rome**\n\n" * 90_000,
        "# a\n\nb=1\n" * 90_000,
        "Rome\n\n1) Who pays?\nAnn.\n\n2) Who asks?\nBob.\n\n" * 20_000,
        "----\nRome\n----\n\nOslo\n====\n\nBonn\n~~~~\n\n" * 25_000,
    ):
        parts, began = pieces(text[:size]), process_time()
        above(text[:size], parts)
        assert process_time() - began < size / 100_000, "about a second for a megabyte"


@pytest.mark.parametrize("over", ["", "HANDBOOK\n========\n\n"])
@pytest.mark.parametrize(
    ("titles", "before", "rule"),
    [
        (["Rome", "Oslo", "Bern"], "", "-" * 30),
        (["Rome", "Oslo, with the warehouse beside the river", "Bern"], "\n", "-" * 30),
        (["Rome", "Before you begin!", "Bern"], "\n", "-" * 30),
        (["Rome", "See https://acme.example", "Bern"], "\n", "*" * 30),
        (["Rome", "Oslo\nand the harbour", "Bern"], "\n", "=" * 30),
    ],
)
def test_where_one_pair_of_rules_holds_no_title_none_takes_what_comes_later(
    titles: list[str], before: str, rule: str, over: str
) -> None:
    about = "Visitors are met at the door and are given a badge, and leave it at the desk when they go. " * 6
    text = over + "".join(
        f"{before if n else ''}{rule}\n{title}\n{rule}\n\n({n}) {about}\n\n({n}) {about}\n"
        for n, title in enumerate(titles)
    )
    for piece, under in zip(pieces(text), above(text, pieces(text)), strict=True):
        found = re.findall(r"\((\d)\)", piece)
        if len({*found}) == 1:
            assert not [title for n, title in enumerate(titles) if n != int(found[0]) and title in under]


def test_pairs_of_rules_that_all_hold_no_sure_title_end_what_stands_above() -> None:
    names = ("Getting started with it", "The daily operation", "What to do when it fails")
    text = "\n\n".join(
        f"{'=' * 20}\nPart {n}: {name}\n{'=' * 20}\n\n{LONG}\n\nIn {n}. {FILL}\n\n{titled(f'-Notes on {n}')}"
        for n, name in enumerate(names)
    )
    assert [over(text, f"In {n}.") for n in range(3)] == ["", "", ""]
    assert over(text, "Key Notes on 2.") == "Notes on 2"


@pytest.mark.parametrize("row", ["git log --oneline", "$ git log -p", "Tea  4\n----------\nBun  2\nTea  3"])
def test_listings_and_tables_between_rules_end_no_section(row: str) -> None:
    listing = f"----------\n{row}\n----------\n\n{LONG}\n\nKey. {FILL}"
    assert over(f"{titled('=Rome', '=Oslo')}\n\n{listing}", "Key.") == "Oslo"


def test_the_names_of_a_table_between_rules_of_a_title_are_no_title() -> None:
    table = f"{'=' * 30}\nItem  Price\n{'=' * 30}\nTea   3.20\nBuns  1.10\n{'=' * 30}"
    parts = (f"{'=' * 30}\nHANDBOOK\n{'=' * 30}", titled("-Rome"), table, LONG, f"Key. {FILL}", titled("-Oslo"))
    text = "\n\n".join(parts)
    assert over(text, "Key.") == "" and over(text, "Key Oslo.") == "Oslo" and over(text, "Key Rome.") == "Rome"

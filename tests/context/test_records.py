"""A piece of JSON, or of one of several manifests in a file, says whose it is; records are cut apart."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest

from segue.context.recall.above import ABOVE, above
from segue.context.recall.pieces import WHOLE, pieces

NAMES = ("Alder", "Birch", "Cedar", "Dogwood", "Elm")
FILL = "Visitors are met at the door and are given a badge. The kitchen is on the first floor; leave it as it was. " * 4


def shown(text: str) -> list[tuple[str, str]]:
    """The pieces with what stands above each."""
    parts = pieces(text)
    found = above(text, parts)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert len(parts) > 1 and all(len(one) <= ABOVE for one in found) and all(len(one) <= WHOLE for one in parts)
    return [*zip(found, parts, strict=True)]


def over(text: str, says: str) -> str:
    return next(one for one, part in shown(text) if says in part)


def customer(no: int, name: str) -> dict[str, Any]:
    orders = [{"no": f"{no}-{k}", "state": "delivered", "lines": [{"valve": k, "pieces": no}]} for k in range(9)]
    return {
        "id": no, "name": f"{name} Ltd", "active": True, "orders": orders,
        "contract": {"since": 2020, "terms": {"discount": no * 111, "limit": 5, "text": FILL}, "with": {"who": "Ann"}},
    }  # fmt: skip


CUSTOMERS = [customer(no, name) for no, name in enumerate(NAMES, 1)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CUSTOMERS, indent=2),
        json.dumps(CUSTOMERS, indent=4).replace("\n", "\r\n"),
        json.dumps(CUSTOMERS),
        json.dumps(CUSTOMERS, separators=(",", ":")),
        "\n".join(map(json.dumps, CUSTOMERS)),
        json.dumps({"generated": None, "customers": {f"c{one['id']}": one for one in CUSTOMERS}}, indent=2),
        f"# Customers\n\n```json\n{json.dumps(CUSTOMERS, indent=2)}\n```\n\n{FILL}",
    ],
)
def test_a_piece_of_a_record_says_whose_it_is(text: str) -> None:
    for no, name in enumerate(NAMES, 1):
        for says in (f"{no * 111},", f'"{no}-8"'):
            said, part = next(one for one in shown(text) if says in one[1])
            assert f"{name} Ltd" in (said + part).replace('": "', '":"').rpartition('"name":"')[2][:12]
            assert sum(f"{other} Ltd" in said + part for other in NAMES) == 1
            assert not text.startswith("# ") or "Customers" in said


def test_records_that_fit_into_a_piece_are_not_cut() -> None:
    text = json.dumps([{"id": n, "name": f"Pump {n}", "limits": {"bar": [n, n + 1]}} for n in range(90)], indent=1)
    for said, part in shown(text):
        assert said == "" and part.strip("[] \n").startswith("{") and len(part) > 300
        json.loads(f"[{part.strip().removeprefix('[').removesuffix(']').rstrip(',')}]" if part != text else part)


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"sku": "A-7", "id": 7, "title": "Lamp"}, '{ "id": 7, "title": "Lamp", …'),
        ({"when": "noon", "open": True}, '{ "when": "noon", …'),
        ({"open": True, "order_id": 7, "kind": "b"}, '{ "order_id": 7, …'),
        ({"text": "late", "name": ""}, '{ "text": "late", …'),
        ({"open": True, "more": {"name": "no"}}, ""),
        ({"name": "x" * 90}, '{ "name": "' + "x" * 38 + "…, …"),
    ],
)
def test_what_names_a_record_are_its_names_or_else_its_first_field(record: dict[str, Any], named: str) -> None:
    text = json.dumps([{**record, "lines": [f"line {n} of the order" for n in range(99)]}])
    assert over(text, "line 90") == f'{named}\n"lines": [ …'.strip()


def test_a_long_text_in_a_record_is_cut_between_sentences_and_stands_under_its_key() -> None:
    text = json.dumps([{"id": n, "text": f"{FILL * 4} Key {n}."} for n in range(3)], indent=2)
    found, part = next(one for one in shown(text) if "Key 1." in one[1])
    assert found == '  { "id": 1, …\n    "text": …' and part.startswith(("Visitors", "The kitchen"))


@pytest.mark.parametrize("text", ["[Rome]\n\n" + FILL * 9, '{"a": ' + FILL * 9, "[1, 2] are two.\n\n" + FILL * 9])
def test_what_only_begins_like_json_is_cut_as_any_text(text: str) -> None:
    assert len(shown(text)) > 3


def manifest(kind: str, name: str, no: int, fields: int) -> str:
    env = "\n".join(f"            - name: FIELD_{n}\n              value: v{no}{n}" for n in range(fields))
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  annotations:\n    name: not-this\n  name: {name}\nspec:\n"
        f"  template:\n    spec:\n      containers:\n        - name: app\n          env:\n{env}"
    )


KINDS = [("Deployment", "mail"), ("Service", "web"), ("StatefulSet", "db")]


@pytest.mark.parametrize("parts", ["---\n", "--- # next\n", "---\n# Source: a.yaml\n", "---\r\n"])
@pytest.mark.parametrize("fields", [3, 9, 70])
def test_a_piece_of_a_manifest_stands_under_its_kind_and_name(parts: str, fields: int) -> None:
    text = f"\n{parts}".join(manifest(*one, no, fields) for no, one in enumerate(KINDS, 1))
    found = shown(text)
    for no, (kind, name) in enumerate(KINDS, 1):
        says = f"v{no}{fields - 1}"
        said, part = next(one for one in found if says in one[1])
        assert said.startswith(f"{kind} {name}") or f"kind: {kind}" in part
        assert sum(f"value: v{other}" in part for other in (1, 2, 3)) == 1
        assert not said or said.startswith(f"{kind} {name} …\nspec: …")
    assert over(f"{text}\n\n{FILL}{FILL}\n\nKey. {FILL}", "Key.") == ""


def test_a_manifest_in_a_list_names_what_stands_in_it() -> None:
    items = "\n".join(
        f"- {manifest(*one, no, 70)}".replace("\n", "\n  ") + "\n  status:\n    replicas: 1"
        for no, one in enumerate(KINDS, 1)
    )
    text = f"apiVersion: v1\nitems:\n{items}\nkind: List"
    assert over(text, "v260").startswith("items: …\n Service web …\n  spec: …")
    assert over(text, "v360").count("StatefulSet db") == 1


def deployed(kind: str, name: str) -> dict[str, Any]:
    env = [{"name": f"FIELD_{n}", "value": f"{name}{n}"} for n in range(60)]
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"annotations": {"name": "not-this"}, "labels": {"app": "any"}, "name": name, "namespace": "prod"},
        "spec": {"replicas": 3, "template": {"metadata": {"labels": {"app": "any"}}, "spec": {"env": env}}},
    }


@pytest.mark.parametrize("indent", [2, 4])
def test_a_manifest_in_json_is_named_by_its_kind_and_the_name_in_its_metadata(indent: int) -> None:
    items = [deployed(*one) for one in KINDS]
    some = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
    for kind, name in KINDS:
        named = f'{{ "kind": "{kind}", "name": "{name}",'
        assert named in over(json.dumps(some, indent=indent), f"{name}50")
        assert over(json.dumps(deployed(kind, name), indent=indent), f"{name}50").startswith(named)


def test_metadata_without_a_kind_name_no_record() -> None:
    record = {"id": "A-1", "metadata": {"name": "import"}, "lines": [f"line{n} {FILL}" for n in range(9)]}
    assert over(json.dumps([record], indent=2), "line8") == '  { "id": "A-1", …\n    "lines": [ …'


def test_a_rule_between_paragraphs_parts_no_documents() -> None:
    assert len(pieces(f"{FILL}\n\n---\n\nRome is old.\n\n---\n\n{FILL[:200]}{'x' * 300}")) == 1


@pytest.mark.proof
def test_hostile_json_takes_no_long_time() -> None:
    deep = "[" * 900 + "1" + "]" * 900
    many = f"[{'1,' * 100_000}1]"
    gap = " " * 200_000
    yaml = ("kind: a\nname: b\n" * 15_000, "---\na: b\n" * 30_000, f"kind: a{gap}b\n", f"---\na: b{gap}c\n")
    long = f'{{"{"a" * 200_000}1": 1, "b": [{"2, " * 900}3]}}'
    for text in (*yaml, long, "[1,\n" * 60_000, "[" * 250_000, many, f"{deep}\n" * 100, '{"a":' * 50_000):
        began = process_time()
        above(text, pieces(text))
        assert process_time() - began < 5, text[:20]

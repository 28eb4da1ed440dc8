"""Any text whatever is cut into pieces that know what they stand under, and is recalled: there is no error of form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.context import Memory, Scope, ScopeKind, estimate
from segue.context.recall.above import above
from segue.context.recall.pieces import pieces

OPS = Scope(ScopeKind.TEAM, "ops")
PROSE = "The pump is checked each week by whoever has the shift, and the valve behind it is closed at night. " * 3
LINES = (
    # nothing, prose, and what is like a heading
    "", "", "", " ", "\t", PROSE, PROSE, "The valve is closed.", "# Scope", "## Step 2", "#", "###### ", "#!/bin/sh",
    "# end of log", "**Scope**", "**Note:** keep it closed.", "SCOPE", "1. Scope", "2. Fees", "1.1 The buyer pays",
    "a) first", "§ 1 Scope", "Topic 1: valves", "Chapter II. Pumps", "Scope:", "Who closes the valve?", "Q1: Who?",
    "Q: Who?", "A: Ann.", "1. Who closes it?", "===", "-----", "*****", "#####", "~~~~", ".....", "- - -", "* * *",
    # tables, lists and other forms
    "| a | b |", "|---|---|", "id,name,checked", "1,pump,weekly", '2,"two', 'lines",weekly', "id;name", "a\tb",
    "INSERT INTO pumps (id) VALUES", "(1),", "- one", "  - two", "1) one", "- **bold**", "From: Ann", "Subject: x",
    # code
    "```", "```python", "~~~", "def pump(", "    return 1", "class Till(Base):", "{", "}", '{"a": [1,', '"b": 2}', "[",
    "]", "key:", "  name: pump", "---", "[pump1]", "checked = weekly", "// x", "/* x", "*/", "<b>", "\r", "\ufeff",
)  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(LINES), st.sampled_from(LINES), st.text(max_size=30)), max_size=25)


def said(text: str) -> str:
    return "".join(text.replace("\ufeff", "").split())


@given(texts, texts, st.booleans(), st.sampled_from(["", "```", "~~~"]))
def test_any_text_is_cut_into_pieces_that_know_what_they_stand_under(
    before: list[str], after: list[str], long: bool, fence: str
) -> None:
    text = "\n".join([fence, *before, *([PROSE] * 5 if long else []), *after])
    parts = pieces(text)
    assert len(above(text, parts)) == len(parts)
    assert said("".join(parts)) == said(text)


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join([*[PROSE] * 5, "## Step 2"]),
        "id,name,checked\n" + "\n".join(f"{n},pump {n},weekly by the shift" for n in range(60)) + "\n# 60 rows",
        "\n".join(["```", *[f"pump {n} is checked weekly by the shift" for n in range(60)], "```"]),
        "\n".join(f"2026-01-01 09:{n:02} pump {n} was checked by the shift" for n in range(40)) + "\n# end of log",
    ],
)
def test_a_text_with_its_only_heading_last_or_none_is_recalled(text: str) -> None:
    with Memory() as memory:
        memory.remember(text, OPS)
        assert "pump" in memory.recall("the pump", [OPS], 500, estimate())[0].text

"""docs/reference/events.md says what the records are."""

from __future__ import annotations

import re

from segue.core.records import RECORDS
from tools import events_reference


def test_the_reference_is_current() -> None:
    assert events_reference.PAGE.read_text(encoding="utf-8") == events_reference.page(), (
        "write it anew: python -m tools.events_reference"
    )


def test_every_type_and_every_link_has_its_place() -> None:
    page = events_reference.page()
    places = {re.sub(r"[^a-z0-9 -]", "", h.lower()) for h in re.findall(r"^#+ (.*)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= places
    assert {name.replace(".", "") for name in RECORDS} <= places


def test_what_a_field_means_is_in_it() -> None:
    page = events_reference.page()
    assert "| `propensity` | number | `0.0` | The chance of being chosen, under the final sampling distribution" in page
    assert "| `version` | whole number | *required* | The version of the flow that the run stays on. |" in page

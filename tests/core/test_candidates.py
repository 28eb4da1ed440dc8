"""What the decisions of a question say against whoever a person names for it."""

from __future__ import annotations

from typing import Any

import pytest

from segue.core.candidates import obstacle


def decided(**reasons: tuple[str, str] | None) -> dict[str, Any]:
    """A decision's body: of each candidate the stage and the reason why not, None for one who could be asked."""
    return {"candidates": [{"target": {"kind": "model", "name": name}, **_why(why)} for name, why in reasons.items()]}


def _why(why: tuple[str, str] | None) -> dict[str, Any]:
    return {} if why is None else {"eligible": False, "excluded_at": why[0], "reason": why[1]}


WISH, TRIED = ("policy", "the recovery wants b"), ("tried", "it was tried: bad output")


@pytest.mark.parametrize(
    "why",
    [
        ("capability", "it lacks vision"),
        ("capability", "it lacks batch, vision"),
        ("window", "900 tokens of input, its window holds 20"),
        ("residency", "its residency is us, not eu"),
        ("policy", "it has no tag tier; wanted is inside"),
    ],
)
def test_what_stays_speaks_against_it_also_when_something_else_is_said_later(why: tuple[str, str]) -> None:
    assert obstacle([decided(a=why, b=None)], "a") == why[1]
    assert obstacle([decided(a=why, b=None), decided(a=WISH, b=None)], "a") == why[1]


@pytest.mark.parametrize("why", [WISH, TRIED, ("health", "it is down"), ("capability", "it lacks batch"), None])
def test_what_passes_does_not(why: tuple[str, str] | None) -> None:
    assert obstacle([decided(a=why, b=None)], "a") is None


def test_what_fits_by_now_may_be_asked() -> None:
    assert obstacle([decided(a=("window", "900 tokens of input, its window holds 20")), decided(a=None)], "a") is None


def test_a_name_that_nobody_has_is_told_with_those_that_are_like_it() -> None:
    assert obstacle([decided(small=None, large=TRIED)], "lage", ()) == "there is none of that name; there are: large, …"
    many = decided(**dict.fromkeys("abcdefgh"))
    assert obstacle([many], "zzz", ["yyy"]) == "there is none of that name; there are: a, b, c, d, e, f, …"


def test_somebody_who_is_new_may_be_named() -> None:
    assert obstacle([decided(small=None)], "newer", ["small", "newer"]) is None


def test_without_decisions_nothing_is_known() -> None:
    assert obstacle([], "a", ()) is None

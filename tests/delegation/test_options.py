"""The options of `delegate`: those that type checkers know are those that there are."""

from __future__ import annotations

from dataclasses import fields

from segue.agent.delegation.delegate import _Options  # pyright: ignore[reportPrivateUsage]
from segue.agent.delegation.options import DelegateOptions


def test_type_checkers_know_every_option() -> None:
    assert {"returns", "check", *DelegateOptions.__annotations__} == {one.name for one in fields(_Options)}

"""How the candidates are now, worked out from the look before: the same as if it were looked at for the first time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segue.models.spec import Catalogue
from segue.routing import Conditions, Table
from tests.routing.made import Now, model

NAMES = ("a", "b", "c", "d")
TABLE = Table(Catalogue.of(*(model(name) for name in NAMES)))
SEEN = st.builds(
    Now,
    standing=st.sampled_from(("open", "busy", "broken", "shut")),
    reason=st.sampled_from(("", "429")),
    free=st.sampled_from((None, 0, 3)),
    wait_s=st.sampled_from((0.0, 2.5)),
    p95_s=st.sampled_from((None, 1.0)),
    tokens_per_s=st.sampled_from((None, 40.0)),
)
LOOKS = st.lists(st.tuples(*(st.none() | SEEN for _ in NAMES)), min_size=1, max_size=6)


def looked(views: Sequence[Now | None], before: Conditions | None = None) -> Conditions:
    return Conditions(TABLE, lambda option: views[TABLE.place[option.name]], before)


@given(LOOKS)
def test_what_is_taken_from_the_look_before_is_what_a_first_look_would_see(
    looks: Sequence[Sequence[Now | None]],
) -> None:
    known: Conditions | None = None
    for views in looks:
        known, fresh = looked(views, known), looked(views)
        np.testing.assert_array_equal(known.columns, fresh.columns)
        np.testing.assert_array_equal(known.down, fresh.down)
        assert known.reasons == fresh.reasons


def test_a_later_look_leaves_the_one_before_as_it_was() -> None:
    first = looked([None, Now("broken", "503"), None, None])
    later = looked([Now(wait_s=2.0), None, None, None], first)
    assert (first.wait_s.tolist(), first.down.tolist(), first.reasons) == (
        [0.0] * 4, [False, True, False, False], {1: "broken: 503"},
    )  # fmt: skip
    assert (later.wait_s.tolist(), later.down.tolist(), later.reasons) == ([2.0, 0.0, 0.0, 0.0], [False] * 4, {})

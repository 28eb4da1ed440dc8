"""Keys are identities: no two calls share one, and their family can be read from them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.core.keys import Scope, family, name_of, quoted

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ .-]{0,8}", fullmatch=True)
nasty = st.text(st.sampled_from("[]/#%5BD2F1ax "), max_size=8) | st.text(max_size=5)
idents = st.none() | st.from_regex(r"[0-9a-f]{12}", fullmatch=True) | nasty.map(quoted)
paths = st.lists(st.tuples(names, nasty), max_size=3)


def scope_of(path: list[tuple[str, str]]) -> Scope:
    scope = Scope()
    for name, branch in path:
        scope = Scope(f"{scope.key(name)}/{quoted(branch)}/")
    return scope


@given(paths, names, idents)
def test_family_and_name(path: list[tuple[str, str]], name: str, ident: str | None) -> None:
    scope = scope_of(path)
    first, second = scope.key(name, ident), scope.key(name, ident)
    assert first != second
    assert family(first) == family(second) == scope.path + name
    assert name_of(first) == name


@given(st.text(), st.text())
def test_quoting_is_injective(one: str, two: str) -> None:
    assert (quoted(one) == quoted(two)) == (one == two)
    assert not set(quoted(one)) & set("[]/")


@given(st.lists(st.tuples(paths, names, idents), min_size=2, max_size=6, unique_by=repr))
def test_calls_in_different_places_have_different_keys(
    calls: list[tuple[list[tuple[str, str]], str, str | None]],
) -> None:
    """Two places are the same when their paths, names and identities are."""
    keys = {(repr(path), name, ident): scope_of(path).key(name, ident) for path, name, ident in calls}
    assert len(set(keys.values())) == len(keys)


@given(st.lists(st.tuples(names, idents), max_size=12))
def test_equal_calls_are_counted_in_order(calls: list[tuple[str, str | None]]) -> None:
    scope, again = Scope("a/"), Scope("a/")
    keys = [scope.key(n, i) for n, i in calls]
    assert len(set(keys)) == len(keys)
    assert keys == [again.key(n, i) for n, i in calls]

"""A Secret is a value behind `reveal()`: sealed in the journal, masked everywhere else, never in an error."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, TypedDict, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter

from segue import Secret
from segue.core.codec import codec, encode_arguments, fingerprint, roundtrip
from segue.core.redaction import MASK, mask, mask_json
from segue.core.secret import using
from segue.errors import InputError, SecretErased, SecretError, SecretUnreadable, UnserialisableResult
from segue.journal.keyring import MemoryKeyring
from segue.journal.vault import Vault

T = TypeVar("T")
PLAIN = "correct horse battery"


class Login(BaseModel):
    user: str
    password: Secret[str]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    at: datetime
    raw: bytes
    tags: set[str]


class Box(BaseModel, Generic[T]):
    inside: Secret[T]


class Tree(BaseModel):
    name: str
    below: list[Tree] = []


class Typed(TypedDict):
    """Its Secret is the only one."""

    note: str


@dataclass
class Pair:
    a: Secret[int]
    b: Secret[int] | None = None


@pytest.fixture
def keyring() -> MemoryKeyring:
    return MemoryKeyring()


@pytest.fixture
def vault(keyring: MemoryKeyring) -> Iterator[Vault]:
    made = Vault(keyring, "acme")
    with using(made):
        yield made


VALUES: list[tuple[Any, Any]] = [
    (Secret[str], Secret(PLAIN)),
    (Secret[int], Secret(123456)),
    (Secret[Decimal], Secret(Decimal("1.10"))),
    (Secret[datetime], Secret(datetime(2026, 1, 2, tzinfo=UTC))),
    (Secret[set[str]], Secret({"b", "a", "c"})),
    (Secret[dict[str, list[int]]], Secret({"b": [1], "a": [2]})),
    (Secret[Tree], Secret(Tree(name="a", below=[Tree(name="b")]))),
    (Secret[str | None], Secret(None)),
    (Login, Login(user="ada", password=Secret(PLAIN))),
    (Pair, Pair(a=Secret(1), b=Secret(2))),
    (Box[Login], Box(inside=Secret(Login(user="ada", password=Secret(PLAIN))))),
    (list[Secret[str]], [Secret("x"), Secret("y")]),
    (dict[str, Secret[bytes]], {"k": Secret(b"\x01\x02")}),
    (tuple[Secret[int], str], (Secret(1), "x")),
    (Secret[float], Secret(0.5)),
    (Secret, Secret({"any": ["thing", 1]})),
    (Any, {"deep": [Secret("x"), 1]}),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=[str(i) for i in range(len(VALUES))])
def test_it_survives_the_journey_sealed(annotation: Any, value: Any, vault: Vault) -> None:
    data, back = roundtrip(codec(annotation), value)
    assert back == value
    assert b"$sealed" in data
    assert PLAIN.encode() not in data
    again, _ = roundtrip(codec(annotation), back)
    fresh, _ = roundtrip(codec(annotation), deepcopy(value))
    assert data == again == fresh


def test_a_strict_model_inside_survives(vault: Vault) -> None:
    value = Secret(Strict(at=datetime(2026, 1, 2, tzinfo=UTC), raw=b"ab", tags={"b", "a"}))
    assert roundtrip(codec(Secret[Strict]), value)[1] == value


@given(st.text(), st.text())
def test_equal_values_have_equal_envelopes_and_others_do_not(a: str, b: str) -> None:
    with using(Vault(MemoryKeyring(), "acme")):
        texts = [codec(Secret[str]).encode(Secret(t)) for t in (a, a, b)]
    assert texts[0] == texts[1]
    assert (texts[0] == texts[2]) == (a == b)


def test_the_fingerprint_of_arguments_is_that_of_the_envelope(keyring: MemoryKeyring) -> None:
    prints: list[str] = []
    for vault in (
        Vault(keyring, "acme"),
        Vault(keyring, "acme"),
        Vault(keyring, "other"),
        Vault(MemoryKeyring(), "acme"),
    ):
        with using(vault):
            data, _ = encode_arguments({"login": codec(Login)}, {"login": VALUES[8][1].model_copy(deep=True)})
            fresh = Login(user="ada", password=Secret(PLAIN))
            data, _ = encode_arguments({"login": codec(Login)}, {"login": fresh})
            prints.append(fingerprint(data))
    assert prints[0] == prints[1]
    assert len({prints[0], *prints[2:]}) == 3


def test_lengths_are_told_in_steps_only(vault: Vault) -> None:
    sizes = {len(codec(Secret[str]).encode(Secret("x" * n))) for n in range(20)}
    assert len(sizes) == 1


def test_it_is_masked_wherever_it_is_shown() -> None:
    secret, login = Secret(PLAIN), Login(user="ada", password=Secret(PLAIN))
    shown = [str(secret), repr(secret), f"{secret}", repr(login), str(login), login.model_dump_json(), repr([secret])]
    shown += [str(login.model_dump()), str(login.model_dump(mode="json")), TypeAdapter(Login).dump_json(login).decode()]
    assert [s for s in shown if PLAIN in s or MASK not in s] == []


def test_what_is_masked_cannot_be_read_back() -> None:
    with pytest.raises(ValueError, match="masked"):
        Login.model_validate_json(Login(user="a", password=Secret("b")).model_dump_json())


def test_a_plain_value_is_taken_where_a_secret_is_expected(vault: Vault) -> None:
    assert Login(user="ada", password="x").password == Secret("x")  # type: ignore[arg-type]
    assert Login.model_validate_json('{"user":"ada","password":"x"}').password.reveal() == "x"
    data, values = encode_arguments({"n": codec(Secret[int])}, {"n": "12"})
    assert values["n"] == Secret(12)
    assert b"$sealed" in data


def test_errors_do_not_show_the_value(vault: Vault) -> None:
    with pytest.raises(InputError) as caught:
        encode_arguments({"n": codec(Secret[int])}, {"n": PLAIN})
    with pytest.raises(UnserialisableResult) as second:
        roundtrip(codec(list[Secret[int]]), [Secret(PLAIN)])
    with pytest.raises(ValueError, match="does not fit") as third:
        sealed = codec(Secret[str]).encode(Secret(PLAIN))
        codec(Secret[int]).decode(sealed)
    for error in (caught.value, second.value, third.value):
        assert PLAIN not in str(error)
        assert error.__cause__ is None
    assert "the secret value does not fit its type" in str(caught.value)


def test_without_a_key_nothing_is_stored() -> None:
    with pytest.raises(SecretError, match="no key here"):
        codec(Login).encode(Login(user="ada", password=Secret(PLAIN)))
    with pytest.raises(SecretError, match="no key here"):
        codec(Any).encode([Secret(PLAIN)])


def test_after_erasure_it_decodes_and_passes_on_but_is_not_revealed(keyring: MemoryKeyring) -> None:
    with using(Vault(keyring, "acme")):
        data = codec(Login).encode(Login(user="ada", password=Secret(PLAIN)))
        keyring.destroy("acme")
        login = codec(Login).decode(data)
        assert login.user == "ada"
        assert codec(Login).encode(login) == data
        assert not login.password.readable
        assert login.password == codec(Login).decode(data).password
        assert login.password != Secret(PLAIN)
        with pytest.raises(SecretErased, match="tenant 'acme' was destroyed") as caught:
            login.password.reveal()
        assert caught.value.tenant == "acme"
        later = codec(Secret[str]).encode(Secret(PLAIN))
        assert codec(Secret[str]).decode(later).reveal() == PLAIN


def test_another_tenant_cannot_open_it_nor_pass_its_envelope_off(keyring: MemoryKeyring) -> None:
    with using(Vault(keyring, "acme")):
        data = codec(Secret[str]).encode(Secret(PLAIN))
    for forged in (data, data.replace(b'"acme"', b'"other"')):
        with using(Vault(keyring, "other")):
            codec(Secret[str]).encode(Secret("theirs"))
            secret = codec(Secret[str]).decode(forged)
            why = "sealed for tenant 'acme'" if forged is data else "its key is not in"
            with pytest.raises(SecretUnreadable, match=why) as caught:
                secret.reveal()
            assert PLAIN not in str(caught.value)


@pytest.mark.parametrize("passed_off", ["tenant", "key"])
def test_an_envelope_is_bound_to_its_tenant_and_key(passed_off: str, keyring: MemoryKeyring) -> None:
    keyring.find = lambda *_: keyring.current("acme")  # type: ignore[method-assign]  one key for all
    envelope = Vault(keyring, "acme").seal(b'"x"')
    assert Vault(keyring, "acme").open(envelope) == b'"x"'
    with pytest.raises(SecretUnreadable, match="damaged"):
        Vault(keyring, "other" if passed_off == "tenant" else "acme").open({**envelope, passed_off: "other"})


def test_a_secret_of_one_tenant_is_sealed_anew_for_another(keyring: MemoryKeyring) -> None:
    secret = Secret(PLAIN)
    with using(Vault(keyring, "acme")):
        first = codec(Secret[str]).encode(secret)
    with using(Vault(keyring, "other")):
        second = codec(Secret[str]).encode(secret)
        assert codec(Secret[str]).decode(second).reveal() == PLAIN
    assert b'"tenant":"other"' in second
    assert first != second


@pytest.mark.parametrize("change", [("data", "AAAA"), ("data", "no base64!"), ("alg", "rot13"), ("key", "0" * 16)])
def test_a_damaged_envelope_stays_closed(change: tuple[str, str], vault: Vault) -> None:
    envelope = json.loads(codec(Secret[str]).encode(Secret(PLAIN)))
    envelope["$sealed"][change[0]] = change[1]
    secret = codec(Secret[str]).decode(json.dumps(envelope).encode())
    with pytest.raises(SecretUnreadable):
        secret.reveal()


def test_it_is_not_pickled_and_a_copy_is_itself() -> None:
    secret = Secret(PLAIN)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    assert deepcopy(secret) is secret
    assert hash(secret) == hash(Secret(PLAIN))
    assert secret != PLAIN


def test_a_projection_masks_what_is_sealed(vault: Vault) -> None:
    data = codec(Login).encode(Login(user="ada", password=Secret(PLAIN)))
    assert mask(json.loads(data)) == {"user": "ada", "password": MASK}
    assert mask_json(data) == b'{"user":"ada","password":"\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2"}'
    assert mask([{"a": [json.loads(data)]}]) == [{"a": [{"user": "ada", "password": MASK}]}]
    assert mask_json(b'{"a":1}') == b'{"a":1}'
    assert mask_json(None) is None


def test_json_schema_is_that_of_the_value() -> None:
    assert Login.model_json_schema()["properties"]["password"] == {"title": "Password", "type": "string"}


def test_without_the_extra_it_names_the_command() -> None:
    code = """
import sys
sys.modules["cryptography"] = None
from segue import Secret
from segue.core.codec import codec
from segue.core.secret import using
from segue.journal.keyring import MemoryKeyring
from segue.journal.vault import Vault
try:
    with using(Vault(MemoryKeyring(), "acme")):
        codec(Secret[str]).encode(Secret("x"))
except Exception as error:
    print(type(error).__name__, error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MissingExtra" in ran.stdout
    assert "pip install 'segue[secrets]'" in ran.stdout


def test_the_library_is_loaded_only_for_a_secret() -> None:
    code = """
import sys, segue
segue.Secret, segue.Engine, segue.step
print("cryptography" in sys.modules, "pydantic" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]

"""Redaction takes what has a form out of every text, before anybody sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Engine, Retry, flow, step
from segue.core.redaction import Patterns
from segue.errors import DefinitionError

FOUND = [
    ("email", "write to ada.l+x@mail.example.org now", "write to [email] now"),
    ("card", "4111 1111 1111 1111 or 4111-1111-1111-1112", "[card] or 4111-1111-1111-1112"),
    ("iban", "DE89 3704 0044 0532 0130 00, GB82WEST12345698765432", "[iban], [iban]"),
    ("iban", "DE89 3704 0044 0532 0130 01", "DE89 3704 0044 0532 0130 01"),
    ("ssn", "078-05-1120 but 000-12-3456", "[ssn] but 000-12-3456"),
    ("phone", "+49 (30) 1234-5678, 12345678", "[phone], 12345678"),
    ("ip", "10.0.0.1 and 1.2.3.456 and 1.2.3.4.5", "[ip] and 1.2.3.456 and 1.2.3.4.5"),
    ("bearer", "Authorization: Bearer abcdef.ghijkl-123", "Authorization: Bearer [bearer]"),
    ("password in url", "postgres://ada:hunter2@db:5432/x", "postgres://[password in url]@db:5432/x"),
    ("jwt", "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2QT4", "[jwt]"),
    ("private key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[private key]"),
    ("api key", "sk-proj-abcdefghijklmnopqrst AKIAABCDEFGHIJKLMNOP", "[api key] [api key]"),
    ("credentials", "ghp_" + "a" * 36 + " for ada@example.org", "[api key] for ada@example.org"),
    ("pii", "ada@example.org, 10.0.0.1, skip-this", "[email], [ip], skip-this"),
]


@pytest.mark.parametrize(("name", "text", "left"), FOUND, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(FOUND)])
def test_a_pattern_takes_out_what_it_is_for(name: str, text: str, left: str) -> None:
    assert Patterns([name]).text(text) == left


def test_every_text_in_a_value_is_read_and_nothing_else() -> None:
    value = {"ada@x.org": ["ada@x.org", 1, None, {"a": "b@c.de"}], "s": {"$sealed": {"data": "ada@x.org"}}}
    assert Patterns(["email"]).json(value) == {
        "ada@x.org": ["[email]", 1, None, {"a": "[email]"}],
        "s": {"$sealed": {"data": "ada@x.org"}},
    }


@pytest.mark.parametrize("wrong", ["emial", (), ["pii", "x"]])
def test_a_pattern_that_does_not_exist_is_refused_with_the_names(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="the names are: credentials, pii, private key"):
        step(redact=wrong)


class Page(BaseModel):
    text: str
    owner: str = "nobody"


@step(redact="pii")
async def fetch() -> Page:
    return Page(text="by ada@example.org", owner="ada@example.org")


@step(redact=lambda page: page.model_copy(update={"owner": "x"}))
def fetch_in_a_thread() -> Page:
    return Page(text="t", owner="ada@example.org")


@step(redact=("pii",), retry=Retry(attempts=2, backoff_s=0))
async def breaks() -> str:
    raise ConnectionError("ada@example.org was refused")


@step(redact="pii")
async def no_page() -> Page:
    return {"text": ["ada@example.org"]}  # type: ignore[return-value]


@flow
async def reads() -> list[Any]:
    said: list[Any] = [await fetch(), await fetch_in_a_thread()]
    for broken in (breaks, no_page):
        try:
            await broken()
        except Exception as error:  # noqa: BLE001
            said.append(str(error))
    return said


async def test_neither_the_flow_nor_the_journal_sees_it(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        run = await engine.start(reads)
        page, other, error, unfit = await run.result()
        assert page == {"text": "by [email]", "owner": "[email]"}
        assert other["owner"] == "x"
        assert "[email] was refused" in error
        assert "example.org" not in unfit
        fork = await run.fork()
        assert await fork.result() == [page, other, error, unfit]
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"example.org" not in everything


async def test_outside_of_a_run_it_is_redacted_too() -> None:
    assert (await fetch()).owner == "[email]"
    assert (await fetch_in_a_thread()).owner == "x"

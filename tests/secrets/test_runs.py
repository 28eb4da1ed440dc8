"""Secrets in real runs: not a byte of them on disk, the same keys after a restart, and erasure that is one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import segue
from segue import Engine, Retry, Secret, flow, step
from segue.core.recovery import AskPerson, Take
from segue.core.redaction import MASK, mask_json
from segue.errors import RunFailed, SecretErased, Undecodable
from segue.journal.keyring import MemoryKeyring

TOKEN, PIN, LONG = "tok-3f9a-hunter2", 90417766, "a long secret; " * 1000


class Login(BaseModel):
    user: str
    token: Secret[str]


@asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[Engine]:
    async with Engine(str(folder / "segue.db"), linger_s=0.01, tick_s=0.05, **options) as engine:
        yield engine


def stored(folder: Path) -> bytes:
    """Every byte of the database, its log and its payloads, also unpacked; not the keys."""
    parts = [p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.parent.name.endswith("-keys")]
    with sqlite3.connect(folder / "segue.db") as database:
        blobs = database.execute("select size, data from blobs").fetchall()
    database.close()
    parts += [data if len(data) == size else zlib.decompress(data) for size, data in blobs]
    return b"\n".join(parts)


def assert_not_stored(folder: Path) -> None:
    everything = stored(folder)
    assert b"$sealed" in everything
    for text in (TOKEN, str(PIN), LONG[:60], "hunter2"):
        assert text.encode() not in everything, f"{text} is on disk"


calls: list[str] = []
said: list[str] = []


@step
async def login(user: str, pin: Secret[int]) -> Login:
    calls.append(f"login {pin.reveal()}")
    return Login(user=user, token=Secret(TOKEN))


@step
def use_in_a_thread(login: Login, text: Secret[str]) -> Secret[str]:
    calls.append(f"use {login.token.reveal()}")
    return Secret(text.reveal() * 2)


@step(retry=Retry(attempts=2, backoff_s=0))
async def leaks(token: Secret[str], pin: Secret[int]) -> None:
    raise ValueError(f"401 for {token.reveal()}", {"pin": pin.reveal()})


@step
async def quiet(login: Login) -> str:
    return login.user


@flow
async def child(token: Secret[str]) -> Secret[str]:
    return token


@flow
async def everything(pin: Secret[int], text: Secret[str]) -> dict[str, Secret[str]]:
    who = await login("ada", pin)
    used = await use_in_a_thread(who, text)
    try:
        await leaks(who.token, pin)
    except Exception as error:  # noqa: BLE001
        said.append(str(error))
    sent = await segue.wait_for("go", returns=Secret[str])
    inner = await child(sent)
    await quiet(who)
    return {"token": who.token, "used": used, "inner": inner}


@flow
async def raises(token: Secret[str]) -> None:
    raise RuntimeError(f"cannot use {token.reveal()}")


@flow
async def reveals_late(token: Secret[str], reveal: bool) -> str:
    await quiet(Login(user="ada", token=token))
    await segue.wait_for("go")
    await quiet(Login(user="bob", token=token))
    try:
        return token.reveal()[:0] if reveal else "done"
    except SecretErased:
        return "caught"


async def keys_of(run: Any) -> list[str | None]:
    return [e.key async for e in run.events(follow=False) if e.type.startswith("step.")]


async def test_not_a_byte_of_it_is_on_disk_and_a_restart_finds_the_same_keys(tmp_path: Path) -> None:
    calls.clear()
    async with opened(tmp_path) as engine:
        run = await engine.start(everything, Secret(PIN), LONG, id="r")
        again = await engine.start(everything, PIN, Secret(LONG), id="r")  # the same input is the same run
        while (await run.status()).state != "parked":
            await tick()
        assert again.id == run.id
        assert_not_stored(tmp_path)
    assert len(calls) == 2
    assert said == [f"('401 for {MASK}', {{'pin': '{MASK}'}})"]
    async with opened(tmp_path) as engine:
        run = await engine.get("r")
        before = await keys_of(run)
        await run.signal("go", Secret(TOKEN))
        result = await run.result()
        assert result["token"].reveal() == result["inner"].reveal() == TOKEN
        assert result["used"].reveal() == LONG * 2
        assert (await keys_of(run))[: len(before)] == before
        fork = await run.fork(before[1], id="f")  # `use_in_a_thread` and all after it, anew
        await fork.signal("go", Secret(TOKEN))
        assert await fork.result() == result
        assert (await keys_of(fork))[: len(before)] == before
    assert calls == [f"login {PIN}", f"use {TOKEN}", f"use {TOKEN}"]
    assert len(set(said)) == 1  # live and replayed
    assert_not_stored(tmp_path)


async def tick() -> None:
    await asyncio.sleep(0.005)


async def test_an_error_that_quotes_a_secret_is_journaled_without_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        run = await engine.start(raises, TOKEN)
        with pytest.raises(RunFailed, match="cannot use •••"):
            await run.result()
        faults = [
            json.loads(e.body or b"{}")["fault"] async for e in run.events(follow=False) if e.type == "run.failed"
        ]
    assert faults[0]["args"] == [f"cannot use {MASK}"]
    assert "cannot use •••" in faults[0]["trace"]
    assert_not_stored(tmp_path)


@step
async def refuses(token: Secret[str]) -> None:
    error = RuntimeError("refused")
    error.__dict__["by_token"] = {token.reveal(): [{token.reveal(): 1}]}
    error.add_note(f"sent {token.reveal()}")
    raise error


@flow
async def is_refused(token: Secret[str]) -> list[str]:
    try:
        await refuses(token)
    except RuntimeError as error:
        return [str(vars(error)["by_token"]), error.__notes__[0]]
    return []


async def test_a_secret_in_a_key_or_a_note_of_an_error_is_journaled_without_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        assert await engine.run(is_refused, TOKEN) == [f"{{'{MASK}': [{{'{MASK}': 1}}]}}", f"sent {MASK}"]
    assert_not_stored(tmp_path)


async def test_every_event_can_be_shown_masked(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        run = await engine.start(child, TOKEN)
        assert (await run.result()).reveal() == TOKEN
        shown = [mask_json(part) async for e in run.events(follow=False) for part in (e.value, e.args, e.body) if part]
    assert shown[0] == json.dumps({"token": MASK}, ensure_ascii=False, separators=(",", ":")).encode()
    assert [s for s in shown if b"sealed" in (s or b"")] == []


async def test_erased_secrets_are_gone_and_runs_that_only_pass_them_on_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        passing = await engine.start(reveals_late, TOKEN, False, id="passing", tenant="acme")
        revealing = await engine.start(reveals_late, TOKEN, True, id="revealing", tenant="acme")
        other = await engine.start(reveals_late, TOKEN, True, id="other", tenant="zeta")
        for run in (passing, revealing, other):
            while (await run.status()).state != "parked":
                await tick()
        keys = await keys_of(passing)
        assert len(await engine.erase("acme", by="dpo", why="request 12")) == 1
    async with opened(tmp_path) as engine:
        for name in ("passing", "revealing", "other"):
            await (await engine.get(name)).signal("go")
        assert await (await engine.get("passing")).result() == "done"
        assert (await keys_of(await engine.get("passing")))[:1] == keys
        assert await (await engine.get("other")).result() == ""
        with pytest.raises(Undecodable, match=r"reveals a secret that it cannot have.*destroyed"):
            await (await engine.get("revealing")).result()
        status = await (await engine.get("revealing")).status()
        assert status.reason == "undecodable"
        await (await engine.get("revealing")).cancel()
        while (await (await engine.get("revealing")).status()).state != "cancelled":
            await tick()


async def test_a_step_that_reveals_an_erased_secret_fails_and_the_flow_may_answer(tmp_path: Path) -> None:
    @step
    async def reveal(token: Secret[str]) -> str:
        return token.reveal()

    @flow(name="asks")
    async def asks(token: Secret[str]) -> str:
        await segue.wait_for("go")
        try:
            return await reveal(token)
        except SecretErased as error:
            return error.tenant

    async with opened(tmp_path) as engine:
        run = await engine.start(asks, TOKEN, id="r")
        while (await run.status()).state != "parked":
            await tick()
        await engine.erase("default")
        await run.signal("go")
        assert await run.result() == "default"


async def test_a_fork_seals_a_plain_value_in_the_place_of_a_secret(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        run = await engine.start(child, "first", id="r")
        await run.result()
        fork = await run.fork(1, input={"token": TOKEN})
        assert (await fork.result()).reveal() == TOKEN
    assert_not_stored(tmp_path)


async def test_the_key_may_be_somebody_elses(tmp_path: Path) -> None:
    keyring = MemoryKeyring()
    async with opened(tmp_path, keyring=keyring) as engine:
        await (await engine.start(child, TOKEN, id="r")).result()
    assert not (tmp_path / "segue.db-keys").exists()
    async with opened(tmp_path, keyring=keyring) as engine:
        assert (await (await engine.get("r")).result()).reveal() == TOKEN
    async with opened(tmp_path, keyring=MemoryKeyring()) as engine:
        secret = await (await engine.get("r")).result()
        assert not secret.readable


async def test_a_result_is_readable_after_its_engine_is_closed(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        secret = await engine.run(child, TOKEN)
    assert secret.reveal() == TOKEN


def asks_ann(fault: Any, history: Any, luck: float) -> AskPerson:
    return AskPerson("ann")


def asks_nobody(fault: Any, history: Any, luck: float) -> AskPerson:
    return AskPerson("ann", timeout_s=0.05, default=Take({"user": "ada", "token": TOKEN}))


@step(retry=asks_ann)
async def asked_for() -> Login:
    raise ConnectionError


@step(retry=asks_nobody)
async def falls_back() -> Login:
    raise ConnectionError


@step(effect="once")
async def in_doubt() -> Login:
    raise ConnectionResetError


@flow
async def is_given(which: str) -> str:
    given = await {"asked": asked_for, "default": falls_back, "doubt": in_doubt}[which]()
    return given.token.reveal()[:3]


@pytest.mark.parametrize("which", ["asked", "default", "doubt", "fork"])
async def test_what_a_person_gives_in_the_place_of_a_secret_is_sealed(tmp_path: Path, which: str) -> None:
    login_ = {"user": "ada", "token": TOKEN}
    async with opened(tmp_path) as engine:
        run = await engine.start(is_given, "asked" if which == "fork" else which)
        if which != "default":
            key = {"doubt": "in_doubt"}.get(which, "asked_for")
            for _ in range(1000):
                status = await run.status()
                found = [w["key"] for w in status.waits_on if "person" in w] + [status.key or ""]
                if found[0].startswith(key):
                    break
                await asyncio.sleep(0.005)
            if which == "asked":
                assert await run.decide(found[0], result=login_)
            elif which == "fork":
                run = await run.fork(results={found[0]: login_})
            else:
                await run.override(found[0], result=login_)
        assert await asyncio.wait_for(run.result(), 5) == "tok"
    assert_not_stored(tmp_path)

"""`segue check`, and `segue.runtime.check` from Python: today's code against the runs that are open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.journal import Journal
from segue.runtime.check import Finding, check
from tests.cli.terminal import Done, Terminal, until

HEAD = "from segue import flow, step, wait_for\n\n"
BEFORE = """
@step
async def first(x: int) -> int:
    return x

@step
async def second(x: int) -> int:
    return x + 1

@step(effect="once")
async def pay(x: int) -> str:
    return "paid"

@flow
async def deal(x: int) -> str:
    a = await first(x)
    b = await second(a)
    await pay(b)
    return await wait_for("go")
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `deals:deal` that waits."""
    terminal = Terminal(tmp_path_factory.mktemp("deals"))
    (terminal.folder / "deals.py").write_text(HEAD + BEFORE)
    started = terminal.start("run", "deals:deal", "-i", "1", "--id", "d1")
    until(lambda: terminal.state("d1") == "parked")
    started.kill()
    return terminal.folder


@pytest.fixture
def dealt(terminal: Terminal, template: Path) -> Terminal:
    """A copy of it."""
    return terminal.copy_of(template)


def now(terminal: Terminal, *changes: tuple[str, str], head: str = HEAD) -> Done:
    """Check against changed code. Nothing is written, whatever it says."""
    code = head + BEFORE
    for old, new in changes:
        assert old in code
        code = code.replace(old, new)
    (terminal.folder / "deals.py").write_text(code)
    before = terminal.query("select *, (select count(*) from events) from runs")
    done = terminal.segue("check", "--json")
    assert terminal.query("select *, (select count(*) from events) from runs") == before
    return done


def test_the_same_code_is_ok(dealt: Terminal) -> None:
    done = now(dealt)
    (verdict,) = done.json
    assert (done.code, verdict["finding"], verdict["next"]) == (0, "ok", ["wait[go]#1"])
    said = dealt.segue("check")
    assert "✓ ok  d1  deals:deal" in said.out and "1 run: the code can go on with all" in said.err
    assert dealt.segue("check", "d1").code == 0 and dealt.segue("check", "--flow", "other").err == "No open runs.\n"


@pytest.mark.parametrize(
    ("old", "new", "finding", "code", "says"),
    [
        ("await second(a)", "await first(a + 1)", "unsure", 0, "second["),
        ("    await pay(b)\n", "", "orphaned", 0, "pay["),
        ("await pay(b)", "await pay(b + 1)", "mismatch", 3, "pay["),
        ("async def second(x: int) -> int:", "async def second(x: int) -> list[int]:", "undecodable", 3, "second["),
        ("async def deal(x: int)", "async def deal(x: list[int])", "undecodable", 3, "the stored input"),
        ("b = await second(a)", "b = await second(a).nope", "fails", 3, "AttributeError"),
        ("b = await second(a)", "b = await second('x')", "fails", 3, "argument 'x'"),
        ("return await wait_for(", "await __import__('asyncio').Event().wait() or (", "fails", 3, "nobody in the flow"),
        ("async def deal(", "async def dealt(", "unknown flow", 6, '"module deals has no flow'),
        ("@flow\n", "@flow(version=2)\n", "unknown flow", 6, "is of version 1"),
        ("@flow\n", "@flow(version=2, migrate=True)\n", "ok", 0, "wait[go]"),
        ("@flow", "1 / 0\n@flow", "unknown flow", 6, "ZeroDivisionError"),
        ("@flow", "raise SystemExit(0)\n@flow", "unknown flow", 6, "SystemExit"),
        ("@flow", "print('a module prints')\n@flow", "ok", 0, "wait[go]"),
    ],
)  # fmt: skip
def test_changed_code_is_judged(  # noqa: PLR0917  the columns above
    dealt: Terminal, old: str, new: str, finding: str, code: int, says: str
) -> None:
    done = now(dealt, (old, new))
    (verdict,) = done.json
    assert (verdict["finding"], done.code) == (finding, code), verdict
    assert says in json.dumps(verdict, ensure_ascii=False)
    said = dealt.segue("check")
    assert said.code == code and finding in said.out and "Traceback" not in said.err
    assert (finding in ("ok", "orphaned", "unsure")) == ("would not go on" not in said.err)


@pytest.mark.parametrize("often", range(1, 8))
def test_a_flow_that_fails_leaves_nothing_for_a_later_collection_to_complain_of(dealt: Terminal, often: int) -> None:
    """Python complains of a coroutine that nobody awaited where it is freed, in the midst of anything."""
    collecting = f"import gc\ngc.set_threshold({often * 5})\n"
    now(dealt, ("b = await second(a)", "b = await second(a).nope"), ("from ", collecting + "from "))
    said = dealt.segue("check")
    assert (said.code, said.err) == (3, "1 run, 1 would not go on\n")


def test_what_check_says_is_what_resume_does(dealt: Terminal) -> None:
    now(dealt, ("await pay(b)", "await pay(b + 1)"))
    assert dealt.segue("resume", "d1").code == 0 or dealt.state("d1") == "parked"  # nothing wakes it
    dealt.segue("signal", "d1", "go", "-p", '"ok"')
    stuck = dealt.segue("resume", "d1")
    assert stuck.code == 3 and "set aside (mismatch)" in stuck.err and "segue override d1 'pay[" in stuck.err
    now(dealt)
    assert dealt.segue("resume", "d1").out == "ok\n"


@pytest.mark.parametrize("word", [("--result", '"by hand"'), ("--retry",)], ids=["the same", "another one"])
def test_what_a_check_prints_can_be_copied_before_the_run_is_set_aside(dealt: Terminal, word: tuple[str, ...]) -> None:
    """Before a deployment, of a run that waits; in short too. The check knows what was sent."""
    (verdict,) = now(dealt, ("await pay(b)", "await pay(b + 1)")).json
    assert verdict["state"] == "parked" and f"segue override d1 '{verdict['asks']}' {word[0]}" in verdict["remedy"]
    said = dealt.segue("override", "d1", verdict["asks"].replace("]", "").partition("#")[0][:-8] + "]", *word)
    assert said.code == 0, said.err
    (after,) = dealt.segue("check", "--json").json
    assert after["finding"] in ("orphaned", "unsure") and not after["effects"]
    again = dealt.segue("override", "d1", verdict["asks"], "--result", '"paid"')
    assert (again.code, "the first counts" in again.err) == ((2, True) if word[0] == "--result" else (0, False))
    dealt.segue("signal", "d1", "go", "--payload", '"ok"')
    assert dealt.segue("resume", "d1").out == "ok\n"


def test_many_runs_are_told_of_the_call_that_is_asked_for_now(dealt: Terminal) -> None:
    """They were set aside under other code; where today's goes on, nothing is to be said."""
    now(dealt, ("await pay(b)", "await pay(b + 1)"))
    dealt.segue("signal", "d1", "go", "--payload", '"ok"')
    assert dealt.segue("resume", "d1").code == 3
    shown = dealt.segue("show", "d1", "--json").json
    assert shown["asks"].startswith("pay[") and dealt.segue("runs", "--json").json[0]["asks"] == shown["asks"]
    now(dealt)
    assert "nothing to do" in dealt.segue("override", "--where", "reason=mismatch", "--retry", "--yes").err
    (verdict,) = now(dealt, ("await pay(b)", "await pay(b + 2)")).json
    assert verdict["asks"] not in (None, shown["asks"])
    told = dealt.segue("override", "--where", "reason=mismatch", "--result", '"by hand"', "--yes")
    assert told.code == 0, told.err
    assert dealt.segue("resume", "d1").out == "ok\n"


def test_unchanged_code_that_varies_by_itself_is_a_mismatch(terminal: Terminal) -> None:
    code = BEFORE.replace(
        "await second(a)", "await second(a + len(list(__import__('pathlib').Path('.').glob('*.flag'))))"
    )
    (terminal.folder / "deals.py").write_text(HEAD + code)
    started = terminal.start("run", "deals:deal", "-i", "1", "--id", "d1")
    until(lambda: terminal.state("d1") == "parked")
    started.kill()
    assert terminal.segue("check").code == 0
    (terminal.folder / "x.flag").touch()
    done = terminal.segue("check", "--json")
    (verdict,) = done.json
    assert (done.code, verdict["finding"]) == (3, "mismatch") and verdict["key"].startswith("second[")


def test_check_is_a_function_too(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"deals_{id(terminal)}"
    (terminal.folder / f"{name}.py").write_text(HEAD + BEFORE)
    started = terminal.start("run", f"{name}:deal", "-i", "1", "--id", "d1")
    until(lambda: terminal.state("d1") == "parked")
    started.kill()
    monkeypatch.syspath_prepend(terminal.folder)
    with Journal.open_readonly(str(terminal.db)) as journal:
        verdicts = list(check(journal))
        assert [(v.run, v.finding, v.next) for v in verdicts] == [("d1", Finding.OK, ("wait[go]#1",))]
        assert list(check(journal, flow="deal")) == verdicts and list(check(journal, flow="other")) == []


def test_a_run_that_failed_as_the_code_fails_is_ok(terminal: Terminal) -> None:
    fails = '@flow\nasync def deal(x: int) -> str:\n    raise ValueError(f"no {x}")\n'
    path = terminal.folder / "fails.py"
    path.write_text(HEAD + fails)
    assert terminal.segue("run", "fails:deal", "-i", "1", "--id", "d1").code == 1
    assert terminal.segue("check", "d1").code == 0
    path.write_text(HEAD + fails.replace("no {x}", "{x} is too much"))
    assert terminal.segue("check", "d1").code == 3


def test_a_fork_and_a_secret_are_replayed_as_the_engine_does(terminal: Terminal) -> None:
    pytest.importorskip("cryptography")
    code = (
        "from segue import flow, step, wait_for\nfrom segue.core.secret import Secret\n"
        "@step\nasync def use(token: Secret[str]) -> int:\n    return len(token.reveal())\n"
        "@flow\nasync def login(token: Secret[str]) -> int:\n"
        "    n = await use(token)\n    await wait_for('go')\n    return n\n"
        "@flow\nasync def keep(token: Secret[str]) -> Secret[str]:\n    return token\n"
    )
    (terminal.folder / "vaults.py").write_text(code)
    started = terminal.start("run", "vaults:login", "-i", '"hunter22"', "--id", "l1")
    until(lambda: terminal.state("l1") == "parked")
    started.kill()
    assert terminal.segue("check").code == 0
    assert "hunter22" not in terminal.segue("show", "l1").out and "•••" in terminal.segue("show", "l1", "--json").out
    forked = terminal.segue("fork", "l1", "--result", "use=5", "--detach", "--id", "l2")
    assert forked.code == 0 and [v["finding"] for v in terminal.segue("check", "--json").json] == ["ok", "ok"]
    assert terminal.segue("run", "vaults:keep", "-i", '"hunter22"', "--id", "k1").out == "•••\n"
    assert terminal.segue("check", "k1").code == 0


def test_the_database_is_not_needed_to_be_writable(dealt: Terminal, tmp_path: Path) -> None:
    assert not list(tmp_path.glob("*-keys"))
    assert dealt.segue("check").code == 0 and not list(tmp_path.glob("*-keys"))


def test_of_a_run_that_has_ended_it_says_so(dealt: Terminal) -> None:
    dealt.segue("signal", "d1", "go", "--payload", '"now"')
    assert dealt.segue("resume", "d1").code == 0
    done = dealt.segue("check", "d1")
    assert (done.code, done.err) == (0, "The run has ended (completed): there is nothing to go on with.\n")
    code = (dealt.folder / "deals.py").read_text()
    (dealt.folder / "deals.py").write_text(code.replace("await pay(b)", "await pay(b + 'x')"))
    done = dealt.segue("check", "d1")
    assert done.code == 3 and "the code would not replay it" in done.err

"""`segue run`: results, errors, exit codes."""

from __future__ import annotations

import json

import pytest

from tests.cli.terminal import Terminal, until


def test_the_result_is_all_that_goes_to_stdout(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:total", "--input", '{"items": ["ab", "c"]}', "--id", "t1")
    assert (done.code, done.out) == (0, "300\n")
    assert "t1  shop:total" in done.err and "a step prints" in done.err and "price" in done.err


def test_json_gives_the_result_as_json_and_nothing_else(terminal: Terminal) -> None:
    opened(terminal, "y")
    done = terminal.segue("run", "shop:guarded", "--input", '"y"', "--json")
    assert done.code == 0
    assert json.loads(done.out) == "100 y is open"
    assert done.err.replace("a step prints\n", "") == ""


def opened(terminal: Terminal, name: str) -> None:
    (terminal.folder / name).touch()


@pytest.mark.parametrize(
    ("given", "stdin"),
    [
        ('{"order": {"item": "pen"}}', ""),
        ('{"item": "pen"}', ""),
        ("@order.json", ""),
        ("-", '{"item": "pen"}'),
    ],
)
def test_the_input_is_an_object_by_name_or_the_only_parameter(terminal: Terminal, given: str, stdin: str) -> None:
    (terminal.folder / "order.json").write_text('{"item": "pen", "cents": 100}')
    done = terminal.segue("run", "shop:buy", "-i", given, stdin=stdin)
    assert (done.code, done.out) == (0, "pen for 100\n"), done.err


def test_a_flow_without_parameters_needs_no_input(terminal: Terminal) -> None:
    assert terminal.segue("run", "shop:nothing")[:2] == (0, "")
    assert terminal.segue("run", "shop:nothing", "--json")[:2] == (0, "null\n")


def test_a_file_names_a_flow_too(terminal: Terminal) -> None:
    done = terminal.segue("run", terminal.folder / "shop.py:naps", "-i", "0", "--db", terminal.db, cwd="/")
    assert (done.code, done.out) == (0, "rested\n"), done.err


def test_a_failed_run_shows_the_users_own_traceback(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:broken", "--input", '"pen"', "--id", "b1")
    assert (done.code, done.out) == (1, "")
    assert "LookupError: no pen here" in done.err
    assert "in broken" in done.err and "in _oops" in done.err
    assert "segue/runtime" not in done.err and "asyncio" not in done.err
    assert "segue show b1" in done.err
    shown = terminal.segue("show", "b1")
    assert shown.code == 0 and "in _oops" in shown.out and "segue/runtime" not in shown.out


def test_failed_attempts_are_told_and_cannot_move_the_terminal(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:patient", "--input", '"pen"', "--id", "p1")
    assert (done.code, done.out) == (0, "300 at last\n")
    assert "attempt 1" in done.err and "ConnectionError: not" in done.err and "\x1b" not in done.err
    shown = terminal.segue("show", "p1")
    assert "×3" in shown.out or "×2" in shown.out
    assert "\x1b" not in terminal.segue("show", "p1", "flaky").out


def test_the_same_id_is_the_same_run(terminal: Terminal) -> None:
    first = terminal.segue("run", "shop:total", "--input", '{"items": ["ab"]}', "--id", "t1")
    again = terminal.segue("run", "shop:total", "--input", '{"items": ["ab"]}', "--id", "t1")
    assert (first.out, again.out, again.code) == ("200\n", "200\n", 0)
    assert terminal.calls() == ["price-ab"]
    other = terminal.segue("run", "shop:total", "--input", '{"items": ["c"]}', "--id", "t1")
    assert other.code == 2 and "another input" in other.err and "do  choose another id" in other.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run", "shop:total"], 2, "missing a required argument: 'items'"),
        (["run", "shop:total", "-i", "{"], 2, "--input is no JSON"),
        (["run", "shop:total", "-i", "{}"], 2, "argument 'items' is missing"),
        (["run", "shop:total", "-i", '{"items": 3}'], 2, "argument 'items': Input should be a valid array"),
        (["run", "shop:total", "-i", '{"items": [], "more": 1}'], 2, "has no parameter 'more'"),
        (
            ["run", "shop:buy", "-i", '{"cents": "x"}'],
            2,
            "item: Field required; cents: Input should be a valid integer",
        ),
        (["run", "shop:nothing", "-i", "3"], 2, "takes no arguments"),
        (["run", "shop:total", "-i", "@none.json"], 2, "No such file"),
        (["run", "shop:total", "-i", '{"items": []}', "--id", " x"], 2, "1 to 512 printable characters"),
        (["run", "shop:none"], 6, "its flows: shop:asks"),
        (["run", "none:none"], 6, "cannot be imported"),
        (["run", "shop"], 6, "write MODULE:FLOW"),
        (["run"], 2, "Missing argument 'MODULE:FLOW'"),
        (["run", "shop:total", "--nope"], 2, "No such option: --nope"),
        (["rum"], 2, "Did you mean"),
    ],
)
def test_what_cannot_be_run_is_said_in_two_lines(terminal: Terminal, words: list[str], code: int, says: str) -> None:
    done = terminal.segue(*words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err and "  do  " in done.err
    assert "Traceback" not in done.err and len(done.err.splitlines()) <= 3
    assert not terminal.db.exists() or not terminal.query("select 1 from runs")


def test_an_error_is_one_json_object_with_json(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:none", "--json")
    error = json.loads(done.err)["error"]
    assert (done.code, done.out, error["code"], error["exit"]) == (6, "", "unknown-flow", 6)


def test_a_module_that_raises_shows_its_own_traceback(terminal: Terminal) -> None:
    (terminal.folder / "bad.py").write_text("def f():\n    return 1 / 0\nf()\n")
    done = terminal.segue("run", "bad:flow")
    assert done.code == 6 and "bad.py" in done.err and "1 / 0" in done.err
    assert "importing bad raised ZeroDivisionError" in done.err and "segue/" not in done.err
    (terminal.folder / "worse.py").write_text("import nowhere_to_be_found\n")
    done = terminal.segue("run", "worse:flow")
    assert done.code == 6 and "importing worse raised ModuleNotFoundError: No module named 'nowhere" in done.err


def test_debug_shows_every_frame(terminal: Terminal) -> None:
    assert "Traceback" in terminal.segue("run", "shop:none", "--debug").err


def test_the_environment_names_the_database(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:naps", "-i", "0", "--id", "n", env={"SEGUE_DB": "other.db"})
    assert done.code == 0 and (terminal.folder / "other.db").exists() and not terminal.db.exists()
    assert terminal.segue("show", "n", "--db", "other.db").code == 0


def test_an_empty_object_is_no_arguments_where_the_one_parameter_has_a_default(terminal: Terminal) -> None:
    (terminal.folder / "lone.py").write_text(LONE)
    for flow, given, out in (
        ("ticks", "{}", "3"), ("ticks", "5", "5"), ("ticks", '{"n": 4}', "4"), ("maps", "{}", "{}"),
    ):  # fmt: skip
        done = terminal.segue("run", f"lone:{flow}", "--input", given)
        assert (done.code, done.out) == (0, f"{out}\n"), (flow, given)
    refused = terminal.segue("run", "lone:needs", "--input", "{}")
    assert refused.code == 2 and "argument 'n'" in refused.err


LONE = """
from segue import flow

@flow
async def ticks(n: int = 3) -> int:
    return n

@flow
async def maps(of: dict[str, int] | None = None) -> dict[str, int] | None:
    return of

@flow
async def needs(n: int) -> int:
    return n
"""


def test_a_detached_run_is_recorded_and_left_to_the_next_process(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:total", "--input", '{"items": ["ab"]}', "--id", "t1", "--detach")
    assert (done.code, done.out) == (0, "t1\n") and "segue resume t1" in done.err
    assert terminal.state("t1") == "queued" and terminal.calls() == []
    assert terminal.segue("resume", "t1").out == "200\n"


def test_a_detached_run_and_fork_are_told_in_json(terminal: Terminal) -> None:
    items = ["--input", '{"items": ["ab"]}']
    done = terminal.segue("run", "shop:total", *items, "--id", "t1", "--detach", "--json")
    assert (done.code, done.json, done.err) == (0, {"run": "t1", "state": "queued"}, "")
    terminal.segue("resume", "t1")
    fork = terminal.segue("fork", "t1", "--at", "1", "--id", "t2", "--detach", "--json")
    assert (fork.code, fork.json, fork.err) == (0, {"run": "t2", "state": "queued"}, "")
    again = terminal.segue("run", "shop:total", *items, "--id", "t1", "--detach", "--json")
    assert again.json == {"run": "t1", "state": "completed"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["runs", "-n", "-1"], "'--limit'"),
        (["resume", "x", "--patience-s", "-1"], "'--patience-s'"),
        (["signal", "x"], "Missing argument 'NAME'"),
        (["feedback", "x", "5"], "'SCORE'"),
        (["show", "x", "--nope"], "--nope"),
        (["show", "x", "y", "z"], "z"),
        (["nosuch"], "nosuch"),
        (["gc"], "--older-than"),
        (["events", "t1", "--type", "foo"], "--type foo: no such type of event"),
        (["events", "t1", "--type", "step.started"], "step.completed"),
    ],
)
def test_what_cannot_be_read_is_an_error_in_json(terminal: Terminal, words: list[str], says: str) -> None:
    terminal.segue("run", "shop:total", "--input", '{"items": ["ab"]}', "--id", "t1")
    done = terminal.segue(*words, "--json")
    error = json.loads(done.err)["error"]
    assert (done.code, done.out, error["exit"]) == (2, "", 2)
    assert says in error["message"] + error["remedy"] and error["remedy"]
    in_words = terminal.segue(*words)
    assert (in_words.code, in_words.out) == (2, "") and "✗" in in_words.err and "  do  " in in_words.err


def test_events_of_a_type_or_of_its_first_word(terminal: Terminal) -> None:
    terminal.segue("run", "shop:total", "--input", '{"items": ["ab"]}', "--id", "t1")
    for kind, count in (("step", 1), ("step.completed", 1), ("run", 3), ("timer", 0)):
        done = terminal.segue("events", "t1", "--type", kind)
        assert (done.code, len(done.out.splitlines())) == (0, count), kind


def test_what_resume_cannot_import_is_an_error_in_json(terminal: Terminal) -> None:
    terminal.segue("run", "shop:total", "--input", '{"items": ["ab"]}', "--id", "t1", "--detach")
    (terminal.folder / "shop.py").write_text("")
    done = terminal.segue("resume", "--json")
    assert done.code == 6 and [r["id"] for r in done.json] == ["t1"]
    assert json.loads(done.err)["error"]["code"] == "unknown-flow"


def test_resume_of_a_run_that_another_process_has_is_told_in_json(terminal: Terminal) -> None:
    terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: terminal.has("g1", "step.completed", "price%"))
    done = terminal.segue("resume", "g1", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {"run": "g1", "state": "running", "sent": False, "taken": True, "attended": True}


def test_a_failed_run_is_an_error_in_json(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:broken", "--input", '"pen"', "--id", "b1", "--json")
    told = json.loads(done.err.splitlines()[-1])
    assert (done.code, done.out, told["error"]["code"], told["status"]["state"]) == (1, "", "failed", "failed")
    assert told["error"]["message"]
    assert told["error"]["remedy"] == "look at it: segue show b1" and "key" not in told["error"]


FAILS = """
from segue import flow, step


@step
async def an_object() -> object:
    return object()


@flow
async def fails() -> None:
    await an_object()
"""


def test_the_json_of_a_failed_run_names_the_call_and_what_to_do(terminal: Terminal) -> None:
    (terminal.folder / "failing.py").write_text(FAILS)
    done = terminal.segue("run", "failing:fails", "--id", "f1", "--json")
    error = json.loads(done.err.splitlines()[-1])["error"]
    assert (error["run"], error["key"], error["exit"]) == ("f1", "an_object[b4b8bf78e9ad]#1", 1)
    assert error["remedy"].startswith("return a pydantic model") and error["remedy"].endswith(
        "look at it: segue show f1"
    )


def test_a_pause_and_a_resume_while_nobody_runs_it(terminal: Terminal) -> None:
    assert terminal.segue("run", "shop:total", "--input", '{"items": ["ab"]}', "--id", "t1", "--detach").code == 0
    assert terminal.segue("pause", "t1").code == 0
    assert terminal.segue("resume", "t1").out == "200\n"


def test_what_comes_on_stdin_and_is_no_json_is_said_to_be_so(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:total", "-i", "-", stdin="{")
    assert (done.code, done.out) == (2, "")
    assert "pipe JSON into the command" in done.err

"""The pure parts of the command line: words, keys, stories, tracebacks, what is typed."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import main as typer_main

from segue.cli import inputs, main, words
from segue.cli.answered import arguments
from segue.cli.faults import users_trace
from segue.cli.story import Stand, Story, parts
from segue.cli.summed import line_of_summary
from segue.config import database_option
from segue.core.codec import dumps
from segue.core.events import Event, EventType
from segue.core.keys import Scope
from segue.core.shell import command, naming
from segue.core.short import resolve, short_key
from segue.errors import InputError

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"), (0.0124, "12 ms"), (0.9996, "1.0 s"), (59.94, "59.9 s"), (59.96, "1 min"), (125, "2 min 5 s"),
        (3599.9, "1 h"), (11520, "3 h 12 min"), (90_000, "1 d 1 h"), (-3, "0 ms"),
    ],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_longer_time_never_reads_as_a_shorter_one(a: float, b: float) -> None:
    def read(said: str) -> float:
        units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
        found = said.split()
        return sum(float(n) * units[u] for n, u in zip(found[::2], found[1::2], strict=True))

    short, long = sorted((a, b))
    assert read(words.duration(short)) <= read(words.duration(long))


def test_times_are_as_long_as_they_must_be() -> None:
    assert len(words.clock(NOW, NOW)) == 8 and len(words.clock(NOW, NOW + 86400 * 400)) == 16
    assert words.clock(1e300, NOW).startswith("9999-12-3")
    assert words.due(1e300, NOW) == "after the year 9999"
    assert words.until(1e300, NOW) == "after the year 9999"
    assert (words.until(NOW + 200, NOW), words.until(NOW - 5, NOW)) == ("in 3 min", "now")
    assert words.due(NOW + 90, NOW).startswith("in 1 min 30 s (") and words.due(NOW - 90, NOW) == "due since 1 min"
    assert (words.age(0.5), words.ago(0.5), words.ago(7200)) == ("now", "just now", "2 h ago")


@given(st.text())
def test_nothing_that_is_printed_can_steer_the_terminal(text: str) -> None:
    assert all(c == "\n" or c.isprintable() or ord(c) > 159 for c in words.harmless(text))
    assert words.printable(text).isprintable()
    assert len(words.value(json.dumps(text).encode(), 40)) <= 40


def test_secrets_are_masked_wherever_values_are_shown() -> None:
    sealed = b'{"a":{"$sealed":{"data":"xyz"}}}'
    assert "xyz" not in words.value(sealed) + words.pretty(sealed) and "•••" in words.value(sealed)


def test_commands_can_be_copied() -> None:
    with naming(["--db", "my db.sqlite"]):
        said = command("signal", "a b", "it's")
        assert command("show", "RUN", "--db", "other.db") == "segue show RUN --db other.db", "it is named once"
    assert shlex.split(said) == ["segue", "signal", "a b", "it's", "--db", "my db.sqlite"]
    assert command("show", "r1") == "segue show r1"


def test_a_database_is_named_unless_it_is_the_one_that_is_used_anyhow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGUE_DB", raising=False)
    assert database_option("segue.db") == []
    assert database_option("my db") == ["--db", "my db"]
    monkeypatch.setenv("SEGUE_DB", "my db")
    assert database_option("my db") == []


names = st.text(st.characters(categories=["L", "N"], include_characters="_-. "), min_size=1, max_size=6)
idents = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="[]"), min_size=1, max_size=14)


@given(st.lists(st.tuples(names, st.none() | idents, st.sampled_from(["", "gather#1/3", "map#2/a b"])), max_size=12))
def test_a_shown_key_leads_back_to_its_call(calls: list[tuple[str, str | None, str]]) -> None:
    scopes: dict[str, Scope] = {}
    made = [scopes.setdefault(s, Scope(f"{s}/" if s else "")).key(name, ident) for name, ident, s in calls]
    for key in made:
        assert resolve(key, made, what="call", run="r") == key
        assert "/".join(parts(key)) == key
        shown = short_key(key)
        if sum(short_key(k) == shown for k in made) == 1 and shown not in made:
            assert resolve(shown, made, what="call", run="r") == key


def test_keys_are_found_by_less_than_the_whole() -> None:
    known = ["gather#1/0/fetch[0123456789ab]#1", "gather#1/1/fetch[ba9876543210]#1", "pay[o-1]#1", "pay[o-1]#2"]
    found = {
        given: resolve(given, known, what="step", run="r") for given in ("1/fetch", "fetch[0123", "pay[o-1]", "ba98")
    }
    assert found == {"1/fetch": known[1], "fetch[0123": known[0], "pay[o-1]": known[2], "ba98": known[1]}
    assert resolve("none", known, what="step", run="r") is None
    assert resolve("pay#1", ["pay#12"], what="step", run="r") is None, "a whole key is no beginning of another"
    with pytest.raises(InputError, match="'fetch' fits 2 steps"):
        resolve("fetch", known, what="step", run="r")


@pytest.mark.parametrize(
    ("key", "cut"),
    [
        ("fetch[a/b]#1", ["fetch[a/b]#1"]),
        ("gather#1/0/fetch#1", ["gather#1", "0", "fetch#1"]),
        ("map#1/https://x.y/z/fetch[1]#2", ["map#1", "https://x.y/z", "fetch[1]#2"]),
        ("map#1/a/gather#1/2/f#1", ["map#1", "a", "gather#1", "2", "f#1"]),
    ],
)
def test_a_key_is_cut_at_its_scopes(key: str, cut: list[str]) -> None:
    assert parts(key) == cut


def event(
    seq: int, type_: str, key: str | None = None, *, epoch: int = 1, value: bytes | None = None, **body: object
) -> Event:
    return Event(1, seq, epoch, NOW + seq, type_, key=key, attempt=1, body=dumps(body), value=value)


JOURNAL = [
    event(1, EventType.RUN_ACCEPTED, flow="m:f"),
    event(2, EventType.RUN_STARTED),
    event(3, EventType.ATTEMPT_STARTED, "a#1"),
    event(4, EventType.ATTEMPT_FAILED, "a#1", fault={"kind": "bug", "error": "m:E", "message": "no"}, retry_at=NOW + 9),
    event(5, EventType.TIMER_SET, "sleep#1", due_at=NOW + 60, why="sleep"),
    event(6, EventType.CHILD_STARTED, "c#1", run="r/c#1", flow="m:c"),
    event(7, EventType.ATTEMPT_STARTED, "a#1"),
    event(8, EventType.RUN_STARTED, epoch=2),
    event(9, EventType.STEP_COMPLETED, "a#1", epoch=2, value=b"1"),
    event(10, EventType.SIGNAL_RECEIVED, "go", epoch=2, value=b"true", by="ann"),
    event(11, EventType.RUN_PARKED, epoch=2, waits_on=[{"child": "r/c#1", "key": "c#1"}]),
]


def stands(upto: int) -> dict[str, str]:
    story = Story()
    for one in JOURNAL[:upto]:
        story.add(one)
    return {key: call.stand for key, call in story.calls.items()}


def test_a_story_follows_each_call() -> None:
    seen = [stands(n).get("a#1") for n in range(3, 10)]
    assert seen == [Stand.RUNNING, Stand.RETRYING, Stand.RETRYING, Stand.RETRYING, Stand.RUNNING, Stand.INTERRUPTED,
                    Stand.DONE]  # fmt: skip
    assert stands(11) == {"a#1": "done", "sleep#1": "waiting", "c#1": "running", "go@10": "done"}


def test_a_story_knows_what_the_run_waits_for_until_it_moves() -> None:
    story = Story()
    for one in JOURNAL:
        story.add(one)
    assert story.waits == [{"child": "r/c#1", "key": "c#1"}] and story.starts == 2
    story.add(event(12, EventType.RUN_STARTED, epoch=3))
    assert story.waits == []


def test_a_users_traceback_has_no_frames_of_ours() -> None:
    house = words.__file__.rpartition("/cli/")[0]
    text = (
        'Traceback (most recent call last):\n  File "/app/mine.py", line 3, in f\n    g()\n'
        f'  File "{house}/runtime/step.py", line 9, in _run\n    await future\n    ^^^^^\n'
        '  File "/app/mine.py", line 7, in g\n    raise E\nmine.E: said\nwith two lines'
    )
    assert users_trace(text).splitlines() == [
        "Traceback (most recent call last):", '  File "/app/mine.py", line 3, in f', "    g()",
        '  File "/app/mine.py", line 7, in g', "    raise E", "mine.E: said", "with two lines",
    ]  # fmt: skip


@pytest.mark.parametrize("pair", ["pay[a=b]#1=3", "pay=3", "gather#1/0/pay[x]#1=3"])
def test_a_pair_is_cut_at_the_outer_equals_sign(pair: str) -> None:
    assert inputs.read_pairs([pair], "--result") == {pair[:-2]: 3}


@pytest.mark.parametrize("pair", ["", "none", "=", "=3", "[a=3]"])
def test_a_pair_without_a_key_or_an_equals_sign_is_refused(pair: str) -> None:
    with pytest.raises(InputError):
        inputs.read_pairs([pair], "--result")


def test_only_the_command_that_is_called_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert built(monkeypatch, "show", "--help") == ["show"]
    assert len(built(monkeypatch, "--help")) > 20, "the others are there still"
    assert len(built(monkeypatch, "shwo")) > 20, "a mistake is told by what there is"


def built(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """The commands whose signatures are read to carry these words out."""
    names: list[str] = []
    build = typer_main.get_command_from_info

    def noted(command_info: Any, **how: Any) -> Any:
        names.append(command_info.name)
        return build(command_info, **how)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(typer_main, "get_command_from_info", noted)
        main(list(words))
    return names


def test_what_became_of_the_older_turns_of_a_thread_is_told_and_not_its_record() -> None:
    room: dict[str, Any] = {
        "upto": 0, "text": "", "work": {}, "made_of": [], "since": 0, "tokens": 0, "covered": 0, "model": "", "goal": 0,
        "children": {}, "wrong": "", "failed": 0,
    }  # fmt: skip

    def told(key: str = "compact[0123456789ab]#1", **more: Any) -> str | None:
        line = line_of_summary(key, dumps(room | more), 80)
        return None if line is None else line.plain

    made = {"upto": 40, "text": 'She said "no".', "covered": 12_400, "model": "small"}
    assert told(**made) == r'small  turns up to 40, 12,400 tokens  "She said \"no\"."'
    assert told(wrong="RunFailed: no\x1b[31m answer") == "not summed up: RunFailed: no [31m answer"
    assert told(upto=40, children={"a": "pays"}) == "summed up before, to turn 40, 1 other run in flight"
    assert told() == "nothing to sum up"
    assert line_of_summary("compact[0123456789ab]#1", b"null", 80) is not None
    assert told("mine[0123456789ab]#1") is None
    assert line_of_summary("compact[0123456789ab]#1", b'{"upto": 3}', 80) is None  # a step of the flow's own


def test_of_a_question_its_empty_fields_are_not_shown() -> None:
    question = {"prompt": "Sort it.", "parts": [], "system": "", "budget_usd": 0.0, "must_call": False, "schema": None}
    args = dumps({"question": question, "media": None, "turns": []})
    assert json.loads(arguments("a/ask[0123456789ab]#1", args)) == {
        "question": {"prompt": "Sort it.", "budget_usd": 0.0}
    }
    assert json.loads(arguments("pay[0123456789ab]#1", args)) == json.loads(args)

"""Users' mistakes: each gives an error that names the run, the key and what to do; no run is left half-written."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import traceback
import typing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import segue
from segue import Engine, flow, sleep, step, wait_for
from segue.core.codec import codec
from segue.errors import (
    DefinitionError,
    DuplicateRun,
    EngineClosed,
    InputError,
    RunEnded,
    RunFailed,
    SegueError,
    Undecodable,
    UnknownFlow,
    UnserialisableResult,
)
from tests.behaviour.world import World, events_of, in_state, kinds_of

SRC = Path(segue.__file__).parent


@step
async def fine(n: int = 1) -> int:
    return n


@step
async def an_object() -> Any:
    return threading.Lock()


@step
def an_open_file() -> Any:
    return StringIO("a line")


@step
async def wrong_type() -> int:
    return "many"  # type: ignore[return-value]


@step
async def not_a_number() -> float:
    return float("nan")


@step
async def infinite_inside() -> dict[str, list[float]]:
    return {"a": [float("inf")]}


@step
async def surrogate() -> str:
    return "\ud800"


def cycle() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["it"] = made
    return made


@step
async def a_cycle() -> Any:
    return cycle()


@step
async def a_typed_cycle() -> dict[str, Any]:
    return cycle()


@step
async def takes_anything(it: Any) -> None: ...


@step
async def typed(n: int) -> int:
    return n


@step
async def texted(text: str) -> int:
    return len(text)


def flows() -> dict[str, tuple[Any, type[BaseException], str]]:
    """By name: a flow, the error that ends it, and what its message must say."""

    @flow
    async def unserialisable() -> None:
        await an_object()

    @flow
    async def returns_a_file() -> None:
        await an_open_file()

    @flow
    async def wrong_result() -> None:
        await wrong_type()

    @flow
    async def nan() -> None:
        await not_a_number()

    @flow
    async def inf() -> None:
        await infinite_inside()

    @flow
    async def bad_text() -> None:
        await surrogate()

    @flow
    async def bad_text_argument() -> None:
        await texted("\ud800")

    @flow
    async def wrong_argument() -> None:
        await typed("three")  # type: ignore[arg-type]

    @flow
    async def missing_argument() -> None:
        await typed()  # type: ignore[call-arg]

    @flow
    async def negative_timeout() -> None:
        async with segue.timeout(-1):
            await fine()

    @flow
    async def nan_sleep() -> None:
        await sleep(float("nan"))

    @flow
    async def sleeps_a_text() -> None:
        await sleep("abc")  # type: ignore[arg-type]

    @flow
    async def sleeps_for_ever() -> None:
        await sleep(10**400)

    @flow
    async def times_out_by_a_text() -> None:
        await wait_for("x", timeout_s="soon")  # type: ignore[call-overload]

    @flow
    async def waits_for_a_number() -> None:
        await wait_for(5)  # type: ignore[call-overload]

    @flow
    async def holds_itself() -> None:
        await a_cycle()

    @flow
    async def holds_itself_typed() -> None:
        await a_typed_cycle()

    @flow
    async def gives_what_holds_itself() -> None:
        await takes_anything(cycle())

    @flow
    async def returns_what_holds_itself() -> Any:
        return cycle()

    @flow
    async def asyncio_timeout() -> None:
        async with asyncio.timeout(1):
            await fine()

    @flow
    async def asyncio_wait_for() -> None:
        await asyncio.wait_for(asyncio.ensure_future(fine()), 1)

    @flow
    async def asyncio_sleep() -> None:
        await asyncio.sleep(1)

    @flow
    async def in_a_thread() -> None:
        await asyncio.to_thread(print)

    @flow
    async def opens_a_socket() -> None:
        await asyncio.open_connection("127.0.0.1", 1)

    @flow
    async def deadlocked() -> None:
        await fine()
        await asyncio.Event().wait()

    @flow
    async def deadlocked_at_once() -> None:
        await asyncio.get_running_loop().create_future()

    @flow
    async def spinning() -> None:
        await fine()
        while True:
            await asyncio.sleep(0)

    @flow
    async def wrong_flow_result() -> int:
        return "many"  # type: ignore[return-value]

    @flow
    async def bad_limit() -> None:
        await segue.gather(fine(), fine(), limit=0)

    @flow
    async def limited_by_a_text() -> None:
        await segue.gather(fine(), fine(), limit="two")  # type: ignore[arg-type]

    @flow
    async def detaches_a_step() -> None:
        await segue.detach(fine)  # type: ignore[call-overload]

    return {
        "unserialisable": (unserialisable, UnserialisableResult, "return a pydantic model"),
        "returns_a_file": (returns_a_file, UnserialisableResult, "read it, and take what it says"),
        "wrong_result": (wrong_result, UnserialisableResult, "stored as int"),
        "nan": (nan, UnserialisableResult, "float"),
        "inf": (inf, UnserialisableResult, "dict"),
        "bad_text": (bad_text, UnserialisableResult, "str"),
        "bad_text_argument": (bad_text_argument, InputError, "argument 'text'"),
        "wrong_argument": (wrong_argument, InputError, "argument 'n' is no int"),
        "missing_argument": (missing_argument, InputError, "its signature is typed"),
        "negative_timeout": (negative_timeout, InputError, "no time to wait"),
        "nan_sleep": (nan_sleep, InputError, "no time to wait"),
        "sleeps_a_text": (sleeps_a_text, InputError, "segue.sleep: 'abc' is no time to wait"),
        "sleeps_for_ever": (sleeps_for_ever, InputError, "no time to wait"),
        "times_out_by_a_text": (times_out_by_a_text, InputError, "segue.wait_for: 'soon' is no time to wait"),
        "waits_for_a_number": (waits_for_a_number, InputError, "5 is no name of a signal"),
        "holds_itself": (holds_itself, UnserialisableResult, "it holds itself"),
        "holds_itself_typed": (holds_itself_typed, UnserialisableResult, "it holds itself"),
        "gives_what_holds_itself": (gives_what_holds_itself, InputError, "argument 'it' is no"),
        "returns_what_holds_itself": (returns_what_holds_itself, UnserialisableResult, "it holds itself"),
        "asyncio_timeout": (asyncio_timeout, SegueError, "segue.timeout"),
        "asyncio_wait_for": (asyncio_wait_for, SegueError, "segue.timeout"),
        "asyncio_sleep": (asyncio_sleep, SegueError, "segue.sleep"),
        "in_a_thread": (in_a_thread, SegueError, "@step"),
        "opens_a_socket": (opens_a_socket, SegueError, "@step"),
        "deadlocked": (deadlocked, SegueError, "nobody in the flow will ever set"),
        "deadlocked_at_once": (deadlocked_at_once, SegueError, "nobody in the flow will ever set"),
        "spinning": (spinning, SegueError, "without waiting for a durable call"),
        "wrong_flow_result": (wrong_flow_result, UnserialisableResult, "stored as int"),
        "bad_limit": (bad_limit, InputError, "a whole number from 1"),
        "limited_by_a_text": (limited_by_a_text, InputError, "limit='two'"),
        "detaches_a_step": (detaches_a_step, UnknownFlow, "'fine' is no flow"),
    }


@pytest.mark.parametrize("name", sorted(flows()))
async def test_a_mistake_in_a_flow(world: World, name: str) -> None:
    made, kind, says = flows()[name]
    async with world.engine() as engine:
        run = await engine.start(made, id=f"r-{name}")
        with pytest.raises(RunFailed) as caught:
            await asyncio.wait_for(run.result(), 50)
        cause = caught.value.__cause__
        assert isinstance(cause, kind), repr(cause)
        assert says in str(cause), str(cause)
        assert f"r-{name}" in str(caught.value)
        assert "do: " in str(cause) + str(caught.value)
        assert (await run.status()).state == "failed"
        assert (await kinds_of(run))[-1] == "run.failed"
    async with world.engine() as engine:
        with pytest.raises(RunFailed) as caught:
            await (await engine.get(f"r-{name}")).result()
        assert isinstance(caught.value.__cause__, kind), "the same error, read from the journal"


async def test_a_step_and_its_run_are_named(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed) as caught:
            await engine.run(flows()["unserialisable"][0], id="r")
    text = str(caught.value.__cause__)
    assert "run r" in text
    assert "an_object[" in text
    assert (caught.value.key or "").startswith("an_object[") and caught.value.key in str(caught.value)


@step
async def not_there(what: str) -> str:
    raise LookupError(what)


@flow
async def lacks(what: str) -> str:
    return await not_there(what)


@flow
async def its_child_lacks(what: str) -> str:
    return await lacks(what)


@flow
async def raises_itself(what: str) -> str:
    raise LookupError(what)


async def test_a_failed_run_names_the_call_that_it_failed_in(world: World) -> None:
    async with world.engine() as engine:
        for each in (lacks, its_child_lacks, raises_itself):
            with pytest.raises(RunFailed):
                await engine.run(each, "this", id=each.__name__)
    async with world.engine() as engine:
        keys: dict[str, str | None] = {}
        for each in (lacks, its_child_lacks, raises_itself):
            with pytest.raises(RunFailed) as caught:
                await (await engine.get(each.__name__)).result()
            keys[each.__name__] = caught.value.key
    assert (keys["lacks"] or "").startswith("not_there[")
    assert (keys["its_child_lacks"] or "").startswith("lacks["), "the call of this run, not one of its child's"
    assert keys["raises_itself"] is None


@pytest.mark.parametrize("name", ["", " "])
async def test_a_signal_without_a_name_is_refused(world: World, name: str) -> None:
    @flow(name="waits_for_nothing")
    async def waits_for_nothing(name: str) -> None:
        await wait_for(name)

    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="is no name of a signal"):
            await engine.run(waits_for_nothing, name)
        run = await engine.start(waits_for_nothing, "x")
        with pytest.raises(InputError, match="is empty"):
            await run.signal(name)
        await run.signal("x")
        await run.result()


async def test_an_argument_that_does_not_fit_names_the_call(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed) as caught:
            await engine.run(flows()["wrong_argument"][0], id="r")
        with pytest.raises(InputError, match="takes_a_number: argument 'n' is no int"):
            await engine.start(takes_a_number, "x")
    cause = caught.value.__cause__
    assert isinstance(cause, InputError) and (cause.run, cause.key) == ("r", "typed")
    assert "typed: argument 'n' is no int" in str(cause)


class Plain(typing.TypedDict):
    n: int


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="it can be read from 3.12 on")
def test_a_typed_dict_of_typing_says_where_the_other_one_is() -> None:
    with pytest.raises(DefinitionError, match="Plain cannot be stored") as refused:
        codec(Plain).ready()
    assert "import TypedDict from typing_extensions" in str(refused.value.remedy)


def test_decorators_say_what_they_need() -> None:
    with pytest.raises(DefinitionError, match="async def"):
        flow(lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(DefinitionError, match="not on"):
        step(int)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="ordinary parameter"):

        @step
        async def loose(*args: int) -> None: ...

    with pytest.raises(DefinitionError, match=r"@step: timeout_s=-1 must be .* greater than 0") as negative:
        step(timeout_s=-1)
    assert "leave it out for no limit" in str(negative.value.remedy)
    with pytest.raises(DefinitionError, match="'once'") as odd:
        step(effect="twice")  # type: ignore[call-overload]
    assert "what must not happen twice" in str(odd.value.remedy)
    with pytest.raises(DefinitionError, match="effect='once'"):
        step(reconcile=fine)
    with pytest.raises(DefinitionError, match="at least 1"):
        segue.Retry(attempts=0)
    with pytest.raises(DefinitionError, match="whole number"):

        @flow(version=0)
        async def zero() -> None: ...


class Unreadable:
    pass


@flow
async def takes_an_object(it: Unreadable) -> None: ...


@flow
async def takes_a_number(n: int) -> int:
    return await fine(n)


@flow
async def takes_a_forward_reference(it: NotThere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


async def test_starting_with_what_does_not_fit(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(InputError, match="argument 'n' is no int") as given:
            await engine.start(takes_a_number, "x", id="r")
        assert given.value.run == "r"
        with pytest.raises(InputError, match="its signature is"):
            await engine.start(takes_a_number, 1, 2)
        with pytest.raises(UnknownFlow, match="decorate it with @flow"):
            await engine.start(fine, 1)  # type: ignore[arg-type]
        with pytest.raises(SegueError, match="Unreadable"):
            await engine.start(takes_an_object, Unreadable())
        with pytest.raises(DefinitionError, match="NotThere"):
            await engine.start(takes_a_forward_reference, 1)
        for bad in ("", " x", "a\nb", "\ud800", "x" * 600):
            with pytest.raises(InputError, match="run id"):
                await engine.start(takes_a_number, 1, id=bad)
        assert await engine.runs() == []


async def test_a_run_that_has_ended_takes_nothing(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(takes_a_number, 1)
        await run.result()
        for tell in (run.signal("x"), run.cancel(), run.pause(), run.resume(), run.override("k", 1)):
            with pytest.raises(RunEnded, match="fork"):
                await tell
        await run.feedback(0.5)
        assert (await kinds_of(run))[-1] == "feedback.given"
        with pytest.raises(InputError, match="between 0 and 1"):
            await run.feedback(2)


@flow
async def waits() -> Any:
    return await wait_for("x")


async def test_a_signal_that_is_no_json(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(waits)
        for payload in (threading.Lock(), float("nan"), {"a": object()}, "\ud800", cycle()):
            with pytest.raises(UnserialisableResult):
                await run.signal("x", payload)
        with pytest.raises(SegueError):
            await run.signal("\ud800", 1)
        with pytest.raises(InputError, match="signal name 5 is no text"):
            await run.signal(5)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="signal id 5 is no text"):
            await run.signal("x", id=5)  # type: ignore[arg-type]
        await run.signal("x", {"a": [1, None]})
        assert await run.result() == {"a": [1, None]}


async def test_an_engine_that_is_closed() -> None:
    engine = Engine("never-opened.db")
    with pytest.raises(EngineClosed, match="async with"):
        await engine.start(takes_a_number, 1)
    with pytest.raises(InputError, match="capacity"):
        Engine("x.db", capacitance=3)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("capacity", (0, -1, 1.5, "9", True, None)),
        ("resident", (-1, "x")),
        ("crash_limit", (0, -1)),
        ("step_threads", (0, -1)),
        ("heartbeat_s", (0, -1, "9", None, float("nan"), float("inf"))),
        ("tick_s", (0, -0.1)),
        ("linger_s", (-1, float("nan"))),
        ("lock_timeout_s", (-1,)),
    ],
)
def test_an_engine_with_an_option_that_cannot_be(option: str, wrong: tuple[Any, ...]) -> None:
    for value in wrong:
        with pytest.raises(InputError, match=rf"Engine\({option}=") as caught:
            Engine("x.db", **{option: value})
        assert caught.value.remedy
        assert option in caught.value.remedy
    assert not Path("x.db").exists()


class Fancy(BaseModel):
    socket: Any


@step
async def fancy() -> Fancy:
    return Fancy(socket=socket.AF_INET)


@flow
async def returns_fancy() -> Fancy:
    return await fancy()


async def test_what_json_makes_of_it_is_what_the_flow_sees(world: World) -> None:
    """Live and replayed: not an enum now and a number after the first crash."""
    async with world.engine() as engine:
        run = await engine.start(returns_fancy)
        live = await run.result()
        assert type(live.socket) is int
        assert await (await run.fork()).result() == live


# tracebacks


@step
async def explodes(n: int) -> int:
    return 1 // n


async def helper(n: int) -> int:
    return await explodes(n)


@flow
async def goes_wrong(n: int) -> int:
    return await helper(n)


@flow
async def goes_wrong_in_a_branch(n: int) -> list[int]:
    return await segue.gather(fine(), goes_wrong.function(n))


@step
def explodes_in_a_thread(n: int) -> int:
    return 1 // n


@flow
async def goes_wrong_in_a_thread(n: int) -> int:
    return await explodes_in_a_thread(n)


@pytest.mark.parametrize("made", [goes_wrong, goes_wrong_in_a_branch, goes_wrong_in_a_thread], ids=lambda f: f.short)
async def test_at_most_five_frames_of_ours_stand_in_a_traceback(world: World, made: Any) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed) as caught:
            await engine.run(made, 0)
    error: BaseException | None = caught.value
    frames: list[traceback.FrameSummary] = []
    while error is not None:
        frames += traceback.extract_tb(error.__traceback__)
        error = error.__cause__
    ours = [f"{f.name} ({Path(f.filename).name})" for f in frames if Path(f.filename).is_relative_to(SRC)]
    assert len(ours) <= 5, ours
    names = [f.name for f in frames]
    assert any(n.startswith("explodes") for n in names), names
    assert made.short in names
    shown = "".join(traceback.format_exception(caught.value))
    assert "1 // n" in shown
    assert f"run {caught.value.run}" in shown


async def test_a_flow_may_be_cancelled_while_it_starts(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(waits)
        await run.cancel()
        await in_state(run, "cancelled")


@flow
async def has_an_id(id: str) -> str:
    return id


async def test_a_parameter_that_is_called_id_is_passed_by_position(world: World) -> None:
    async with world.engine() as engine:
        assert await engine.run(has_an_id, "a", id="r") == "a"
        with pytest.raises(InputError, match="by position"):
            await engine.run(has_an_id, id="a")
        run = await engine.begin(has_an_id, (), {"id": "b"}, id="s")
        assert await run.result() == "b"


async def test_a_run_id_is_a_text(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(InputError, match="run id 5"):
            await engine.start(has_an_id, "a", id=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"retry": 3}, {"timeout_s": "3"}, {"timeout_s": -1}])
def test_a_wrong_option_is_refused_where_the_step_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        step(**options)


class Holder:
    @staticmethod
    async def alone(x: int) -> int:
        return x

    async def method(self, x: int) -> int:
        return x


@pytest.mark.parametrize("made", [step, flow])
def test_a_method_is_refused_and_a_bound_one_is_not(made: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Holder\.method is a method") as refused:
        made(Holder.method)
    assert "a function that is given what it needs" in refused.value.remedy
    assert made(Holder.alone).name and made(Holder().method).name


async def test_a_text_that_utf8_cannot_carry_says_what_to_do(world: World) -> None:
    @flow
    async def texts() -> None:
        await surrogate()

    async with world.engine() as engine:
        with pytest.raises(RunFailed) as failed:
            await engine.run(texts)
    assert "decode bytes with errors='replace'" in str(getattr(failed.value.__cause__, "remedy", ""))


def test_a_step_that_yields_is_refused() -> None:
    async def yields() -> Any:
        yield 1

    with pytest.raises(DefinitionError, match="yields"):
        step(yields)


async def test_the_same_signal_again_is_no_new_one_after_the_end_either(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(waits_for_a_word, id="w")
        assert await run.signal("word", "x", id="one")
        assert await run.result() == "x"
        assert not await run.signal("word", "x", id="one")
        with pytest.raises(RunEnded):
            await run.signal("word", "x", id="two")


@flow
async def waits_for_a_word() -> str:
    return await segue.wait_for("word", returns=str)


@pytest.mark.parametrize("id", [7, None, b"seven"])
async def test_a_run_is_got_by_its_id_alone(world: World, id: Any) -> None:
    """Not by the number of its row, which is another run's."""
    async with world.engine() as engine:
        await engine.start(plain, 1, id="1")
        with pytest.raises(InputError, match="is no text"):
            await engine.get(id)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"at": True}, "no key of a step"), ({"at": 1.5}, "no key of a step"), ({"input": [1]}, "not a mapping"),
        ({"results": ["x#1"]}, "not a mapping"), ({"results": {"thrice": 1}}, "'thrice' is no key of a call"),
    ],
)  # fmt: skip
async def test_a_fork_at_or_with_what_cannot_be_meant(world: World, how: dict[str, Any], says: str) -> None:
    async with world.engine() as engine:
        run = await engine.start(plain, 1, id="r")
        await run.result()
        with pytest.raises(InputError, match=says):
            await run.fork(**how)
        assert len(await engine.runs()) == 1


@pytest.mark.parametrize("score", ["good", None, float("nan"), 2])
async def test_feedback_that_is_no_score(world: World, score: Any) -> None:
    async with world.engine() as engine:
        run = await engine.start(plain, 1)
        with pytest.raises(InputError, match="is not between 0 and 1"):
            await run.feedback(score)


@flow
async def thrice_and_waits() -> Any:
    for n in range(3):
        await numbered(n)
    return await wait_for("x")


@step
async def numbered(n: int) -> int:
    return n


async def test_feedback_on_a_step_that_there_is_not_names_those_that_there_are(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(thrice_and_waits, id="r")
        await run.signal("x", 1)
        await run.result()
        for wrong in ("numbred", "numbered[ffffffffffff]#1", "no such step"):
            with pytest.raises(InputError, match=r"the run has no step .*; its steps: .*numbered\[") as refused:
                await run.feedback(0.5, key=wrong)
            assert (refused.value.run, refused.value.key) == ("r", wrong)
            assert "segue show r" in str(refused.value)
        assert "feedback.given" not in await kinds_of(run)
        key = next(e.key for e in await events_of(run) if e.type == "step.completed")
        await run.feedback(0.5, key=key)
        await run.feedback(1.0)
        assert (await kinds_of(run)).count("feedback.given") == 2


async def test_feedback_on_a_step_that_is_on_its_way_is_taken(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(waits, id="r")
        with pytest.raises(InputError, match="the run has no step 'nothing'"):
            await run.feedback(0.5, key="nothing")
        await run.feedback(0.5, key="soon[0123456789ab]#1")
        await run.signal("x", 1)
        await run.result()
        assert "feedback.given" in await kinds_of(run)


async def test_a_payload_that_is_no_json_names_the_run(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(plain, 1, id="r")
        with pytest.raises(UnserialisableResult) as refused:
            await run.signal("go", object())
        assert refused.value.run == "r"


@flow
async def gathers(how: str) -> Any:
    branches: list[Any] = {"uncalled": [twice], "a list": [[1, 2]], "a value": [3]}[how]
    return await segue.gather(*branches, twice(1))


@pytest.mark.parametrize(("how", "says"), [("uncalled", "branch 0"), ("a list", "[1, 2]"), ("a value", "but 3")])
async def test_a_branch_that_is_no_call_is_named(world: World, how: str, says: str) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed, match="is no awaitable") as failed:
            await engine.run(gathers, how)
        assert says in str(failed.value)


@step
async def twice(n: int) -> int:
    return 2 * n


@flow
async def plain(n: int) -> int:
    return await twice(n)


async def test_an_id_is_one_tenants(world: World) -> None:
    async with world.engine() as engine:
        await engine.start(plain, 1, id="r", tenant="acme")
        with pytest.raises(DuplicateRun, match="another tenant"):
            await engine.start(plain, 1, id="r", tenant="other")
        tenants: list[Any] = ["", 7, None]
        for tenant in tenants:
            with pytest.raises(InputError, match="tenant"):
                await engine.start(plain, 1, tenant=tenant)


def versions() -> tuple[Any, Any]:
    """A flow whose result has another type in its second version."""

    @flow(name="counted", version=1, revision="1")
    async def first() -> int:
        return 5

    @flow(name="counted", version=2, revision="2")
    async def second() -> list[str]:
        return ["five"]

    return first, second


async def test_a_result_is_read_by_the_version_that_made_it(world: World) -> None:
    async with world.engine() as engine:
        first, second = versions()
        assert await (await engine.start(first, id="a")).result() == 5
        assert await (await engine.start(second, id="b")).result() == ["five"]
        assert await (await engine.get("a")).result() == 5
        assert await (await engine.get("b")).result() == ["five"]


async def test_a_result_of_another_type_than_today_s_is_undecodable(world: World) -> None:
    async with world.engine() as engine:
        first, _ = versions()
        await (await engine.start(first, id="a")).result()

        @flow(name="counted", version=1, revision="1b")
        async def changed() -> list[str]:
            return ["five"]

        assert changed.version == 1
        with pytest.raises(Undecodable, match=r"(?s)does not fit today.s type.*segue show a"):
            await (await engine.get("a")).result()


@flow
async def calls_its_cleanup(what: str) -> None:
    if what == "call":
        segue.cleanup(dies_not(1))  # pyright: ignore[reportArgumentType, reportCallIssue]  what users write
    segue.cleanup(5)  # pyright: ignore[reportArgumentType, reportCallIssue]  see above


@step
async def dies_not(n: int) -> int:
    return n


@pytest.mark.parametrize("what", ["call", "number"])
async def test_a_cleanup_that_is_no_function_is_refused_where_it_is_given(world: World, what: str) -> None:
    async with world.engine() as engine:
        with pytest.raises(RunFailed) as failed:
            await engine.run(calls_its_cleanup, what, id="c")
        cause = failed.value.__cause__
        assert isinstance(cause, InputError)
        assert (cause.run, "uncalled" in (cause.remedy or "")) == ("c", True)


def test_a_key_of_a_call_is_a_text() -> None:
    with pytest.raises(DefinitionError, match=r"dies_not: key=5 is no text") as refused:
        dies_not.using(key=5)  # pyright: ignore[reportArgumentType]  what users write
    assert refused.value.remedy == "give a text: key='5'"


@flow
async def gives_advice() -> None:
    raise InputError("nothing is asked", remedy="give a prompt")


async def test_a_failed_run_carries_its_causes_remedy_and_names_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGUE_DB", raising=False)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-away.db"
    for path, named in (("answers.db", " --db answers.db"), ("segue.db", ""), (elsewhere, f" --db {elsewhere}")):
        async with Engine(str(path)) as engine:
            with pytest.raises(RunFailed) as failed:
                await engine.run(gives_advice, id="r")
            assert str(failed.value).endswith(f"do: give a prompt; look at it: segue show r{named}")
            with pytest.raises(RunFailed) as plain:
                await engine.run(fails_plainly, id="p")
            assert str(plain.value).endswith(f"do: look at it: segue show p{named}")


@flow
async def fails_plainly() -> None:
    raise ValueError("no")


@flow
async def opens_an_engine(path: str) -> None:
    async with Engine(path):
        pass


async def test_an_engine_is_not_opened_inside_of_a_flow(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        with pytest.raises(RunFailed, match="an engine is not opened inside of a flow") as failed:
            await engine.run(opens_an_engine, str(tmp_path / "y.db"))
        assert "detach(child" in str(failed.value)


async def test_a_called_flow_is_named_as_it_is_written(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        called = opens_an_engine("x")
        with pytest.raises(UnknownFlow, match="'opens_an_engine' is no flow"):
            await engine.start(called)  # type: ignore[call-overload]
        called.close()

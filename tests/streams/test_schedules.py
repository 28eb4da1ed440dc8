"""Any schedule of pieces, failures, repairs, crashes and slow consumers: nobody joins two attempts, all end with the
text that is on disk. Pure: a side channel, a journal as a list, consumers that look when the schedule lets them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segue.core.codec import dumps
from segue.core.events import Event, EventType
from segue.core.faults import Fault, FaultKind
from segue.core.records import StreamEnd, StreamFate
from segue.core.streams import Ended, Joined, Piece, Retracted, StreamEvent
from segue.runtime.follower import Follower
from segue.runtime.live import Live

RUN = "r"
FAULT = {"fault": Fault(FaultKind.UNREACHABLE, "x:Y", "gone").body()}
WORDS = ["a", "ß", "🙂 ", "the same ", "end\n"]


@dataclass
class World:
    """A run whose calls stream. Commits are slower than the side channel: `commit` puts what is queued on record."""

    live: Live
    journal: list[Event] = field(default_factory=list[Event])
    queued: list[Event] = field(default_factory=list[Event])
    epoch: int = 1
    n: dict[str, int] = field(default_factory=dict[str, int])
    text: dict[str, str] = field(default_factory=dict[str, str])
    done: dict[str, str] = field(default_factory=dict[str, str])

    def say(self, key: str, word: str, kind: str) -> None:
        if key not in self.done:
            self.live.say(RUN, key, (self.epoch, self.n.setdefault(key, 1)), word, kind)  # type: ignore[arg-type]
            self.text[key] = self.text.get(key, "") + (word if kind == "text" else "")

    def fail(self, key: str) -> None:
        if key in self.done:
            return
        n = self.n.setdefault(key, 1)
        self.live.retract(RUN, key, (self.epoch, n), "unreachable")
        self.put(EventType.ATTEMPT_FAILED, key, n, FAULT)
        self.n[key], self.text[key] = n + 1, ""

    def tidy(self, key: str) -> None:
        """The same attempt begins anew."""
        if key not in self.done and self.text.get(key):
            attempt = (self.epoch, self.n[key])
            self.live.retract(RUN, key, attempt, "tidied")
            self.live.say(RUN, key, attempt, self.text[key].upper())
            self.text[key] = self.text[key].upper()

    def finish(self, key: str) -> None:
        if key in self.done:
            return
        n, text = self.n.setdefault(key, 1), self.text.get(key, "")
        end = StreamEnd(
            epoch=self.epoch, n=n, bytes_total=len(text.encode()), end=StreamFate.COMPLETE, text_at="/said/0"
        )
        self.live.close(RUN, key, (self.epoch, n))
        self.put(EventType.STREAM_ENDED, key, n, end.to_body(), version=2)
        self.put(EventType.STEP_COMPLETED, key, n, value=dumps({"said": [text]}))
        self.done[key] = text

    def crash(self) -> None:
        """The process dies: what was not committed is lost, and so are its streams."""
        lost = {e.key for e in self.queued if e.type == EventType.STEP_COMPLETED}
        self.done = {k: v for k, v in self.done.items() if k not in lost}
        self.queued.clear()
        self.live.drop(RUN)
        self.epoch += 1
        self.text = {}
        self.put(EventType.RUN_STARTED, None, None, {})
        self.commit()

    def put(
        self, kind: str, key: str | None, n: int | None, body: Any = None, *, value: Any = None, version: int = 1
    ) -> None:
        seq = len(self.journal) + len(self.queued) + 1
        packed = None if body is None else dumps(body)
        self.queued.append(Event(1, seq, self.epoch, 0.0, kind, version, key, n, body=packed, value=value))

    def commit(self) -> None:
        self.journal += self.queued
        self.queued.clear()


class Consumer:
    def __init__(self, world: World, *, takes: int):
        self.world, self.follower, self.after, self.takes = world, Follower(), 0, takes
        self.joined, self.heard = Joined(), list[StreamEvent]()

    def look(self, *, at_journal: bool) -> None:
        if at_journal:
            for event in self.world.journal[self.after :]:
                self.after = event.seq
                self.add(list(self.follower.journal(event, self.world.live, RUN)))
        self.add(list(self.follower.live(self.world.live, RUN)))

    def add(self, events: list[StreamEvent]) -> None:
        for event in events:
            self.heard.append(event)
            self.joined.add(event)


KEYS = st.sampled_from(["ask[1]#1", "ask[2]#1"])
ACTS = st.one_of(
    st.tuples(st.just("say"), KEYS, st.sampled_from(WORDS), st.sampled_from(["text", "text", "thinking"])),
    st.tuples(st.sampled_from(["fail", "tidy", "finish"]), KEYS),
    st.tuples(st.sampled_from(["crash", "commit"])),
    st.tuples(st.just("look"), st.integers(0, 2), st.booleans()),
)


@given(st.lists(ACTS, max_size=60), st.sampled_from([1, 256]))
def test_each_consumer_ends_with_what_is_on_disk(acts: list[tuple[Any, ...]], shelf: int) -> None:
    world = World(Live(shelf=shelf))
    consumers = [Consumer(world, takes=n) for n in range(3)]
    for act, *more in acts:
        if act == "look":
            consumers[more[0]].look(at_journal=more[1])
        else:
            getattr(world, act)(*more)
    for key in ("ask[1]#1", "ask[2]#1"):
        world.finish(key)
    world.commit()
    late = Consumer(world, takes=0)
    for consumer in (*consumers, late):
        consumer.look(at_journal=True)
        assert consumer.joined.texts == world.done
        assert consumer.joined.ended == set(world.done)
        assert not any(e.lost for e in consumer.heard if not isinstance(e, Retracted))
        ends = [e.key for e in consumer.heard if isinstance(e, Ended)]
        assert sorted(ends) == sorted(world.done), "each ends once"


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.booleans()), max_size=80))
def test_what_is_no_longer_kept_is_told_as_lost(said: list[tuple[str, bool]]) -> None:
    live, follower, heard = Live(kept=20), Follower(), list[StreamEvent]()
    total = 0
    for word, looks in said:
        live.say(RUN, "k", (1, 1), word * 5_000)
        total += len((word * 5_000).encode())
        if looks:
            heard += follower.live(live, RUN)
    heard += follower.live(live, RUN)
    pieces = [e for e in heard if isinstance(e, Piece)]
    joined = Joined()
    for piece in pieces:
        joined.add(piece)
    assert sum(p.lost + len(p.text.encode()) for p in pieces) == total
    assert sum(len(one.text) for said in live.streams(RUN).values() for one in said._segments) <= 20 + 45_000


def test_a_late_writer_of_an_older_attempt_is_not_heard() -> None:
    live = Live()
    live.say(RUN, "k", (1, 2), "new")
    live.say(RUN, "k", (1, 1), "old")
    assert live.streams(RUN)["k"].text == "new"


def test_what_a_dead_process_said_is_not_heard_once_its_run_goes_on() -> None:
    """Its socket may hold words that nobody had read; told again they were retracted a second time."""
    world = World(Live())
    consumer = Consumer(world, takes=0)
    world.say("ask[1]#1", "old", "text")
    consumer.look(at_journal=True)
    world.epoch += 1
    world.put(EventType.RUN_STARTED, None, None, {})
    world.commit()
    consumer.look(at_journal=True)
    world.live.say(RUN, "ask[1]#1", (1, 1), " and late")
    consumer.look(at_journal=True)
    world.text = {}
    world.say("ask[1]#1", "new", "text")
    world.finish("ask[1]#1")
    world.commit()
    consumer.look(at_journal=True)
    assert [type(event) for event in consumer.heard] == [Piece, Retracted, Piece, Ended]
    assert consumer.joined.texts == {"ask[1]#1": "new"}

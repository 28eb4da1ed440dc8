"""Random histories of a thread, with children, forks, forks of forks, and `gc`, against the rule said plainly.

A fork of a run at an event hears what that run, or what the fork does again of it, read of the thread next; or else all
that had been committed when the run went on. So does a fork of that fork, and no more than the first one. None hears
what is said again after the event, and `gc` makes none hear more, or less of what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import pytest

from segue.journal import retention, threads
from segue.journal.connect import connect_memory
from tests.agent.test_thread_fork_lines import add, event, heard

NEVER = 1 << 60
MOST = 16
"""Runs of a history, or a few more."""
SEEDS = (*range(57), 120, 152, 179)
"""The last ones are histories that a part of the rule rarely decides; without it they fail."""
END = "run.completed"


class Said(NamedTuple):
    """A turn of the thread, from 1."""

    pos: int
    by: Life
    seq: int


class Noted(NamedTuple):
    """An event."""

    pos: int
    type: str
    key: str | None = None
    read: int | None = None


@dataclass(eq=False)
class Life:
    """A run, as the test knows it."""

    no: int
    id: str
    parent: Life | None = None
    key: str | None = None
    turn: bool = False
    of: Life | None = None
    at: int = 0
    own: list[Noted] = field(default_factory=list[Noted])
    children: list[Life] = field(default_factory=list["Life"])
    over: bool = False
    read: int | None = None

    def story(self) -> list[Noted]:
        """All of its events, those that a fork has from another run too."""
        return self.own if self.of is None else self.of.story()[: self.at] + self.own

    def tried_out(self) -> bool:
        return self.of is not None or (self.parent is not None and self.parent.tried_out())

    def below(self) -> Iterator[Life]:
        """It, and what is part of it."""
        yield self
        for child in self.children:
            if child.key is not None:
                yield from child.below()

    def again(self, kept: int) -> Iterator[Life]:
        """The children that a fork which keeps this much does again, and what is below those."""
        ended = {one.key for one in self.story()[:kept] if one.type == "child.ended"}
        for child in self.children:
            if child.key is not None and child.key not in ended:
                yield from child.below()


class World:
    """A database and what must be true of it."""

    def __init__(self, seed: int):
        self.random = Random(seed)
        self.db = connect_memory()
        self.db.execute("drop trigger events_in_order")
        self.db.execute("begin")
        self.lives: list[Life] = []
        self.said: list[Said] = []
        self.pos = 0

    def begin(self, parent: Life | None = None, key: str | None = None, of: Life | None = None, at: int = 0) -> None:
        no = len(self.lives) + 1
        turn = of.turn if of is not None else parent is None and self.random.random() < 0.5
        life = Life(no, f"r{no}", parent, key, turn, of, at)
        given: dict[str, str | float] = {"state": "parked", "updated_at": self.random.choice([1.0, 5.0, 9.0])}
        if parent is not None:
            parent.children.append(life)
            given |= {"parent": parent.id} | ({} if key is None else {"parent_key": key})
        if of is not None:
            given |= {"memo_run": of.no, "memo_seq": at}
        if turn:
            given["thread"] = "t"
        add(self.db, life.id, **given)
        self.lives.append(life)
        self.note(life, "run.accepted" if of is None else "run.forked")

    def note(self, life: Life, type: str, key: str | None = None, read: int | None = None) -> int:
        seq = life.at + len(life.own) + 1
        event(self.db, seq, type, key, life.no, value=None if read is None else str(read))
        self.pos = self.db.execute("select max(pos) from events").fetchone()[0]
        life.own.append(Noted(self.pos, type, key, read))
        return seq

    def live(self) -> None:
        """Something happens."""
        random = self.random
        open_ = [one for one in self.lives if not one.over and self.in_turn(one)]
        tried = [one for one in self.lives if one.tried_out()] or self.lives
        chance = random.random()
        if not open_ or (chance < 0.06 and len(self.lives) < MOST):
            self.begin()
        elif chance < 0.14 and len(self.lives) < MOST:
            of = random.choice(random.choice([self.lives, tried]))
            self.begin(of=of, at=random.randint(1, len(of.story())))
        elif chance < 0.17:
            for one in self.lives:
                if one.over and random.random() < 0.3:
                    self.note(one, "feedback.given")
        else:
            self.act(random.choice(open_))

    def act(self, life: Life) -> None:
        chance = self.random.random()
        story = life.story()
        started = [one.key for one in story if one.type == "child.started"]
        has = {child.key for child in life.children} | {one.key for one in story if one.type == "child.ended"}
        ended = [one for one in life.children if one.over and ("child.ended", one.key) not in {e[1:3] for e in story}]
        if life.read is not None and chance < 0.7:
            self.say(life)
        elif chance < 0.35:
            life.read = self.hears(life)
            assert heard(self.db, life.id) == life.read
            self.note(life, "step.completed", "thread[x]#1", life.read)
            if life.read and chance < 0.1:
                self.sum_up(life)
        elif ended and ended[0].key is not None and chance < 0.7:
            self.note(life, "child.ended", ended[0].key)
        elif lost := [key for key in started if key not in has]:
            self.begin(life, lost[0])
        elif chance < 0.6 and len(self.lives) < MOST:
            key = f"c{len(started)}" if chance < 0.55 else None
            self.note(life, "child.started" if key else "child.detached", key)
            self.begin(life, key)
        elif chance < 0.7 or any(one.key is not None and not one.over for one in life.children):
            self.note(life, "timer.set")
        else:
            self.note(life, END)
            life.over = True
            self.db.execute("update runs set state = 'completed' where no = ?", (life.no,))

    def say(self, life: Life) -> None:
        life.read = None
        seq = self.note(life, "step.completed", "ask[x]#1")
        if not life.tried_out():
            self.said.append(Said(self.pos, life, seq))
            self.db.execute("insert into turns values ('d', 't', ?, ?, ?)", (len(self.said), life.no, seq))

    def sum_up(self, life: Life) -> None:
        seq = self.note(life, "step.completed", "compact[x]#1")
        if not life.tried_out():
            upto = self.random.randint(1, life.read or 1)
            self.db.execute("insert or ignore into summaries values ('d', 't', ?, ?, ?)", (upto, life.no, seq))

    def in_turn(self, life: Life) -> bool:
        before = self.lives[: life.no - 1]
        return not life.turn or life.of is not None or all(one.over for one in before if one.turn and one.of is None)

    def hears(self, life: Life) -> int:
        """How far a run may hear the thread: the rule."""
        upto, kept, first = len(self.said), NEVER, None
        while True:
            if life.of is not None:
                kept = min(kept, life.at)
                upto = min(upto, self.left(life.of, kept))
                life, first = life.of, (life.of, kept)
            elif life.parent is not None:
                life, kept = life.parent, NEVER
            else:
                break
            if life.of is None and first is not None and not life.tried_out():
                break
        return upto if first is None else self.unsaid(*first, upto)

    def left(self, life: Life, kept: int) -> int:
        """The last turn that somebody knows who has left this run at an event."""
        story = life.story()
        if any(one.type == END for one in story[:kept]):
            return self.before(next(one.pos for one in story if one.type == END) + 1)
        reads = sorted(self.reads_after(life, kept))
        if reads:
            return reads[0][1]
        return self.before(story[kept].pos) if kept < len(story) else len(self.said)

    def reads_after(self, life: Life, kept: int) -> Iterator[tuple[int, int]]:
        """Of a run, and of what is done again of it, after an event; what a fork has from another run is its too."""
        left = life.story()[kept - 1].pos
        found = [*life.own[max(0, kept - life.at) :], *(one for child in life.again(kept) for one in child.own)]
        yield from ((one.pos, one.read) for one in found if one.read is not None and one.pos > left)
        if life.of is not None and kept < life.at:
            until = life.story()[life.at - 1].pos
            yield from (read for read in self.reads_after(life.of, kept) if read[0] <= until)

    def before(self, pos: int) -> int:
        return sum(one.pos < pos for one in self.said)

    def said_again(self, life: Life, kept: int) -> set[int]:
        again = set(life.again(kept))
        return {
            no for no, one in enumerate(self.said, 1) if one.by in again or (one.by is life and one.seq > kept)
        }  # fmt: skip

    def unsaid(self, life: Life, kept: int, upto: int) -> int:
        """Without what is said again, if that was said after the event, or nothing came after it."""
        again, left = self.said_again(life, kept), life.story()[kept - 1].pos
        upto = min([upto, *(no - 1 for no in again if self.said[no - 1].pos > left)])
        while upto in again:
            upto -= 1
        return upto

    def goes_on_from(self, life: Life) -> threads.Summary | None:
        """The summary that it goes on from, if it is known to be that when the turns are gone."""
        query = threads.query_of(self.db)
        point = threads.point_of(query, "d", "t", life.id)
        found = threads.summed_up(query, "d", "t", heard(self.db, life.id))
        reads = [point.read, *(read for _, read in point.bounds)]
        if found is None or None not in reads:
            return found
        made = query("select pos from events where run = ? and seq = ?", found[1:])[0][0]
        return found if made < point.at else None

    def collect(self, before: float) -> set[int]:
        """The turns that are left."""
        retention._delete(self.db, list(range(len(self.lives), 0, -1)), before)
        while retention._bury(self.db) is not None:
            pass
        retention._forget_turns(self.db)
        return {no for (no,) in self.db.execute("select t.no from turns t join runs r on r.no = t.run")}


@pytest.mark.parametrize("part", range(3))
def test_what_forks_hear_follows_the_rule_and_gc_leaves_it(part: int) -> None:
    for seed in SEEDS[part::3]:
        check(World(seed))


def check(world: World) -> None:
    for _ in range(world.random.randint(20, 130)):
        world.live()
    rule = {life: world.hears(life) for life in world.lives}
    assert {life.id: heard(world.db, life.id) for life in world.lives} == {life.id: n for life, n in rule.items()}
    for fork in world.lives:
        if fork.of is not None and not fork.of.tried_out():
            story = fork.of.story()[: fork.at]
            left = world.before(next((one for one in story if one.type == END), story[-1]).pos + 1)
            again = world.said_again(fork.of, fork.at)
            assert set(range(rule[fork] + 1, left + 1)) <= again, (
                "all that was said before it left, but what it says again"
            )
    tried = [life for life in world.lives if life.tried_out()]
    known = {life: summary for life in tried if (summary := world.goes_on_from(life)) is not None}
    for before in (2.0, 6.0):
        living = world.collect(before)
        rows: dict[str, tuple[str, float]] = {
            id_: (state, at) for id_, state, at in world.db.execute("select id, state, updated_at from runs")
        }
        for life in (one for one in tried if one.id in rows):
            now = heard(world.db, life.id)
            assert now <= rule[life], "gc lets none hear more"
            assert not [no for no in living if now < no <= rule[life]], "nor less of what is left"
            state, at = rows[life.id]
            if (state == "parked" or at >= before) and life in known and any(one.read for one in life.story()):
                assert world.goes_on_from(life) == known[life], "what it goes on from stays"
    world.db.close()

"""What a journal holds of calls that the code makes otherwise today: under another key, later, or no more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from ..core.commands import Command, Rekey, RunStep, StartChild
from ..core.events import Event, EventType
from ..core.keys import family, name_of
from ..core.replay import Memory
from .match import known_again, same_call, same_work

C = TypeVar("C", bound=Command)


_NOTHING = Memory()
_BEGUN = frozenset({EventType.ATTEMPT_STARTED, EventType.CHILD_STARTED, EventType.RUN_FORKED})


class Aliases:
    """By which key the journal knows each call of a run: by the first that it was given.

    A call whose arguments have another form today has another key today. Where it is on record it keeps the key that it
    has there, for all that is still written about it: one call has one key in a journal.
    """

    def __init__(self) -> None:
        self.memory = _NOTHING
        """The journal that was read. A call whose own key is in it takes over nothing of another one."""
        self._found: list[tuple[str, str]] = []
        self._asked: set[str] = set()
        """Keys on record that a call goes by: no other one does."""
        self._recorded: dict[str, str] = {}
        self._own: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._recorded)

    def recorded(self, key: str) -> str:
        """The key on record of the call that the code calls `key` today."""
        return self._recorded.get(key, key)

    def named(self, key: str) -> str:
        """The same for what people name: they may know it by a key that other code gave it, if no call has that one."""
        if key in self._asked or self.memory.holds(key):
            return key
        return self._recorded.get(key) or self.memory.rekeyed.get(key, key)

    def bind(self, key: str, recorded: str) -> None:
        """A call that goes by `key` so far is on record as `recorded`.

        The two change places: a call that the code gives that key today, which is another one, goes by `key`.
        """
        own, other = self._own.get(key, key), self._own.get(recorded, recorded)
        self._recorded |= {own: recorded, other: key}
        self._own |= {recorded: own, key: other}
        self._asked.discard(key)
        self._asked.add(recorded)
        if self.memory.rekeyed.get(own) != recorded:
            self._found.append((own, recorded))

    def take_found(self, seen: int) -> list[Command]:
        """What was bound since the last call, and is to go on record before anything that comes of it."""
        found, self._found = self._found, []
        return [Rekey(recorded, seen, own) for own, recorded in found]


class Claims(Aliases):
    """What is on record, and that no call has been found for: it is kept for a call that may still come."""

    def __init__(self) -> None:
        super().__init__()
        self.unclaimed: dict[str, Event] = {}
        """Outcomes by key; and effects and children that were begun, which are no outcomes to be claimed."""
        self.begun: dict[str, bytes] = {}
        """The arguments of work that was begun."""
        self.applies_once: Callable[[str], bool] = _no
        """Whether the child of this key on record, or one below it, has begun a once-effect: asked of the far side."""

    def __bool__(self) -> bool:
        return bool(self._recorded or self.begun or self.memory.rekeyed)

    def of(self, command: C) -> C:
        """A call as the journal knows it."""
        command = rekeyed(command, self._recorded)
        known = self.memory.rekeyed.get(command.key)
        if known is not None and known not in self._asked:
            if not self.memory.holds(command.key):
                self.memory.merge(command.key, known)
            self.bind(command.key, known)
            command = rekeyed(command, {command.key: known})
        elif not self._has_record_for(command):  # else that comes first, as it does in a replay
            for key, old in known_again(self.begun, [command], self.memory.holds).items():
                self.bind(key, old)
                command = rekeyed(command, {key: old})
        self.begun.pop(command.key, None)
        self._asked.add(command.key)
        return command

    def _has_record_for(self, command: Command) -> bool:
        """Whether its own record stands in the journal, or an outcome that it is known again by."""
        return self.memory.holds(command.key) or any(same_call(command, event) for event in self.unclaimed.values())

    def known_again(self, memory: Memory, commands: Sequence[Command], given_up: Collection[Command]) -> dict[str, str]:
        """At the end of the journal: calls without an outcome that are on record under another key, by their own."""
        known = known_again(memory.open_args, (*commands, *given_up), memory.holds)
        for key, old in known.items():
            self.bind(key, old)
            memory.merge(key, old)
        asked = {c.key for c in (*commands, *given_up)}.union(known.values())
        self.begun = {key: args for key, args in memory.open_args.items() if key not in asked}
        return known

    @property
    def orphans(self) -> list[str]:
        """Keys of outcomes, and of effects that were begun, that no call has been found for."""
        return sorted(k for k, e in self.unclaimed.items() if e.type != EventType.CHILD_STARTED)

    @property
    def at_risk(self) -> list[str]:
        """Keys of children that no call has been found for, and with which a once-effect was begun."""
        return sorted(k for k in self.unclaimed if k not in self.memory.placed.let_go and self.applies_once(k))

    def lose(self, effects: Iterable[str], children: Iterable[str] = ()) -> None:
        """Calls that were begun, and that the flow does not ask for."""
        self.unclaimed |= {k: _begun(EventType.ATTEMPT_STARTED, k) for k in effects}
        self.unclaimed |= {k: _begun(EventType.CHILD_STARTED, k) for k in children}

    def hold_given(self, asked: Collection[str]) -> None:
        """What a fork was given results for, as it was begun after its point: until the flow asks for it. What stood in
        the way of a call that somebody lets through does so until the flow asks for that one.
        """
        for key in asked:
            self.memory.placed.begins(key)
        for key, others in self.memory.given_begun.items():
            if not any(k in asked or self.memory.holds(k) for k in (key, *others)):
                self.unclaimed[key] = _begun(EventType.RUN_FORKED, key)

    def await_call(self, event: Event) -> None:
        """In a replay: an outcome whose call has not been made. The end of a child that was given up is nobody's."""
        key = event.key or ""
        given_up = event.type == EventType.CHILD_ENDED and key in self.memory.cancelled
        self.unclaimed[key] = _begun(EventType.CHILD_STARTED, key) if given_up else event

    def keep(self, event: Event) -> None:
        """What comes while nobody asks: somebody has said what came of a call, or a child has ended."""
        key = event.key or ""
        if event.type == EventType.CHILD_ENDED and key in self.begun:
            self.unclaimed[key] = event._replace(args=self.begun.pop(key))
        elif key in self.unclaimed and self.unclaimed[key].type != EventType.CHILD_STARTED:
            self.unclaimed[key] = event

    def begin_anew(self, effect: str) -> None:
        """An operator lets such an effect begin anew: it counts as one that was not begun."""
        if effect in self.unclaimed and self.unclaimed[effect].type == EventType.ATTEMPT_STARTED:
            del self.unclaimed[effect]

    def claim(self, command: Command) -> Event | None:
        """An outcome that came before its call: the code was changed, and the call moved."""
        known = self.unclaimed.pop(command.key, None)
        if known is None:
            given = [k for k, others in self.memory.given_begun.items() if command.key in others]
            if self.memory.holds(command.key) or any(self.unclaimed.pop(k, None) for k in given):
                return None
            same = next((k for k, e in self.unclaimed.items() if same_call(command, e)), None)
            if same is None:
                return None
            self.bind(command.key, same)
            known = self.unclaimed.pop(same)
        return None if known.type in _BEGUN else known  # begun: what came of it is asked

    def gave_up(self, command: Command) -> bool:
        """Whether it is a child that the run gave up, on record: that was cancelled, and is not started again."""
        return isinstance(command, StartChild) and command.key in self.memory.cancelled

    def call_of(self, event: Event, waiting: Iterable[Command], given_up: Iterable[Command]) -> str | None:
        """The key of the call that an outcome is of, which goes by another key today."""
        calls = (c for c in (*waiting, *given_up) if not self.memory.holds(c.key))
        return next((c.key for c in calls if same_call(c, event)), None)

    def in_place_of(self, command: Command) -> Event | None:
        """For an effect: another one that is on record, that no call has been found for, and that may be the same. For
        a child likewise one that has begun an effect, or a child of which has.
        """
        step = isinstance(command, RunStep) and command.options.effect == "once"
        given = command.key in self.memory.replaced and not (isinstance(command, StartChild) and command.detached)
        if not (step or isinstance(command, StartChild)) or given:
            return None
        placed = self.memory.placed
        placed.begins(command.key)
        for key, event in self.unclaimed.items():
            if event.type == EventType.STEP_FAILED or key in placed.let_go or self._stands_for_claimed(key):
                continue  # it raised: nothing was applied
            if event.type == EventType.RUN_FORKED and command.key in self.memory.again:
                continue  # it is another one, on record beside it
            sure = event.type == EventType.RUN_FORKED or (step and event.type != EventType.CHILD_STARTED)
            if self._may_be(command, key, event) and (sure or key in placed.same or self.applies_once(key)):
                return event
        return None

    def _stands_for_claimed(self, key: str) -> bool:
        """Whether somebody said that this call is the same effect as another one, which the flow has asked for."""
        same = self.memory.placed.same
        for _ in same:
            key = same.get(key, "")
            if key not in self.unclaimed:
                return key != "" and key not in self.memory.anew
        return False

    def _may_be(self, command: Command, key: str, event: Event) -> bool:
        """Whether it is of the same family; or in another scope the same work; or where a fork was given what leads
        its flow elsewhere, of the same name.
        """
        if family(key) == family(command.key) or same_work(command, key, event.args or self.begun.get(key)):
            return True
        kept = event.type == EventType.RUN_FORKED or self.memory.is_kept(event)
        return self.led_elsewhere and kept and name_of(key) == name_of(command.key)

    @property
    def led_elsewhere(self) -> bool:
        """Whether it is a fork that was given another input, or other results."""
        return bool(self.memory.edited or self.memory.replaced)


def _no(_: str) -> bool:
    return False


def _begun(type_: str, key: str) -> Event:
    return Event(0, 0, 0, 0.0, type_, key=key)


def rekeyed(command: C, keys: Mapping[str, str]) -> C:
    """A command under its other key, where it has one."""
    key = keys.get(command.key)
    return command if key is None else command._replace(key=key)

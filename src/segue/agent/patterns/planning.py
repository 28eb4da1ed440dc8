"""Planner and workers: a model plans tasks that depend on one another, workers do them, one puts it together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel

from ...errors import InputError
from ...runtime.stories import Told
from ..ask import ask
from ..delegation import delegated
from ..delegation.delegate import hold_options
from ..delegation.delegates import delegates
from ..delegation.options import DelegateOptions
from ..options import Options
from ..prompts import Prompt
from .common import LIMIT, at_least, fallen, last, merged, pattern, shared

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["FINISH", "PLAN", "Done", "NothingDone", "Plan", "Planned", "Task", "plan_and_work", "wrong_with"]

T = TypeVar("T")

PLAN = "Make a plan for this goal: as few tasks as it takes, each for one worker, none that another one covers."
"""What the planner is asked. It is shown the goal, and what each worker is for."""
FINISH = "Reach the goal from what the tasks have given. Say what is missing where a task has failed."
"""What whoever puts it together is asked."""


class NothingDone(Told):
    """Every task of a plan has failed."""

    code = "nothing-done"


class Task(BaseModel):
    """One piece of work."""

    id: str
    """A short name, unique in the plan."""
    what: str
    """What is to be done, so that a worker understands it alone."""
    needs: list[str] = []
    """The ids of the tasks whose results it is shown."""


class Plan(BaseModel):
    """Tasks, in no order."""

    tasks: list[Task]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a task. `error` says why it has no result."""

    task: Task
    value: str = ""
    by: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Planned(Generic[T]):
    """The result, and the plan with what came of each task."""

    value: T
    done: tuple[Done, ...]

    @property
    def failed(self) -> tuple[Done, ...]:
        """The tasks that have no result, and why."""
        return tuple(one for one in self.done if one.error)


def wrong_with(plan: Plan, tasks_max: int) -> str | None:
    """What is wrong with a plan, for the planner to mend: ids, their number, a need that is no task, a circle. Pure."""
    ids = [task.id for task in plan.tasks]
    if not ids or len(ids) > tasks_max:
        return f"a plan has 1 to {tasks_max} tasks, this one {len(ids)}"
    if len(set(ids)) < len(ids):
        return "two tasks have one id"
    for task in plan.tasks:
        for need in task.needs:
            if need not in ids or need == task.id:
                return f"task {task.id} needs {need!r}, which is no other task"
    left = {task.id: set(task.needs) for task in plan.tasks}
    while left:
        ready = [name for name, needs in left.items() if not needs & left.keys()]
        if not ready:
            return f"these tasks wait for each other: {', '.join(sorted(left))}"
        for name in ready:
            del left[name]
    return None


async def plan_and_work(
    goal: str,
    *parts: object,
    workers: Iterable[object],
    returns: TypeForm[T] = str,
    tasks_max: int = 8,
    plan: str | Prompt = PLAN,
    finish: str | Prompt = FINISH,
    planner: Options | None = None,
    finisher: Options | None = None,
    delegating: DelegateOptions | None = None,
    budget_usd: float | None = None,
    limit: int = LIMIT,
    key: str | None = None,
) -> Planned[T]:
    """Plan, let each task be done by the worker that fits it best (`delegate`), and put the results together.

    A task begins when those that it needs are done, and is shown their results; at most `limit` are under way. One that
    fails leaves those that need it undone; the others go on, and who puts it together is told. `planner` and `finisher`
    are options of `ask`, `delegating` those of `delegate`. `budget_usd` is for all calls together.
    Raises NothingDone where every task has failed. In a flow all of it stands under `plan_and_work#k/`.
    """
    at_least("plan_and_work", tasks_max=tasks_max, limit=limit)
    share, among = shared(budget_usd, tasks_max + 2), list(workers)
    asked, told = merged(planner, share), merged(finisher, share)
    own = _own(delegating or {}, share)
    with pattern("plan_and_work", key):
        planning = ask(
            plan, f"The goal: {goal}", *parts, _workers(among), returns=Plan,
            check=lambda given: wrong_with(given, tasks_max), **asked,
        )  # fmt: skip
        made = await last("planner", planning)
        working = _Working(goal, made.tasks, among, own, limit)
        done = await working.done()
        failed = [("", working.errors[task.id]) for task in made.tasks if task.id in working.errors]
        if all(one.error for one in done):
            why = "; ".join(f"{one.task.id}: {one.error.splitlines()[0]}" for one in done[:4])
            none = NothingDone(f"no task was done: {why}", remedy="add a worker that can, or see why each failed")
            raise fallen(none, failed) from failed[0][1]
        finishing = ask(finish, f"The goal: {goal}", *parts, _results(done), returns=returns, **told)
        value = await last("finisher", finishing, failed)
    return Planned(value=value, done=tuple(done))


class _Working:
    """The tasks of one plan under way."""

    def __init__(
        self, goal: str, tasks: Sequence[Task], workers: Sequence[object], options: DelegateOptions, limit: int
    ):
        self._goal, self._tasks, self._workers, self._options = goal, tasks, workers, options
        self._gate = asyncio.Semaphore(limit)
        self._over = {task.id: asyncio.Event() for task in tasks}
        self._done: dict[str, Done] = {}
        self.errors: dict[str, Exception] = {}
        """Of those that were tried and have failed."""

    async def done(self) -> list[Done]:
        """What came of each, in the plan's order."""
        async with asyncio.TaskGroup() as group:
            for task in self._tasks:
                group.create_task(self._work(task))
        return [self._done[task.id] for task in self._tasks]

    async def _work(self, task: Task) -> None:
        for need in task.needs:
            await self._over[need].wait()
        lost = [need for need in task.needs if self._done[need].error]
        if lost:
            self._done[task.id] = Done(task=task, error=f"it needs {', '.join(lost)}, which failed")
        else:
            async with self._gate:
                self._done[task.id] = await self._tried(task)
        self._over[task.id].set()

    async def _tried(self, task: Task) -> Done:
        told = [f"What {need} has given:\n{self._done[need].value}" for need in task.needs]
        request = "\n\n".join((task.what, *told))
        try:
            options: DelegateOptions = {**self._options, "key": task.id}
            made = await delegated(request, self._workers, **options)
        except Exception as error:  # noqa: BLE001  a task that fails is told of, and the others go on
            self.errors[task.id] = error
            return Done(task=task, error=str(error))
        return Done(task=task, value=made.value, by=made.by)


def _own(delegating: DelegateOptions, share: Options) -> DelegateOptions:
    """How tasks are delegated. Raises InputError for what is no option, or is said by the pattern itself."""
    if "key" in delegating:
        raise InputError("plan_and_work: delegating has no key=: a task has its id", remedy="name the call by key=")
    own: DelegateOptions = {**delegating}
    own = {**own, "options": merged(own.get("options")), **share}
    hold_options(own)
    return own


def _workers(among: Sequence[object]) -> str:
    """What each is for, for the planner."""
    return "The workers:\n" + "\n".join(f"- {one.name}: {one.about.partition(chr(10))[0]}" for one in delegates(among))


def _results(done: Sequence[Done]) -> str:
    return "\n\n".join(
        f"Task {one.task.id} ({one.task.what}):\n{one.value or f'(it failed: {one.error.splitlines()[0]})'}"
        for one in done
    )

"""Ways of working with several calls, as plain functions: vote, debate, plan and work, improve, map and reduce.

Each is a page of code over `ask` and `delegate`, durable in a flow, with a limit on what runs at once, a budget for the
whole, and an honest account of branches that failed. What models are told are defaults that may be replaced.
"""

from __future__ import annotations

from .debate import Debate, Nobody, Side, Speech, debate
from .improving import Improved, Score, Version, improve
from .planning import Done, NothingDone, Plan, Planned, Task, plan_and_work
from .reducing import Incomplete, Reduced, chunks, map_reduce
from .voting import Ballot, NoMajority, Tally, tally, vote

__all__ = [
    "Ballot", "Debate", "Done", "Improved", "Incomplete", "NoMajority", "Nobody", "NothingDone", "Plan", "Planned",
    "Reduced", "Score", "Side", "Speech", "Tally", "Task", "Version",
    "chunks", "debate", "improve", "map_reduce", "plan_and_work", "tally", "vote",
]  # fmt: skip

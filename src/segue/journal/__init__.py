"""The journal: append, load and query what happened. SQLite first: one file, many processes, one writer thread each."""

from .journal import Journal
from .reading import Reader
from .records import BESIDE, SAID_AFTER, Change, Item, More, NewRun, Post, RunRow, Standing, Write
from .retention import Collected
from .switches import ENGINE, FLOW, Act, Switch, Switches
from .tables import input_hash
from .threads import IN_TURN, Outcome, SaidRow, Summary, ThreadRow, TurnRow
from .workers import Known, Workers

__all__ = [
    "BESIDE", "ENGINE", "FLOW", "IN_TURN", "SAID_AFTER", "Act", "Change", "Collected", "Item", "Journal", "Known",
    "More", "NewRun", "Outcome", "Post", "Reader", "RunRow", "SaidRow", "Standing", "Summary", "Switch", "Switches",
    "ThreadRow", "TurnRow", "Workers", "Write", "input_hash",
]  # fmt: skip

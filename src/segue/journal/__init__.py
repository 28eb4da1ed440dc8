"""The journal: append, load and query what happened. SQLite first: one file, many processes, one writer thread each."""

from .journal import Journal
from .reading import Reader
from .records import BESIDE, Change, Item, More, NewRun, Post, RunRow, Standing, Write
from .retention import Collected
from .switches import ENGINE, FLOW, Act, Switch, Switches
from .tables import input_hash
from .workers import Known, Workers

__all__ = [
    "BESIDE", "ENGINE", "FLOW", "Act", "Change", "Collected", "Item", "Journal", "Known", "More", "NewRun", "Post",
    "Reader", "RunRow", "Standing", "Switch", "Switches", "Workers", "Write", "input_hash",
]  # fmt: skip

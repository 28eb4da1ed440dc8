"""The journal: append, load and query what happened. SQLite first: one file, many processes, one writer thread each."""

from .journal import Journal
from .reading import Reader
from .records import BESIDE, Change, Item, More, NewRun, Post, RunRow, Standing, Write
from .retention import Collected
from .tables import input_hash

__all__ = [
    "BESIDE", "Change", "Collected", "Item", "Journal", "More", "NewRun", "Post", "Reader", "RunRow", "Standing",
    "Write", "input_hash",
]  # fmt: skip

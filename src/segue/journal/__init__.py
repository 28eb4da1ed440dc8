"""The journal: append, load and query what happened. SQLite first: one file, many processes, one writer thread each."""

from .journal import Journal
from .records import Change, Item, NewRun, Post, RunRow, Write

__all__ = ["Change", "Item", "Journal", "NewRun", "Post", "RunRow", "Write"]

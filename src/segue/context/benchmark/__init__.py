"""How much of what a question needs is in the context assembled for it: ours, beside recency, BM25 and an embedding."""

from .dialogues import Dialogue, Question, read
from .run import BUDGETS, measured

__all__ = ["BUDGETS", "Dialogue", "Question", "measured", "read"]

"""Functions that a model may call: what it is told of each, and each call carried out as a step by its effect class.

`tool` says what a function does to the world, how long it may take, who must approve a call and how much of a result
is shown. A plain function and a `Step` are tools too, as careful ones.
"""

from __future__ import annotations

from ..request import Asked
from .box import GiveBack, Tools
from .rule import ApprovalRule
from .tool import Tool, tool

__all__ = ["ApprovalRule", "Asked", "GiveBack", "Tool", "Tools", "tool"]

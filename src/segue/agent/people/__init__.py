"""People in the loop: `approve`, `ask_human` and `escalate` wait durably for a person's word.

A question is one call of the flow: its record, one signal that it waits for, and one timer at a time for what comes
next (a reminder, a reassignment, its end). Nothing runs while it waits. A word is bound to what was shown.
"""

from __future__ import annotations

from .approval import Approval, approve
from .escalate import escalate
from .form import ask_human
from .notice import Notice, Notify

__all__ = ["Approval", "Notice", "Notify", "approve", "ask_human", "escalate"]

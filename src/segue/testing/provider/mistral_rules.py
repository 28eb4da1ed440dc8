"""What Mistral refuses in chat completions beside what OpenAI does: ids of calls, and the order of turns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from .speech import Body, Refused, Wrong

PARAMETERS = frozenset({"random_seed", "safe_prompt", "prompt_mode", "guardrails"})
CALL_ID = re.compile(r"^[a-zA-Z0-9]{9}$")
_AFTER = {
    "tool": ("assistant", "tool"),
    "assistant": ("user", "tool", "system"),
}
"""The roles that may follow a role; after others any may."""


def mistral_order(messages: Sequence[Body]) -> None:
    """Check the roles of all messages, and the calls in them.

    Raises:
        Refused: An id has another form, an assistant's message is empty, a role follows one that it may not, or the
            last is not the user's or a tool's.
    """
    roles = [str(message["role"]) for message in messages]
    for call in (call for message in messages for call in message.get("tool_calls") or ()):
        if not CALL_ID.match(str(call.get("id"))):
            message = f"Tool call id was {call.get('id')} but must be a-z, A-Z, 0-9, with a length of 9."
            raise _bad(message, "invalid_function_call", "3280")
    for message in messages:
        if message["role"] == "assistant" and not (message.get("content") or message.get("tool_calls")):
            said = "Assistant message must have either content or tool_calls, but not none."
            raise _bad(said, "invalid_request_assistant_message", "3240")
    for before, after in pairwise(roles):
        if after not in _AFTER.get(before, (after,)):
            raise _bad(f"Unexpected role '{after}' after role '{before}'", "invalid_request_message_order", "3230")
    if roles[-1] not in ("user", "tool") and not messages[-1].get("prefix"):
        message = f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {roles[-1]}"
        raise _bad(message, "invalid_request_message_order", "3230")


def _bad(message: str, kind: str, code: str) -> Refused:
    return Refused(why=Wrong.BAD_REQUEST, message=message, mistral=kind, code=code)

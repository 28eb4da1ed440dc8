"""What the settings of a call may be: a name that a library would pass over in silence is told here. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from json import dumps
from typing import Any

from .reading import meant

__all__ = ["ELSEWHERE", "LOCAL", "SETTINGS", "is_json", "mistaken"]

SETTINGS = (
    "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "stop_sequences",
    "thinking", "cache", "citations", "service_tier", "parallel_tool_calls", "tool_choice", "framing_announcement",
    "extra_headers", "extra_body",
)  # fmt: skip
"""Of any provider, as pydantic-ai calls them."""
LOCAL = ("temperature", "seed", "style", "words")
"""Of a model in this process."""
ELSEWHERE = {
    "max_tokens": "of a question it is the option max_tokens=, of a model max_output",
    "timeout": "it is the option timeout_s= of a question",
    "request_timeout": "it is the option timeout_s= of a question",
    "first_event_timeout": "it is the option first_token_s= of a question",
    "max_retries": "it is the option attempts= of a question",
}
"""What pydantic-ai has as a setting, and is said in another place here."""
_PREFIXES = ("openai_", "anthropic_", "google_", "bedrock_", "mistral_", "groq_")
"""What the names of a provider's own settings begin with. Its library knows them: all are taken."""
_OTHER_WORDS = {
    "stop": "stop_sequences", "reasoning": "thinking", "reasoning_effort": "thinking", "headers": "extra_headers",
}  # fmt: skip


def is_json(value: object) -> bool:
    """Whether it is plain JSON, and no number that JSON has not."""
    try:
        dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def mistaken(settings: Mapping[Any, object], *, local: bool = False) -> tuple[str, str, str] | None:
    """The first setting that cannot be: its name, what is wrong, and which there are, where it is the name. Else None.

    `local`: of a model in this process, which has fewer.
    """
    known = LOCAL if local else tuple(dict.fromkeys((*SETTINGS, *LOCAL)))
    prefixes = () if local else _PREFIXES
    for name, value in settings.items():
        if name not in known and not str(name).startswith(prefixes):
            says = f"there is no such setting{_instead(str(name), known)}"
            return str(name), says, ", ".join((*known, *(f"{prefix}…" for prefix in prefixes)))
        wanted, fits = _VALUES.get(name, ("", _anything))
        if not fits(value):
            return str(name), f"{wanted} was expected", ""
    return None


def _anything(value: object) -> bool:
    return True


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _table(value: object) -> bool:
    return isinstance(value, Mapping)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)  # pyright: ignore[reportUnknownVariableType]


def _table_of_texts(value: Any) -> bool:
    return _table(value) and _texts(list(value.values()))


def _two_texts(value: Any) -> bool:
    return _texts(value) and len(value) == 2


_VALUES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "temperature": ("a number, 0 or more,", _number),
    "top_p": ("a number, 0 or more,", _number),
    "seed": ("a whole number", _whole),
    "stop_sequences": ("a list of texts", _texts),
    "extra_headers": ("a table of texts", _table_of_texts),
    "extra_body": ("a table", _table),
    "style": ("chat or text", lambda value: value in ("chat", "text")),
    "words": ("two texts", _two_texts),
}


def _instead(name: str, known: Collection[str]) -> str:
    if name in ELSEWHERE:
        return f": {ELSEWHERE[name]}"
    other = _OTHER_WORDS.get(name)
    guess = other if other in known else meant(name, known)
    return f"; did you mean {guess}?" if guess else ""

"""The names that the settings of a call may have: what a library would pass over in silence is told here. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .reading import meant

__all__ = ["ELSEWHERE", "LOCAL", "SETTINGS", "misnamed"]

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


def misnamed(names: Iterable[object], *, local: bool = False) -> tuple[str, str, str] | None:
    """The first name that is none of a setting, what is wrong with it, and what is allowed; None where all are known.

    `local`: of a model in this process, which has fewer.
    """
    known = LOCAL if local else tuple(dict.fromkeys((*SETTINGS, *LOCAL)))
    prefixes = () if local else _PREFIXES
    for name in map(str, names):
        if name not in known and not name.startswith(prefixes):
            says = f"there is no such setting{_instead(name, known)}"
            return name, says, ", ".join((*known, *(f"{prefix}…" for prefix in prefixes)))
    return None


def _instead(name: str, known: Collection[str]) -> str:
    if name in ELSEWHERE:
        return f": {ELSEWHERE[name]}"
    other = _OTHER_WORDS.get(name)
    guess = other if other in known else meant(name, known)
    return f"; did you mean {guess}?" if guess else ""

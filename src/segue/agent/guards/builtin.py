"""The guards that come with Segue: patterns of personal data and credentials, and signs of an injection.

`injection` is a heuristic over phrases. It finds the clumsy attempts, says which phrase it has met, and is neither
complete nor free of false alarms: an instruction that is worded otherwise passes, a text about injections may not.
What a model may do with untrusted text is bounded by its tools, not by this.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ...core.redaction import Patterns
from .guard import Finding, Look

__all__ = ["LOOKS", "injection", "patterns"]

_TAKEN = re.compile(r"\[([a-z ]+)\]")
_SIGNS = {
    "it asks to forget the instructions": (
        r"\b(?:ignore|disregard|forget|override|do not follow)\b.{0,40}"
        r"\b(?:previous|prior|above|earlier|all|your|any|these|the)\b.{0,30}"
        r"\b(?:instructions?|prompts?|rules|guidelines|directions|context|messages)\b"
    ),
    "it asks for the instructions": (
        r"\b(?:reveal|show|print|repeat|output|tell me|leak|give me)\b.{0,40}"
        r"\b(?:system prompt|your (?:initial |original |hidden )?(?:instructions|prompt|rules)|prompt above)\b"
    ),
    "it gives the model another role": (
        r"\byou are (?:now|no longer)\b|\bfrom now on,? you\b|\bpretend (?:to be|you are)\b.{0,40}\b(?:without|no)\b"
        r"|\b(?:DAN|developer|god|jailbreak) mode\b|\bact as (?:an? )?(?:unrestricted|uncensored|unfiltered)\b"
    ),
    "it imitates the conversation's own marks": (
        r"<\|(?:im_start|im_end|system|endoftext)\|>|\[/?INST\]|<</?SYS>>|^\s*#{2,}\s*(?:system|instructions?)\s*:"
        r"|</?(?:system|instructions?)>"
    ),
    "it asks to send what it knows elsewhere": (
        r"!\[[^\]]*\]\(https?://[^)]*[?&][^)]*=|\b(?:send|post|forward|exfiltrate)\b.{0,60}\b(?:to|at)\b\s*"
        r"(?:https?://|[\w.+-]+@)"
    ),
}
_COMPILED = [(why, re.compile(sign, re.IGNORECASE | re.MULTILINE | re.DOTALL)) for why, sign in _SIGNS.items()]


def injection(text: str) -> Finding | None:
    """The first sign of an attempt to give the model other orders, by its kind; and the text without all of them."""
    plain = re.sub(r"[\u200b-\u200f\u2060\ufeff\u00ad]", "", text)  # marks that nobody sees break phrases up
    found = [(why, sign) for why, sign in _COMPILED if sign.search(plain) is not None]
    if not found:
        return None
    for _, sign in found:
        plain = sign.sub("[injection]", plain)
    return Finding(found[0][0], plain)


def patterns(*names: str) -> Look:
    """Looks for what `core.redaction` knows a form of: `pii`, `credentials`, or single patterns as `email`."""
    known = Patterns(names)

    def look(text: str) -> Finding | None:
        without = known.text(text)
        if without == text:
            return None
        kinds = sorted(
            {name for name in _TAKEN.findall(without) if without.count(f"[{name}]") > text.count(f"[{name}]")}
        )
        return Finding(", ".join(kinds), without, tuple(known.cuts(text)))

    return look


LOOKS: dict[str, Callable[[], Look]] = {
    "pii": lambda: patterns("pii"),
    "credentials": lambda: patterns("credentials"),
    "injection": lambda: injection,
}
"""By the word for it in segue.toml."""

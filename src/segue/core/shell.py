"""Commands to copy, as errors and remedies name them. Pure."""

from __future__ import annotations

import shlex


def command(*words: object) -> str:
    """A command of `segue`, quoted for a shell: a child's id holds brackets and a hash sign."""
    return "segue " + " ".join(shlex.quote(str(word)) for word in words)

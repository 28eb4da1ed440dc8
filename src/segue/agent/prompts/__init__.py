"""Prompts by name: versions in files, rolled out by share, filled in strictly; which one a run got is on record."""

from __future__ import annotations

from .choice import resolved, worded
from .filling import Prompt, Version, filled, prompt
from .shelf import Named, Shelf

__all__ = ["Named", "Prompt", "Shelf", "Version", "filled", "prompt", "resolved", "worded"]

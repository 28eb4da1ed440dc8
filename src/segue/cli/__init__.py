"""The command line, `segue`: starts runs, shows them, and carries an operator's acts to them.

Looking never starts an engine: `runs`, `show`, `watch`, `events` and `check` open the database to be read. What the
commands say goes to stderr, what they give to stdout. The modules that draw and that run are imported by the command
that needs them, so `segue --help` is quick.
"""

from . import acts as acts  # its import registers the commands, as that of `commands` does
from . import contexts as contexts
from . import noting as noting
from . import people as people
from . import talking as talking
from .app import main

__all__ = ["main"]

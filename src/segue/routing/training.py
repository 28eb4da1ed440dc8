"""`python -m segue.routing.training`: learn from a database, as the `Job` says that comes as JSON on standard input.

Standard output is what came of it, as JSON. Its priority is low: who waits for an answer goes first.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple, cast

from ..journal import Journal
from .apart import Came, Job
from .learned import train
from .traffic import Traffic
from .types import Option
from .versions import Versions

_NICE = 10


class _Prior(NamedTuple):
    """All that training wants to know of a model."""

    name: str
    quality: Mapping[str, float]


def main() -> None:
    """Do the job that is asked for."""
    with suppress(OSError):
        os.nice(_NICE)
    job = Job(**json.load(sys.stdin))
    traffic, shelf = Traffic(decisions=False), Versions.of(job.database)
    options = cast("list[Option]", [_Prior(name, quality) for name, quality in job.priors.items()])
    with Journal.open_readonly(job.database) as reader:
        done = train(reader, shelf, options, traffic=traffic, least=job.least, share=job.share, use=False)
    name = None if done.version is None else done.version.name
    print(json.dumps(Came(name, done.why, done.lessons, done.new, traffic.position)._asdict()))


if __name__ == "__main__":
    main()

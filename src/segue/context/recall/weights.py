"""What was learned. Written by `python -m bench.recall`."""

WEIGHTS: dict[str, float] = {}

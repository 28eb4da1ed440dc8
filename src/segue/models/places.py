"""Where the weights of local models lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from .catalogue import LocalModel
from .errors import WeightsMissing


def weights_folder() -> Path:
    """`$SEGUE_CACHE/weights`, else `~/.cache/segue/weights`. It need not exist."""
    cache = os.environ.get("SEGUE_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "segue"
    return root / "weights"


def has_weights(model: LocalModel, folder: Path | None = None) -> bool:
    """Whether the file is there, in full: its size is compared, not its content."""
    path = (folder or weights_folder()) / model.file
    return path.is_file() and path.stat().st_size == model.size


def weights_of(model: LocalModel) -> Path:
    """The file with the weights. Raises WeightsMissing, which says how to fetch them."""
    if not has_weights(model):
        raise WeightsMissing(
            f"the weights of {model.name} are not in {weights_folder()}",
            remedy=f"python -m segue.models.weights {model.name}",
        )
    return weights_folder() / model.file

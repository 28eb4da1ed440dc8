"""Embeddings: which space a model's vectors lie in, and how many texts a provider takes at once. Pure.

Vectors of two models do not compare, nor do those of one model at two lengths: a space is the provider's own id of the
model and the length of its vectors, as `text-embedding-3-small@1536`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .spec import Model, Provider
from .usage import tokens

__all__ = ["fits", "parts_of", "space"]

_MOST: Mapping[Provider, tuple[int, int]] = {
    Provider.GOOGLE: (100, 100_000),
    Provider.MISTRAL: (128, 16_000),
    Provider.OLLAMA: (64, 100_000),
    Provider.OPENAI_COMPATIBLE: (32, 100_000),  # text-embeddings-inference takes 32 unless it is told otherwise
}
"""Texts and tokens of one request."""
_USUAL = (2048, 250_000)
"""OpenAI's: 2048 texts, 300,000 tokens."""
_MARGIN = 2
"""Tokens are estimated, and texts in other scripts have more of them."""


def space(model: Model, length: int | None = None) -> str:
    """Where its vectors lie; `length` of one that was made, else what the catalogue says, `?` where it does not."""
    return f"{model.id}@{length or model.dimensions or '?'}"


def fits(model: Model, wanted: str) -> bool:
    """Whether its vectors may lie in a space: it is the same model, and has no other length."""
    made_by, _, length = wanted.rpartition("@")
    same = model.embeds and model.id == made_by
    return same and (length == "?" or model.dimensions is None or str(model.dimensions) == length)


def parts_of(texts: Sequence[str], provider: Provider) -> Iterator[Sequence[str]]:
    """The texts in their order, as many at once as the provider takes; one that is too long for it stands alone."""
    texts_max, tokens_max = _MOST.get(provider, _USUAL)
    begun, size = 0, 0
    for at, text in enumerate(texts):
        more = _MARGIN * tokens(text)
        if at > begun and (at - begun >= texts_max or size + more > tokens_max):
            yield texts[begun:at]
            begun, size = at, 0
        size += more
    if begun < len(texts):
        yield texts[begun:]

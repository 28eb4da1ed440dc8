"""What the server knows of one model: what it can take, how fast it is, its limits, who may use it."""

from __future__ import annotations

from dataclasses import dataclass

from .speech import Answerer


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One model. It is served in every format, under the name that it has in `serve(models={...})`."""

    window: int = 128_000
    """Tokens of input that fit."""
    max_output: int = 16_384
    """The most that a request may ask for as its answer, in tokens."""
    rpm: int | None = None
    """Requests within `minute_s` that are answered; more get 429."""
    tpm: int | None = None
    """Tokens within `minute_s`, in and out; a request whose input does not fit in what is left gets 429."""
    concurrency: int | None = None
    """Requests under way at once; more get 429."""
    minute_s: float = 60.0
    """How long a minute of the limits is, in seconds. Any window of this length counts, not the clock's minutes."""
    first_token_s: float = 0.0
    """Before the first token, in seconds."""
    token_s: float = 0.0
    """Between two tokens, in seconds; a plain answer comes after all of them."""
    keys: frozenset[str] | None = None
    """The keys that may use it. None: any."""
    answer: Answerer | None = None
    """The model itself. None: the default answers."""
    dimensions: int = 64
    """Of an embedding."""
    thinking: bool = False
    """It is one of those that reason: it demands its own signatures back, and refuses some parameters."""
    prefill: bool = True
    """A conversation may end with a turn of the assistant."""
    alternate: bool = False
    """Turns must alternate, as older models, templates of local ones and Bedrock want it."""
    mistral: bool = False
    """In chat completions it has Mistral's rules for ids and turns, and its form of errors; its embeddings have an id,
    as for whoever asks with Mistral's own library."""
    cache: bool = False
    """A prefix of turns that was seen before counts as cached."""
    strict_parameters: bool = True
    """Unknown parameters are refused."""

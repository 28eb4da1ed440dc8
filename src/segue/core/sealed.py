"""A signal's payload as the journal holds it: what its type keeps secret is sealed, whoever has sent it. Pure."""

from __future__ import annotations

import json
from typing import Any, cast

from .codec import Codec, codec, dumps
from .commands import Wait
from .redaction import envelope_of
from .secret import Secret


def sealed(wait: Wait, value: bytes | None) -> bytes | None:
    """The payload of a signal that this wait takes. One that does not fit its type is sealed as a whole."""
    of = wait.payload or wait.form
    if of is None or value is None:
        return value
    of.ready()
    if not of.private:
        return value
    if wait.form is None:
        return _sealed(of, value)
    said: Any = json.loads(value)
    if not isinstance(said, dict) or "answer" not in said:
        return value
    word = cast("dict[str, Any]", said)
    return dumps({**word, "answer": json.loads(_sealed(of, dumps(word["answer"])))})


def _sealed(of: Codec, data: bytes) -> bytes:
    try:
        return of.encode(of.decode(data))
    except ValueError:
        given = json.loads(data)
        return data if envelope_of(given) is not None else codec(Any).encode(Secret(given))

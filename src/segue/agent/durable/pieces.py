"""An answer that is on record, told in pieces: the same ones each time, whatever pieces it once came in.

An agent's loop in a flow is given an answer when it is on disk. Who reads it as a stream is given its text a few words
at a time. Pydantic AI replays such events from a recording of a streamed request, and so it is told of one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_ai.messages import (
    FinalResultEvent,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import CompletedStreamedResponse, ModelRequestParameters

__all__ = ["in_pieces", "pieces"]

_LONG, _MOST = 24, 400
"""Characters of a piece, and pieces of a text: about so many."""


async def in_pieces(response: ModelResponse, parameters: ModelRequestParameters, load: Callable[[object], Any]) -> Any:
    """What a streamed request has given, for the loop to go on from. `load` reads it as Pydantic AI's own type; where
    that takes no events any more, it is the answer, whole.
    """
    events = [event async for event in _events(response, parameters)]
    try:
        return load({"response": response, "events": events})
    except ValidationError:
        return response


async def _events(
    response: ModelResponse, parameters: ModelRequestParameters
) -> AsyncIterator[ModelResponseStreamEvent]:
    left: list[PartDeltaEvent] = []
    async for event in CompletedStreamedResponse(response, model_request_parameters=parameters, replay_events=True):
        if not isinstance(event, FinalResultEvent):  # it belongs to the beginning of its part
            for delta in left:
                yield delta
            left = []
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart) and event.part.content:
            first, *more = pieces(event.part.content)
            left = [PartDeltaEvent(index=event.index, delta=TextPartDelta(content_delta=piece)) for piece in more]
            event = replace(event, part=replace(event.part, content=first))  # noqa: PLW2901  the rest of it follows
        yield event
    for delta in left:
        yield delta


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of a few words, of a long one longer: each ends behind a space, or where there is none for long.

    They are the text, and the same ones each time.
    """
    size = max(_LONG, len(text) // _MOST)
    yield from re.findall(rf"(?s).{{1,{size}}}(?:\s+|\Z)|.{{{size}}}", text)

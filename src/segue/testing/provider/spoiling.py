"""What each fault does to an answer and to its bytes. Pure: an answer in, an answer out; bytes in, deeds out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias

from .answers import halved
from .faults import FaultPlan, Trouble
from .schemas import example, misfit
from .speech import Answer, Asked, Call, Finish, Usage

PROXY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)
REFUSED = "I'm sorry, but I can't help with that."
PIECES = 8
"""Into how many pieces a plain body trickles."""


class Frame(NamedTuple):
    """One event of a stream as bytes. Its part says what is lost with it; `tokens` are those that it carries."""

    data: bytes
    part: Literal["head", "content", "tail"]
    tokens: int = 0


class Wait(NamedTuple):
    """Time passes, in seconds."""

    seconds: float


class Hang(NamedTuple):
    """The connection is closed, or reset. Nothing comes after it."""

    reset: bool


Deed: TypeAlias = Frame | Wait | Hang


def spoilt(trouble: Trouble, asked: Asked, said: Answer) -> Answer:  # noqa: PLR0911  one for each trouble
    """The answer that the model gives under this trouble; the same one where it is not one of bad output."""
    seed = asked.prompt
    match trouble:
        case Trouble.EMPTY_CONTENT:
            return Answer()
        case Trouble.REFUSAL:
            return Answer(text=REFUSED, finish=Finish.REFUSAL)
        case Trouble.FILTERED:
            return Answer(text=halved(said).text, finish=Finish.FILTER)
        case Trouble.LENGTH:
            return halved(said)
        case Trouble.NOT_JSON:
            return Answer(
                text=f"Sure! Here is what you asked for:\n\n{json.dumps(example(asked.schema or {}, seed))[:-1]}"
            )
        case Trouble.WRONG_SCHEMA:
            schemas = {tool.name: tool.schema for tool in asked.tools}
            calls = tuple(c._replace(arguments=json.dumps(misfit(schemas.get(c.name), seed))) for c in said.calls)
            return replace(said, calls=calls) if calls else Answer(text=json.dumps(misfit(asked.schema, seed)))
        case Trouble.BAD_ARGUMENTS:
            return Answer(calls=tuple(_malformed(call) for call in said.calls), finish=Finish.MALFORMED_CALL)
        case Trouble.UNKNOWN_TOOL:
            return Answer(calls=(Call("no_such_tool", "{}"),), finish=Finish.TOOLS)
        case _:
            return said


def told(trouble: Trouble | None, usage: Usage) -> Usage | None:
    """The usage that the answer says; None where it says none."""
    if trouble is Trouble.NO_USAGE:
        return None
    return Usage(1, 0) if trouble is Trouble.WRONG_USAGE else usage


def stream(  # noqa: PLR0911  one for each trouble
    trouble: Trouble | None, frames: Sequence[Frame], error: bytes, drawn_at: float, plan: FaultPlan
) -> list[Deed]:
    """The deeds that send a stream under this trouble. At least one piece of content comes before it, where any is."""
    at = _middle(frames, drawn_at)
    rest = frames[at].data if at < len(frames) else b"data: {}\n\n"
    begun: list[Deed] = list(frames[:at])
    match trouble:
        case Trouble.STALL:
            return [*begun, Wait(plan.silence_s), Hang(reset=True)]
        case Trouble.CUT:
            return [*begun, Frame(rest[: len(rest) // 2], "content"), Hang(reset=False)]
        case Trouble.CUT_RESET:
            return [*begun, Hang(reset=True)]
        case Trouble.BAD_CHUNK:
            return [*begun, Frame(_broken(rest), "content"), *frames[at + 1 :]]
        case Trouble.STREAM_ERROR:
            return [*begun, Frame(error, "tail")]
        case Trouble.NO_END:
            return [frame for frame in frames if frame.part != "tail"]
        case Trouble.SLOW_FIRST:
            heads = sum(frame.part == "head" for frame in frames)
            return [*frames[:heads], Wait(plan.slow_s), *frames[heads:]]
        case Trouble.TRICKLE:
            slow: list[Deed] = [deed for frame in frames for deed in (frame, Wait(plan.gap_s))]
            return slow[:-1]
        case _:
            return list(frames)


def whole(trouble: Trouble | None, body: bytes, where: float, plan: FaultPlan) -> list[Deed]:
    """The deeds that send a plain body under this trouble."""
    at = max(1, min(len(body) - 1, int(where * len(body))))
    match trouble:
        case Trouble.STALL:
            return [Frame(body[:at], "content"), Wait(plan.silence_s), Hang(reset=True)]
        case Trouble.CUT | Trouble.CUT_RESET:
            return [Frame(body[:at], "content"), Hang(reset=trouble is Trouble.CUT_RESET)]
        case Trouble.BAD_CHUNK:
            return [Frame(body[:at], "content")]
        case Trouble.SLOW_FIRST:
            return [Wait(plan.slow_s), Frame(body, "content")]
        case Trouble.TRICKLE:
            size = -(-len(body) // PIECES)
            pieces = [Frame(body[i : i + size], "content") for i in range(0, len(body), size)]
            return [deed for piece in pieces for deed in (Wait(plan.gap_s), piece)]
        case _:
            return [Frame(body, "content")]


def size(deeds: Sequence[Deed], body: bytes, trouble: Trouble | None) -> int:
    """The content-length that the head of a plain response says: a cut body promises more than comes."""
    return len(body) if trouble is not Trouble.BAD_CHUNK else sum(len(d.data) for d in deeds if isinstance(d, Frame))


def _middle(frames: Sequence[Frame], where: float) -> int:
    """The index of the frame at which a stream goes wrong: after its first content, not after its last."""
    content = [i for i, frame in enumerate(frames) if frame.part == "content"]
    if not content:
        return len([frame for frame in frames if frame.part == "head"])
    return content[0] + 1 + int(where * max(0, len(content) - 1))


def _broken(data: bytes) -> bytes:
    """An event whose JSON is cut, its end kept."""
    lines = data.rstrip(b"\r\n").split(b"\n")
    lines[-1] = lines[-1][: 6 + max(1, (len(lines[-1]) - 6) // 2)]
    return b"\n".join(lines) + b"\n\n"


def _malformed(call: Call) -> Call:
    text = call.arguments.rstrip("}") or "{"
    return call._replace(arguments=text[: max(1, len(text) * 2 // 3)] + ' "')

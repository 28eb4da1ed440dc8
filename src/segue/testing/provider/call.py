"""One call of a model, from its bytes to the last byte of its answer, and what is counted on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from pydantic_core import to_json

from . import spoiling, tokens
from .answers import answer
from .faults import BAD_OUTPUT, HARMLESS, STATUS, Draw, Trouble, fitted
from .formats import Format, asked_tokens
from .http import Connection, Request
from .log import Entry, Outcome
from .marks import Ids
from .meter import Meter
from .served import Served
from .speech import Answer, Asked, Body, Refused, Usage, Wrong
from .spoiling import Deed, Frame, Hang, Wait

if TYPE_CHECKING:
    from .server import Provider

_JSON = {"content-type": "application/json"}
_HTML = {"content-type": "text/html", "server": "cloudflare"}
_OF_WORDS = (*BAD_OUTPUT, Trouble.REFUSAL, Trouble.FILTERED)


class Call:
    """One request that goes to a model."""

    def __init__(
        self, provider: Provider, format: Format, request: Request, connection: Connection, *, place: str, ids: Ids
    ) -> None:
        self.provider, self.format, self.request = provider, format, request
        self.connection, self.ids = connection, ids
        self.entry = Entry(
            id=format.request_id(ids), at=provider.clock(), format=format.name, model="", place=place,
            headers=request.headers, raw=request.body,
        )  # fmt: skip
        self.meter: Meter | None = None
        self.begun = False

    async def run(self) -> None:
        """Answer it, whatever comes."""
        self.provider.log.entries.append(self.entry)
        try:
            await self.answer()
        except asyncio.CancelledError:
            self.end(Outcome.ABANDONED)
            raise
        finally:
            if self.begun and self.meter is not None:
                self.meter.ended()

    async def answer(self) -> None:
        """Refuse it, or let it in and see what it meets."""
        try:
            asked, served = self.read()
        except Refused as refused:
            return self.refuse(refused, Outcome.REJECTED)
        meter, used = cast("Meter", self.meter), asked_tokens(asked)
        if (over := meter.over(used)) is not None:
            return self.refuse(self.format.too_much(over, asked), Outcome.LIMITED)
        meter.began(used)
        self.begun = True
        drawn = self.provider.draw(self.entry.model)
        if drawn.trouble is not None and await self.denied(drawn.trouble, asked, served):
            return None
        await self.produce(asked, served, drawn, used)
        return None

    def read(self) -> tuple[Asked, Served]:
        """What is asked, and of which model.

        Raises:
            Refused: The provider would not take it.
        """
        try:
            body = json.loads(self.request.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self.format.unread()
        said = cast("Body", body)
        self.entry.key = self.format.key(self.request)
        if not self.entry.key:
            raise self.format.unkeyed("")
        model = self.format.model(self.request, said)
        name = self.provider.served(self.entry.place, model)
        if name is None:
            raise self.format.unknown(model)
        self.entry.model, self.meter, served = name, self.provider.meter(name), self.provider.models[name]
        self.meter.arrived()
        if served.keys is not None and self.entry.key not in served.keys:
            raise self.format.unkeyed(self.entry.key)
        asked = self.format.read(self.request, said, served)
        self.entry.stream = asked.stream
        self.entry.prompt = "\n".join(turn.text for turn in asked.turns) if self.format.embeds else asked.prompt
        return asked, served

    def refuse(self, refused: Refused, outcome: Outcome) -> None:
        """Answer with an error."""
        status, headers, body = self.format.error(refused, self.ids)
        limits = self.format.headers(self.meter.standing() if self.meter else None, self.ids)
        self.entry.error = refused.message
        self.whole(status, {**_JSON, **limits, **headers}, to_json(body))
        self.end(outcome)

    async def denied(self, trouble: Trouble, asked: Asked, served: Served) -> bool:
        """Whether the trouble comes before any work is done; then it has come."""
        plan = self.provider.plan
        self.entry.trouble = trouble
        if trouble in STATUS:
            blocked = self.format.blocked(asked, Usage(asked_tokens(asked), 0), self.ids)
            if trouble is not Trouble.PROMPT_BLOCKED or blocked is None:
                self.refuse(self.format.refusal(trouble, asked, served, plan), Outcome.SPOILT)
                return True
            body = b"data: %b\r\n\r\n" % to_json(blocked) if asked.stream else to_json(blocked)
            self.whole(200, self.headers(stream=asked.stream), body)
        elif trouble is Trouble.HTML_ERROR:
            self.whole(502, _HTML, spoiling.PROXY_PAGE)
        elif trouble is Trouble.HTML_OK:
            self.whole(200, _HTML, spoiling.PROXY_PAGE)
        elif trouble is Trouble.EMPTY_BODY:
            self.whole(200, self.headers(stream=asked.stream), b"")
        elif trouble in (Trouble.CLOSED, Trouble.HEADERS_CUT):
            if trouble is Trouble.HEADERS_CUT:
                self.begin(200, self.headers(stream=asked.stream), None if asked.stream else 1_000)
            self.connection.close()
        elif trouble is Trouble.RESET:
            self.connection.cut()
        elif trouble in (Trouble.SILENT, Trouble.HEADERS_ONLY):
            if trouble is Trouble.HEADERS_ONLY:
                self.begin(200, self.headers(stream=asked.stream), None if asked.stream else 1_000)
            await asyncio.sleep(plan.silence_s)
            self.connection.cut()
        else:
            return False
        self.end(Outcome.SPOILT)
        return True

    async def produce(self, asked: Asked, served: Served, drawn: Draw, used: int) -> None:
        """Let the model answer, spoil the answer, send it."""
        said = Answer(text="vectors") if self.format.embeds else answer(asked, served.answer)
        trouble = drawn.trouble and fitted(drawn.trouble, asked, calls=bool(said.calls))
        if self.format.embeds and trouble in _OF_WORDS:
            trouble = Trouble.EMPTY_CONTENT
        said = spoiling.spoilt(trouble, asked, said) if trouble else said
        self.entry.trouble = trouble
        self.entry.answer = said.text or json.dumps([call._asdict() for call in said.calls])
        cached = self.provider.caches[self.entry.model].hit(asked) if served.cache else 0
        made = 0 if self.format.embeds else said.tokens
        usage = Usage(used, made, cached, tokens.count(said.thoughts))
        self.bill(used, 0 if asked.stream else made)
        if asked.stream and trouble is not Trouble.ANSWER_LOST:
            await self.stream(asked, said, usage, drawn._replace(trouble=trouble), served)
        else:
            await self.plain(asked, said, usage, drawn._replace(trouble=trouble), served)
        harmless = trouble is None or trouble in HARMLESS
        self.end((Outcome.ANSWERED if self.connection.alive else Outcome.ABANDONED) if harmless else Outcome.SPOILT)

    async def plain(self, asked: Asked, said: Answer, usage: Usage, drawn: Draw, served: Served) -> None:
        """The whole answer at once."""
        trouble, plan = drawn.trouble, self.provider.plan
        if (pause := served.first_token_s + served.token_s * usage.tokens_out) > 0:
            await asyncio.sleep(pause)
        if trouble is Trouble.ANSWER_LOST:
            return self.connection.cut()
        content = self.format.whole(asked, said, spoiling.told(trouble, usage), self.ids)
        if trouble is Trouble.STREAM_ERROR:
            wrong = Refused(why=Wrong.SERVER_ERROR, message="Internal error encountered.")
            content = self.format.error(wrong, self.ids)[2]
        body = to_json(content)
        deeds = spoiling.whole(trouble, body, drawn.where, plan)
        if len(deeds) == 1 and trouble is not Trouble.CUT:
            return self.whole(200, self.headers(stream=False), cast("Frame", deeds[0]).data)
        self.begin(200, self.headers(stream=False), spoiling.size(deeds, body, trouble))
        await self.play(deeds, 0.0)
        return None

    async def stream(self, asked: Asked, said: Answer, usage: Usage, drawn: Draw, served: Served) -> None:
        """The answer as events."""
        frames = self.format.frames(asked, said, spoiling.told(drawn.trouble, usage), self.ids)
        error = self.format.error_frame(self.ids)
        deeds = spoiling.stream(drawn.trouble, frames, error, drawn.where, self.provider.plan)
        self.begin(200, self.headers(stream=True), None)
        if served.first_token_s > 0:
            await asyncio.sleep(served.first_token_s)
        await self.play(deeds, served.token_s)

    async def play(self, deeds: Sequence[Deed], token_s: float) -> None:
        """Do one deed after the other. Frames without time between them are sent at once."""
        ready: list[Frame] = []
        for deed in deeds:
            if isinstance(deed, Frame) and not (token_s and deed.tokens):
                ready.append(deed)
                continue
            await self.flush(ready)
            match deed:
                case Frame():
                    await asyncio.sleep(token_s * deed.tokens)
                    ready.append(deed)
                case Wait():
                    await asyncio.sleep(deed.seconds)
                case Hang():
                    return self.connection.cut() if deed.reset else self.connection.close()
        await self.flush(ready)
        self.connection.end()
        return None

    async def flush(self, ready: list[Frame]) -> None:
        """Send what is ready, and bill it."""
        if not ready:
            return
        await self.connection.drained()
        self.connection.send([frame.data for frame in ready])
        self.bill(0, sum(frame.tokens for frame in ready))
        ready.clear()

    # --- the small change ---

    def headers(self, *, stream: bool) -> dict[str, str]:
        """Those of a good response."""
        standing = self.meter.standing() if self.meter is not None else None
        kind = {"content-type": self.format.stream_type(), "cache-control": "no-cache"} if stream else _JSON
        return {**kind, **self.format.headers(standing, self.ids)}

    def whole(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole response."""
        self.entry.status = status
        self.connection.whole(status, headers, body)

    def begin(self, status: int, headers: dict[str, str], length: int | None) -> None:
        """The head of a response."""
        self.entry.status = status
        self.connection.begin(status, headers, length)

    def bill(self, tokens_in: int, tokens_out: int) -> None:
        """Count tokens that a provider would bill."""
        self.entry.tokens_in += tokens_in
        self.entry.tokens_out += tokens_out
        if self.meter is not None:
            self.meter.billed(tokens_in, tokens_out)

    def end(self, outcome: Outcome) -> None:
        """It is over: the log and the counts say how."""
        if self.entry.outcome is not Outcome.OPEN:
            return
        self.entry.outcome, self.entry.ended = outcome, self.provider.clock()
        if self.meter is not None:
            self.meter.over_with(outcome)

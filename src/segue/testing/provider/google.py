"""Google: `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic_core import to_json

from . import tokens
from .faults import Trouble
from .formats import Format, Words, asked_tokens, retry_after
from .google_rules import bad, read
from .http import Request
from .marks import Ids, sign
from .meter import Over, Standing
from .served import Served
from .speech import Answer, Asked, Body, Finish, Json, Refused, Usage, Wrong, object_of
from .spoiling import Frame

_ERRORS = {
    Wrong.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    Wrong.NO_KEY: (403, "PERMISSION_DENIED"),
    Wrong.BAD_KEY: (400, "INVALID_ARGUMENT"),
    Wrong.FORBIDDEN: (403, "PERMISSION_DENIED"),
    Wrong.BILLING: (403, "PERMISSION_DENIED"),
    Wrong.NO_MODEL: (404, "NOT_FOUND"),
    Wrong.NOT_FOUND: (404, "NOT_FOUND"),
    Wrong.TOO_LARGE: (413, "INVALID_ARGUMENT"),
    Wrong.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED"),
    Wrong.OVERLOADED: (503, "UNAVAILABLE"),
    Wrong.SERVER_ERROR: (500, "INTERNAL"),
}
_REASON = {Wrong.BAD_KEY: "API_KEY_INVALID", Wrong.BILLING: "BILLING_DISABLED"}
_FINISH = {
    Finish.STOP: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.TOOLS: "STOP",
    Finish.FILTER: "SAFETY",
    Finish.REFUSAL: "PROHIBITED_CONTENT",
    Finish.MALFORMED_CALL: "MALFORMED_FUNCTION_CALL",
}
_LIMITED = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error,"
    " head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n* Quota exceeded for metric:"
    " generativelanguage.googleapis.com/generate_content_paid_tier_requests, limit: 10\nPlease retry in {wait}."
)


def error_of(refused: Refused) -> tuple[int, dict[str, str], Body]:
    """Status, headers and body; when to retry is in the details, and in a header where that is asked for."""
    status, name = _ERRORS[refused.why]
    details = list(refused.details)
    kind = "type.googleapis.com/google.rpc."
    if reason := _REASON.get(refused.why):
        about = {"service": "generativelanguage.googleapis.com"}
        details.append({"@type": f"{kind}ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": about})
    if refused.why is Wrong.RATE_LIMITED:
        metric = "generativelanguage.googleapis.com/generate_content_paid_tier_requests"
        quota = {"quotaMetric": metric, "quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": "10"}
        details.append({"@type": f"{kind}QuotaFailure", "violations": [quota]})
    if refused.retry_after_s is not None:
        details.append({"@type": f"{kind}RetryInfo", "retryDelay": f"{round(refused.retry_after_s, 9):g}s"})
    error: Body = {"code": status, "message": refused.message, "status": name}
    return status, retry_after(refused), {"error": {**error, "details": details} if details else error}


class Google(Format):
    """generateContent, plain and streamed. A model that thinks signs its calls, and wants its signatures back."""

    name: ClassVar[str] = "google"
    says: ClassVar = {
        Trouble.RATE_LIMITED: Words(Wrong.RATE_LIMITED, _LIMITED),
        Trouble.RATE_LIMITED_DATE: Words(Wrong.RATE_LIMITED, _LIMITED),
        Trouble.RATE_LIMITED_OWN: Words(Wrong.RATE_LIMITED, _LIMITED),
        Trouble.OVERLOADED: Words(Wrong.OVERLOADED, "The model is overloaded. Please try again later."),
        Trouble.SERVER_ERROR: Words(
            Wrong.SERVER_ERROR,
            "An internal error has occurred. Please retry or report in"
            " https://developers.generativeai.google/guide/troubleshooting",
        ),
        Trouble.UNAUTHORISED: Words(Wrong.BAD_KEY, "API key not valid. Please pass a valid API key."),
        Trouble.FORBIDDEN: Words(Wrong.FORBIDDEN, "Your project has been denied access. Please contact support."),
        Trouble.BILLING: Words(
            Wrong.BILLING,
            "This API method requires billing to be enabled. Please enable billing on project #segue by visiting"
            " https://console.developers.google.com/billing/enable?project=segue then retry.",
        ),
        Trouble.BAD_REQUEST: Words(
            Wrong.BAD_REQUEST,
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n",
        ),
        Trouble.CONTEXT_TOO_LONG: Words(
            Wrong.BAD_REQUEST,
            "The input token count ({used}) exceeds the maximum number of tokens allowed ({window}).",
        ),
        Trouble.PROMPT_BLOCKED: Words(Wrong.BAD_REQUEST, "The prompt was blocked."),
    }

    def key(self, request: Request) -> str:
        """`x-goog-api-key`, or `?key=`."""
        return request.headers.get("x-goog-api-key") or request.query.get("key", "")

    def model(self, request: Request, body: Body) -> str:
        """From the path."""
        return request.path.rpartition("/models/")[2].rpartition(":")[0]

    def unkeyed(self, key: str) -> Refused:
        """403 without a key, 400 with a wrong one."""
        if key:
            return Refused(why=Wrong.BAD_KEY, message="API key not valid. Please pass a valid API key.")
        return Refused(
            why=Wrong.NO_KEY,
            message="Method doesn't allow unregistered callers (callers without established identity). Please use API"
            " Key or other form of API consumer identity to call this API.",
        )

    def unknown(self, model: str) -> Refused:
        """404."""
        return Refused(
            why=Wrong.NO_MODEL,
            message=f"models/{model} is not found for API version v1beta, or is not supported for generateContent. Call"
            " ListModels to see the list of available models and their supported methods.",
        )

    def unread(self) -> Refused:
        """400."""
        return bad("Invalid JSON payload received. Expected a value.")

    def read(self, request: Request, body: Body, served: Served) -> Asked:
        """What is asked."""
        streams = request.path.endswith(":streamGenerateContent")
        asked = read(body, self.model(request, body), served, stream=streams)
        used = asked_tokens(asked)
        if used > served.window:
            raise bad(f"The input token count ({used}) exceeds the maximum number of tokens allowed ({served.window}).")
        return asked

    def whole(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> Body:
        """A `GenerateContentResponse`."""
        parts = [*_thought(said.thoughts if _shows(asked) else ""), *_words(said.text), *_calls(asked, said)]
        if said.finish is Finish.REFUSAL:
            parts = []
        return {**_response(asked, ids, usage), "candidates": [_candidate(parts, _FINISH[said.finish])]}

    def frames(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> list[Frame]:
        """A response for each token of text, each call whole, and one with the finish. Usage grows on the way."""
        found: list[Frame] = []
        thoughts = tokens.split(said.thoughts)
        sent, hidden = 0, 0 if _shows(asked) else len(thoughts)

        def chunk(parts: list[Body], count: int, finish: str | None = None, part: Any = "content") -> None:
            nonlocal sent, hidden
            count, hidden = count + hidden, 0
            sent += count
            so_far = None if usage is None else usage._replace(tokens_out=sent, thoughts=min(sent, len(thoughts)))
            so_far = usage if finish is not None else so_far
            data = {"candidates": [_candidate(parts, finish)], **_response(asked, ids, so_far)}
            found.append(Frame(b"data: %b\r\n\r\n" % to_json(data), part, count))

        for piece in thoughts if _shows(asked) else ():
            chunk(_thought(piece), 1)
        for piece in tokens.split(said.text) if said.finish is not Finish.REFUSAL else ():
            chunk(_words(piece), 1)
        for call, part in zip(said.calls, _calls(asked, said), strict=False):
            chunk([part], tokens.count(call.name) + tokens.count(call.arguments))
        silent = said.tokens - sent - hidden
        chunk([{"text": ""}] if found else [], silent, _FINISH[said.finish], "tail")
        return found

    def blocked(self, asked: Asked, usage: Usage | None, ids: Ids) -> Body:
        """200 with a block reason and no candidate."""
        told = usage and usage._replace(tokens_out=0, thoughts=0)
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **_response(asked, ids, told)}

    def error(self, refused: Refused, ids: Ids) -> tuple[int, dict[str, str], Body]:
        """Status, headers and body."""
        status, headers, body = error_of(refused)
        return status, {**self.headers(None, ids), **headers}, body

    def error_frame(self, ids: Ids) -> bytes:
        """An error in the place of a response."""
        error = {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}
        return b"data: %b\r\n\r\n" % to_json({"error": error})

    def request_id(self, ids: Ids) -> str:
        """The id of the response."""
        return ids.of("")

    def headers(self, standing: Standing | None, ids: Ids) -> dict[str, str]:
        """Google tells no limits in its headers."""
        return {"server-timing": "gfet4t7; dur=5", "x-goog-request-id": self.request_id(ids)}

    def too_much(self, over: Over, asked: Asked) -> Refused:
        """429."""
        metric = "requests" if over.limit == "requests" else "input_token_count"
        message = (
            "You exceeded your current quota, please check your plan and billing details. For more information on this"
            " error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n* Quota exceeded for metric:"
            f" generativelanguage.googleapis.com/generate_content_paid_tier_{metric}, limit: {over.most}, model:"
            f" {asked.model}\nPlease retry in {over.wait_s:g}s."
        )
        if over.limit == "concurrency":
            return Refused(why=Wrong.RATE_LIMITED, message="Resource has been exhausted (e.g. check quota).")
        return Refused(why=Wrong.RATE_LIMITED, message=message, retry_after_s=over.wait_s)


def _response(asked: Asked, ids: Ids, usage: Usage | None) -> Body:
    base: Body = {"modelVersion": asked.model, "responseId": ids.of("")}
    if usage is None:
        return base
    told: Body = {
        "promptTokenCount": usage.tokens_in,
        "candidatesTokenCount": usage.tokens_out - usage.thoughts,
        "totalTokenCount": usage.tokens_in + usage.tokens_out,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.tokens_in}],
    }
    if usage.cached:
        told["cachedContentTokenCount"] = usage.cached
    if usage.thoughts:
        told["thoughtsTokenCount"] = usage.thoughts
    return {"usageMetadata": told, **base}


def _candidate(parts: list[Body], finish: str | None) -> Body:
    content: Body = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    candidate: Body = {"content": content, "index": 0}
    return candidate if finish is None else {**candidate, "finishReason": finish}


def _words(text: str) -> list[Body]:
    return [{"text": text}] if text else []


def _thought(text: str) -> list[Body]:
    return [{"text": text, "thought": True}] if text else []


def _shows(asked: Asked) -> bool:
    """Whether thoughts are shown; they are counted where they are not."""
    config: Body = asked.body.get("generationConfig") or {}
    return object_of(config.get("thinkingConfig")).get("includeThoughts") is True


def _calls(asked: Asked, said: Answer) -> list[Body]:
    """Calls whose arguments are an object: this format cannot write others, so they are not there."""
    found: list[Body] = []
    for call in said.calls if said.finish is Finish.TOOLS else ():
        part: Body = {"functionCall": {"name": call.name, "args": _arguments(call.arguments)}}
        if asked.thinking and not found:
            part["thoughtSignature"] = sign("google", call.name + call.arguments)
        found.append(part)
    return found


def _arguments(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return {}

"""The providers' words for what went wrong: codes, statuses, phrases, classes. Data only.

Sources: the error pages of OpenAI, Anthropic, the Gemini API, Amazon Bedrock, Mistral, Groq, Azure OpenAI, OpenRouter,
DeepSeek, xAI, DashScope and Moonshot; the sources of vLLM, llama.cpp, Ollama and TGI; the bodies in their trackers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..core.faults import FaultKind as K


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.I)


TOO_LONG = _any(
    r"context_length_exceeded", r"context_window_exceeded", r"exceed_context_size_error", r"model_max_prompt_tokens",
    r"maximum context length", r"max(?:imum)? context (?:length|size)",
    r"context (?:length|window|limit) (?:was |is )?exceeded",
    r"exceeds? (?:the |this |its )?(?:model'?s? )?(?:maximum |available |max )?context", r"exceed context limit",
    r"exceeds the (?:context|token) (?:window|limit)", r"prompt is too long", r"prompt too long", r"input is too long",
    r"input token count .{0,40}exceeds", r"exceeds the maximum number of (?:input )?tokens", r"input tokens exceeded",
    r"reduce the length of (?:the|your) (?:messages|prompt|input)", r"maximum prompt length", r"maximum input length",
    r"too large for model with \d+", r"`inputs` (?:tokens|must have)", r"longer than the maximum model length",
    r"too many (?:input )?tokens:", r"max_tokens must be at least 1, got -", r"request_too_large",
    r"string_above_max_length", r"range of input length should be", r"total number of tokens in the prompt cannot",
    r"request exceeds the maximum (?:allowed )?(?:number of bytes|size)", r"too many total text bytes",
    r"input token count is \d+ but", r"too many input tokens", r"context (?:the )?overflows",
    r"longer than the model'?s? context", r"exceeded model token limit", r"prompt exceeds max length",
)  # fmt: skip
TOO_LARGE = _any(
    r"request too large for", r"input or output tokens must be reduced", r"please reduce your message size"
)
"""One request alone is more than a limit per minute allows."""

BILLING = _any(
    r"insufficient_quota", r"insufficient balance", r"insufficient_balance", r"credit balance is too low",
    r"billing_hard_limit", r"billing_not_active", r"billing_error", r"credit_balance_exhausted",
    r"spend_limit_exceeded", r"usage_limit_exceeded", r"exceeded_current_quota_error",
    r"requires more credits", r"purchase (?:more )?credits", r"enable billing", r"arrearage", r"account is not active",
    r"servicequotaexceeded", r"payment required", r"invoice is overdue", r"spending limit", r"out of credits",
    r"reached your specified (?:\w+ )?usage limits", r"spend(?:ing)? cap\b", r"credits are depleted",
    r"budget_exceeded", r"budget has been exceeded", r"\blimit: 0,",
)  # fmt: skip
"""Not "you exceeded your current quota, please check your plan and billing": Google says it of a minute's limit too."""

REFUSED = _any(
    r"content_filter", r"content_policy", r"responsibleaipolicyviolation", r"content management policy",
    r"blocked by content filtering", r"moderation_blocked", r"rejected (?:as a result of|by) our safety system",
    r"flagged (?:as|for|by|in)\b", r"violat\w+ (?:our |the )?(?:\w+ )?usage (?:policy|policies|guidelines)",
    r"data_inspection_failed", r"datainspectionfailed", r"inappropriate content", r"content exists risk",
    r"considered high risk", r"prohibited_content", r"safety_check_type", r"blocked by (?:a |the )?guardrail",
    r"guardrail_intervened", r"prompt was blocked", r"blockreason", r"\bcyber_policy\b", r"content_violation",
)  # fmt: skip

UNKNOWN_MODEL = _any(
    r"model_not_found", r"model_not_active", r"model_decommissioned", r"model_terms_required", r"deploymentnotfound",
    r"model .{0,80}(?:does not exist|not found|not supported for|is not available)",
    r"model .{0,80}has been (?:decommissioned|deprecated|shut down|retired)", r"models/\S+ is not found",
    r"^\W*not_found_error model:", r"invalid[ _]model\b", r"unknown model",
    r"model identifier is invalid", r"not a valid model id", r"no endpoints found", r"model_permission",
    r"on-demand throughput isn.t supported", r"no such model",
)  # fmt: skip

KEYS = _any(
    r"api key (?:not valid|expired|not found)", r"invalid api key", r"incorrect api key", r"location is not supported",
    r"unsupported_country_region", r"invalid (?:x-)?api[- ]key", r"organization has been disabled",
    r"organization must be verified", r"\boperation not allowed\b",
)  # fmt: skip
"""A key or an account that is refused under another status than 401: the Gemini API says it with 400."""

DOWN = _any(r"model has crashed", r"model (?:was |is )?unloaded")
"""A server that has lost its model, and says so with 400: LM Studio."""

PREFILL = _any(
    r"prefill", r"expected last role user",
    r"final assistant (?:content|message)",
    r"conversation must end with a user message",
    r"last message .{0,40}(?:user|tool)",
    r"ends? with (?:an )?assistant",
    r"last turn .{0,30}user",
)  # fmt: skip

BROKEN = _any(
    r"failed to decode response", r"expected a json response", r"invalid response from .{0,40} endpoint",
    r"expected json data", r"ended without a `?finish_reason", r"incomplete (?:chunked )?read",
    r"peer closed connection",
    r"streamed response ended without content", r"response ended prematurely", r"stream was interrupted",
)  # fmt: skip

CODES: Mapping[str, K] = {
    # OpenAI and those that speak as it does
    "rate_limit_exceeded": K.RATE_LIMITED,
    "rate_limit_error": K.RATE_LIMITED,
    "rate_limit_reached_error": K.RATE_LIMITED,
    "rate_limited": K.RATE_LIMITED,
    "too_many_requests": K.RATE_LIMITED,
    "toomanyrequests": K.RATE_LIMITED,
    "slow_down": K.RATE_LIMITED,
    "engine_overloaded": K.OVERLOADED,
    "engine_overloaded_error": K.OVERLOADED,
    "server_error": K.OVERLOADED,
    "server_is_overloaded": K.OVERLOADED,
    "internal_server_error": K.OVERLOADED,
    "internalservererror": K.OVERLOADED,
    "service_unavailable": K.OVERLOADED,
    "service_unavailable_error": K.OVERLOADED,
    "service_tier_capacity_exceeded": K.RATE_LIMITED,
    "capacity_exceeded": K.OVERLOADED,
    "vector_store_timeout": K.TIMED_OUT,
    "request_timeout": K.TIMED_OUT,
    "invalid_api_key": K.UNAUTHORISED,
    "invalid_authentication_error": K.UNAUTHORISED,
    "incorrect_api_key_error": K.UNAUTHORISED,
    "account_deactivated": K.UNAUTHORISED,
    "organization_restricted": K.UNAUTHORISED,
    "unsupported_country_region_territory": K.UNAUTHORISED,
    "permissiondenied": K.UNAUTHORISED,
    "access_denied": K.UNAUTHORISED,
    "invalid_prompt": K.CONTENT_REFUSED,
    "image_content_policy_violation": K.CONTENT_REFUSED,
    "1301": K.CONTENT_REFUSED,
    "json_validate_failed": K.BAD_OUTPUT,
    "tool_use_failed": K.BAD_OUTPUT,
    "output_parse_failed": K.BAD_OUTPUT,
    "invalid_request_error": K.BAD_REQUEST,
    "invalid_value": K.BAD_REQUEST,
    "unsupported_parameter": K.BAD_REQUEST,
    "unsupported_value": K.BAD_REQUEST,
    "unknown_parameter": K.BAD_REQUEST,
    "missing_required_parameter": K.BAD_REQUEST,
    # Anthropic
    "overloaded_error": K.OVERLOADED,
    "overloaded": K.OVERLOADED,
    "api_error": K.OVERLOADED,
    "timeout_error": K.TIMED_OUT,
    "authentication_error": K.UNAUTHORISED,
    "permission_error": K.UNAUTHORISED,
    # Google
    "resource_exhausted": K.RATE_LIMITED,
    "unavailable": K.OVERLOADED,
    "internal": K.OVERLOADED,
    "unknown": K.OVERLOADED,
    "aborted": K.OVERLOADED,
    "deadline_exceeded": K.TIMED_OUT,
    "cancelled": K.UNREACHABLE,
    "unauthenticated": K.UNAUTHORISED,
    "permission_denied": K.UNAUTHORISED,
    "invalid_argument": K.BAD_REQUEST,
    "out_of_range": K.BAD_REQUEST,
    # Bedrock
    "throttlingexception": K.RATE_LIMITED,
    "throttling": K.RATE_LIMITED,
    "toomanyrequestsexception": K.RATE_LIMITED,
    "serviceunavailableexception": K.OVERLOADED,
    "internalserverexception": K.OVERLOADED,
    "modelnotreadyexception": K.OVERLOADED,
    "modelerrorexception": K.OVERLOADED,
    "modelstreamerrorexception": K.OVERLOADED,
    "mpagreementbeingcreated": K.OVERLOADED,
    "modeltimeoutexception": K.TIMED_OUT,
    "requesttimeout": K.TIMED_OUT,
    "accessdeniedexception": K.UNAUTHORISED,
    "unrecognizedclientexception": K.UNAUTHORISED,
    "invalidsignatureexception": K.UNAUTHORISED,
    "expiredtokenexception": K.UNAUTHORISED,
    "expiredtoken": K.UNAUTHORISED,
    "resourcenotfoundexception": K.UNAUTHORISED,
    "validationexception": K.BAD_REQUEST,
}
"""Codes and types in lower case."""

STATUSES: Mapping[int, K] = {
    401: K.UNAUTHORISED,
    402: K.UNAUTHORISED,
    403: K.UNAUTHORISED,
    404: K.UNAUTHORISED,
    405: K.UNAUTHORISED,
    407: K.UNAUTHORISED,
    408: K.TIMED_OUT,
    409: K.OVERLOADED,
    410: K.UNAUTHORISED,
    413: K.CONTEXT_TOO_LONG,
    421: K.UNREACHABLE,
    424: K.OVERLOADED,
    425: K.OVERLOADED,
    429: K.RATE_LIMITED,
    451: K.CONTENT_REFUSED,
    498: K.OVERLOADED,
    499: K.UNREACHABLE,
    502: K.UNREACHABLE,
    504: K.TIMED_OUT,
    511: K.UNREACHABLE,
    520: K.UNREACHABLE,
    521: K.UNREACHABLE,
    522: K.UNREACHABLE,
    523: K.UNREACHABLE,
    524: K.TIMED_OUT,
    525: K.UNREACHABLE,
    526: K.UNREACHABLE,
    530: K.UNREACHABLE,
}
"""Where the rest of 4xx is a bad request and the rest of 5xx overload. 498 is Groq's, 52x Cloudflare's."""

UNCONNECTED = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError", "gaierror", "EndpointConnectionError",
     "ConnectTimeoutError", "NewConnectionError"}
)  # fmt: skip
"""Failures before a connection was there, by class: nothing was sent."""
TRANSPORT: Mapping[str, K] = {
    "NoCredentialsError": K.UNAUTHORISED,
    "PartialCredentialsError": K.UNAUTHORISED,
    "CredentialRetrievalError": K.UNAUTHORISED,
    "TokenRetrievalError": K.UNAUTHORISED,
    "NoAuthTokenError": K.UNAUTHORISED,
    "NoRegionError": K.UNAUTHORISED,
    "InvalidEndpointConfigurationError": K.UNAUTHORISED,
    "ParamValidationError": K.BAD_REQUEST,
    "ConnectTimeout": K.UNREACHABLE,
    "ConnectTimeoutError": K.UNREACHABLE,
    "PoolTimeout": K.OVERLOADED,
    "ModelRequestTimeout": K.TIMED_OUT,
    "ModelTimeoutError": K.TIMED_OUT,
    "ReadTimeout": K.TIMED_OUT,
    "WriteTimeout": K.TIMED_OUT,
    "ReadTimeoutError": K.TIMED_OUT,
    "TimeoutException": K.TIMED_OUT,
    "APITimeoutError": K.TIMED_OUT,
    "TimeoutError": K.TIMED_OUT,
    "TransportError": K.UNREACHABLE,
    "ModelConnectionError": K.UNREACHABLE,
    "APIConnectionError": K.UNREACHABLE,
    "HTTPClientError": K.UNREACHABLE,
    "ProtocolError": K.UNREACHABLE,
    "IncompleteReadError": K.UNREACHABLE,
    "StreamError": K.UNREACHABLE,
    "SSLError": K.UNREACHABLE,
    "gaierror": K.UNREACHABLE,
    "ConnectionError": K.UNREACHABLE,
}
"""Names of classes, bases included; the first that fits counts. Those of botocore come before a call is sent."""

LIMITS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_any(r"input tokens per (?:min|model per min)", r"InputTokens?PerModelPerMinute", r"input.?tokens? per minute"),
     "input tokens per minute"),
    (_any(r"output tokens per min"), "output tokens per minute"),
    (_any(r"tokens per min", r"\bTPM\b", r"TokensPerMinute", r"TokensPerModelPerMinute"), "tokens per minute"),
    (_any(r"tokens per day", r"\bTPD\b", r"TokensPerDay"), "tokens per day"),
    (_any(r"requests per min", r"\bRPM\b", r"RequestsPerMinute"), "requests per minute"),
    (_any(r"requests per day", r"\bRPD\b", r"RequestsPerDay"), "requests per day"),
    (_any(r"requests per second", r"\bRPS\b"), "requests per second"),
    (_any(r"concurren", r"parallel requests", r"max organization concurrency"), "concurrency"),
    (_any(r"too many tokens"), "tokens"),
    (_any(r"too many requests"), "requests"),
)  # fmt: skip

WINDOWS = (
    re.compile(r"max(?:imum)? (?:context|prompt) (?:length|size)\D{0,30}?(\d[\d,]{2,})", re.I),
    re.compile(r"\d[\d,]* tokens? > (\d[\d,]*) maximum", re.I),
    re.compile(r"exceed context limit: [\d, +]+> (\d[\d,]*)", re.I),
    re.compile(r"maximum number of (?:input )?tokens(?: allowed)? \(?(\d[\d,]*)", re.I),
    re.compile(r"model with (\d[\d,]*) maximum context", re.I),
    re.compile(r"context size \((\d[\d,]*) tokens\)", re.I),
    re.compile(r"context length(?: (?:is|of) only)? \(?(\d[\d,]*)", re.I),
    re.compile(r"only supports up to (\d[\d,]*)", re.I),
    re.compile(r"(?:max input tokens|model token limit): (\d[\d,]*)", re.I),
    re.compile(r"maximum model length of (\d[\d,]*)", re.I),
)
"""How a refusal tells the window, in tokens."""

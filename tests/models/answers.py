"""What the providers send when something is wrong, and what it stands for. Bodies from their docs and trackers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from segue.core.faults import FaultKind

K = FaultKind
NOW = 1_790_000_000.0
GOOGLE = "type.googleapis.com/google.rpc."
PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"


@dataclass(frozen=True)
class Sent:
    """One answer of a provider, and what it stands for."""

    name: str
    status: int
    body: Any
    kind: FaultKind
    headers: dict[str, str] = field(default_factory=dict[str, str])
    wait_s: float | None = None
    limit: str | None = None
    window: int | None = None


def openai(message: str, type: str | None, code: str | None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def claude(type: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def gemini(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def quota(id: str) -> dict[str, Any]:
    return {"@type": GOOGLE + "QuotaFailure", "violations": [{"quotaMetric": "x/generate_content", "quotaId": id}]}


def later(delay: str) -> dict[str, Any]:
    return {"@type": GOOGLE + "RetryInfo", "retryDelay": delay}


OPENAI = [
    Sent("requests per minute", 429, openai(
        "Rate limit reached for gpt-4o in organization org-x on requests per min (RPM): Limit 500, Used 500, Requested "
        "1. Please try again in 120ms.", "requests", "rate_limit_exceeded"), K.RATE_LIMITED,
        wait_s=0.12, limit="requests per minute"),
    Sent("tokens per minute", 429, openai(
        "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, "
        "Requested 2000. Please try again in 2s.", "tokens", "rate_limit_exceeded"), K.RATE_LIMITED,
        {"retry-after-ms": "1950", "retry-after": "2"}, wait_s=1.95, limit="tokens per minute"),
    Sent("reset headers only", 429, openai("Too many.", None, "rate_limit_exceeded"), K.RATE_LIMITED,
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s",
         "x-ratelimit-remaining-tokens": "149984", "x-ratelimit-reset-tokens": "1s"}, wait_s=360, limit="requests"),
    Sent("one request over a minute's limit", 429, openai(
        "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 40211. The "
        "input or output tokens must be reduced in order to run successfully.", "tokens", "rate_limit_exceeded"),
        K.CONTEXT_TOO_LONG, limit="tokens per minute"),
    Sent("no credit", 429, openai(
        "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota",
        "insufficient_quota"), K.UNAUTHORISED, {"retry-after": "1"}, limit="billing"),
    Sent("hard limit", 400, openai("Billing hard limit has been reached", "invalid_request_error",
        "billing_hard_limit_reached"), K.UNAUTHORISED, limit="billing"),
    Sent("wrong key", 401, openai("Incorrect API key provided: sk-abcdef123456. You can find your API key at …",
        "invalid_request_error", "invalid_api_key"), K.UNAUTHORISED),
    Sent("country", 403, openai("Country, region, or territory not supported", "request_forbidden",
        "unsupported_country_region_territory"), K.UNAUTHORISED),
    Sent("unknown model", 404, openai("The model `gpt-9` does not exist or you do not have access to it.",
        "invalid_request_error", "model_not_found"), K.UNAUTHORISED, limit="model"),
    Sent("too long", 400, openai(
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130021 tokens. "
        "Please reduce the length of the messages.", "invalid_request_error", "context_length_exceeded", "messages"),
        K.CONTEXT_TOO_LONG, window=128000),
    Sent("too long (responses)", 400, openai(
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "invalid_request_error", "context_length_exceeded", "input"), K.CONTEXT_TOO_LONG),
    Sent("one text too long", 400, openai("Invalid 'messages[0].content': string too long. Expected a string with "
        "maximum length 10485760, but got a string with length 10485761 instead.", "invalid_request_error",
        "string_above_max_length", "messages[0].content"), K.CONTEXT_TOO_LONG),
    Sent("output limit", 400, openai("max_tokens is too large: 100000. This model supports at most 16384 completion "
        "tokens, whereas you provided 100000.", "invalid_request_error", "invalid_value", "max_tokens"), K.BAD_REQUEST),
    Sent("not verified", 400, openai("Your organization must be verified to stream this model.",
        "invalid_request_error", "unsupported_value", "stream"), K.UNAUTHORISED),
    Sent("unsupported parameter", 400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.", "invalid_request_error", "unsupported_parameter", "max_tokens"),
        K.BAD_REQUEST),
    Sent("orphan result", 400, openai("Invalid parameter: messages with role 'tool' must be a response to a preceeding "
        "message with 'tool_calls'.", "invalid_request_error", None, "messages.[1].role"), K.BAD_REQUEST),
    Sent("bad schema", 400, openai("Invalid schema for response_format 'x': In context=(), 'additionalProperties' is "
        "required to be supplied and to be false.", "invalid_request_error", None, "response_format"), K.BAD_REQUEST),
    Sent("flagged prompt", 400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage "
        "policy. Please try again with a different prompt.", "invalid_request_error", "invalid_prompt"),
        K.CONTENT_REFUSED),
    Sent("safety system", 400, openai("Your request was rejected as a result of our safety system.",
        "invalid_request_error", "content_policy_violation"), K.CONTENT_REFUSED),
    Sent("server error", 500, openai("The server had an error while processing your request. Sorry about that!",
        "server_error", None), K.OVERLOADED),
    Sent("overloaded", 503, openai("The engine is currently overloaded, please try again later", "server_error",
        None), K.OVERLOADED, {"retry-after": "3"}, wait_s=3),
    Sent("slow down", 503, openai("Slow Down", "server_error", "slow_down"), K.RATE_LIMITED),
    Sent("Azure", 429, {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation under "
        "Azure OpenAI API version 2024-02-01 have exceeded token rate limit of your current OpenAI S0 pricing tier. "
        "Please retry after 26 seconds."}}, K.RATE_LIMITED, wait_s=26),
    Sent("Azure filter", 400, {"error": {"message": "The response was filtered due to the prompt triggering Azure "
        "OpenAI's content management policy.", "type": None, "param": "prompt", "code": "content_filter", "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}}},
        K.CONTENT_REFUSED),
    Sent("Azure deployment", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this "
        "resource does not exist."}}, K.UNAUTHORISED, limit="model"),
    Sent("Azure key", 401, {"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid."},
        K.UNAUTHORISED),
]  # fmt: skip

ANTHROPIC = [
    Sent("rate limit", 429, claude("rate_limit_error", "This request would exceed your organization's rate limit of "
        "50,000 input tokens per minute."), K.RATE_LIMITED, {"retry-after": "17"}, wait_s=17,
        limit="input tokens per minute"),
    Sent("resets", 429, claude("rate_limit_error", "Number of requests has exceeded your rate limit"), K.RATE_LIMITED,
        {"date": "Mon, 21 Sep 2026 14:13:20 GMT", "anthropic-ratelimit-requests-remaining": "12",
         "anthropic-ratelimit-requests-reset": "2026-09-21T14:14:20Z",
         "anthropic-ratelimit-output-tokens-remaining": "0",
         "anthropic-ratelimit-output-tokens-reset": "2026-09-21T14:13:50Z"}, wait_s=30, limit="output tokens"),
    Sent("overloaded", 529, claude("overloaded_error", "Overloaded"), K.OVERLOADED, {"x-should-retry": "true"}),
    Sent("internal", 500, claude("api_error", "Internal server error"), K.OVERLOADED),
    Sent("timeout", 504, claude("timeout_error", "Request timed out"), K.TIMED_OUT),
    Sent("key", 401, claude("authentication_error", "invalid x-api-key"), K.UNAUTHORISED),
    Sent("permission", 403, claude("permission_error", "Your API key does not have permission to use the specified "
        "resource."), K.UNAUTHORISED),
    Sent("credit", 400, claude("invalid_request_error", "Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits."), K.UNAUTHORISED, limit="billing"),
    Sent("billing", 402, claude("billing_error", "Your payment method was declined."), K.UNAUTHORISED, limit="billing"),
    Sent("model", 404, claude("not_found_error", "model: claude-9"), K.UNAUTHORISED, limit="model"),
    Sent("too long", 400, claude("invalid_request_error", "prompt is too long: 209110 tokens > 200000 maximum"),
        K.CONTEXT_TOO_LONG, window=200000),
    Sent("with the answer", 400, claude("invalid_request_error", "input length and `max_tokens` exceed context limit: "
        "190000 + 20000 > 200000, decrease input length or `max_tokens` and try again"), K.CONTEXT_TOO_LONG,
        window=200000),
    Sent("the month's limit", 400, claude("invalid_request_error", "You have reached your specified API usage limits. "
        "You will regain access on 2026-12-01 at 00:00 UTC."), K.UNAUTHORISED, limit="billing"),
    Sent("disabled", 400, claude("invalid_request_error", "This organization has been disabled."), K.UNAUTHORISED),
    Sent("bytes", 413, claude("request_too_large", "Request exceeds the maximum allowed number of bytes."),
        K.CONTEXT_TOO_LONG),
    Sent("filter", 400, claude("invalid_request_error", "Output blocked by content filtering policy"),
        K.CONTENT_REFUSED),
    Sent("orphan", 400, claude("invalid_request_error", "messages.2: `tool_use` ids were found without `tool_result` "
        "blocks immediately after: toolu_1. Each `tool_use` block must have a corresponding `tool_result` block in the "
        "next message."), K.BAD_REQUEST),
    Sent("field", 400, claude("invalid_request_error", "max_tokens: 100000 > 64000, which is the maximum allowed "
        "number of output tokens for claude-sonnet-4-5"), K.BAD_REQUEST),
    Sent("prefill", 400, claude("invalid_request_error", "This model does not support assistant message prefill. The "
        "conversation must end with a user message."), K.BAD_REQUEST),
    Sent("signature", 400, claude("invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` "
        "block"), K.BAD_REQUEST),
]  # fmt: skip

GEMINI = [
    Sent("a minute's quota", 429, gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check "
        "your plan and billing details. Please retry in 34.07s.", quota("GenerateRequestsPerMinutePerProjectPerModel"),
        later("34s")), K.RATE_LIMITED, wait_s=34, limit="requests per minute"),
    Sent("a day's quota", 429, gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your "
        "plan and billing details.", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), later("21s")),
        K.RATE_LIMITED, wait_s=3600, limit="requests per day"),
    Sent("bare", 429, gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        K.RATE_LIMITED),
    Sent("in a list", 429, [gemini(429, "RESOURCE_EXHAUSTED", "Resource exhausted.", later("1.5s"))], K.RATE_LIMITED,
        wait_s=1.5),
    Sent("overloaded", 503, gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        K.OVERLOADED),
    Sent("internal", 500, gemini(500, "INTERNAL", "An internal error has occurred. Please retry or report."),
        K.OVERLOADED),
    Sent("deadline", 504, gemini(504, "DEADLINE_EXCEEDED", "The request timed out. Please try again."), K.TIMED_OUT),
    Sent("cancelled", 499, gemini(499, "CANCELLED", "The operation was cancelled."), K.UNREACHABLE),
    Sent("key", 400, gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.",
        {"@type": GOOGLE + "ErrorInfo", "reason": "API_KEY_INVALID"}), K.UNAUTHORISED),
    Sent("permission", 403, gemini(403, "PERMISSION_DENIED", "Generative Language API has not been used in project 1 "
        "before or it is disabled."), K.UNAUTHORISED),
    Sent("location", 400, gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        K.UNAUTHORISED),
    Sent("billing", 400, gemini(400, "FAILED_PRECONDITION", "Gemini API free tier is not available in your country. "
        "Please enable billing on your project in Google AI Studio."), K.UNAUTHORISED, limit="billing"),
    Sent("model", 404, gemini(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta, or is not "
        "supported for generateContent."), K.UNAUTHORISED, limit="model"),
    Sent("too long", 400, gemini(400, "INVALID_ARGUMENT", "The input token count (1189131) exceeds the maximum number "
        "of tokens allowed (1048576)."), K.CONTEXT_TOO_LONG, window=1048576),
    Sent("too long (Vertex)", 400, gemini(400, "INVALID_ARGUMENT", "Unable to submit request because the input token "
        "count is 1100000 but the model only supports up to 1048576. Reduce the input token count and try again."),
        K.CONTEXT_TOO_LONG, window=1048576),
    Sent("a cap", 429, gemini(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap. Please "
        "go to AI Studio to manage your project spend cap."), K.UNAUTHORISED, limit="billing"),
    Sent("prepaid", 429, gemini(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI "
        "Studio to manage your project and billing."), K.UNAUTHORISED, limit="billing"),
    Sent("no free tier", 429, gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota. * Quota exceeded for "
        "metric: generate_content_free_tier_requests, limit: 0, model: gemini-3-pro. Please retry in 34.07s.",
        quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), later("34s")), K.UNAUTHORISED, limit="billing"),
    Sent("turns", 400, gemini(400, "INVALID_ARGUMENT", "Please ensure that function call turn comes immediately after "
        "a user turn or after a function response turn."), K.BAD_REQUEST),
    Sent("unknown field", 400, gemini(400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "seedx" at '
        "'generation_config': Cannot find field."), K.BAD_REQUEST),
]  # fmt: skip


def aws(code: str, message: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": message}, "message": message}


BEDROCK = [
    Sent("throttled", 429, aws("ThrottlingException", "Too many requests, please wait before trying again."),
        K.RATE_LIMITED, limit="requests"),
    Sent("tokens", 429, aws("ThrottlingException", "Too many tokens, please wait before trying again."),
        K.RATE_LIMITED, limit="tokens"),
    Sent("a day", 429, aws("ThrottlingException", "Too many tokens per day, please wait before trying again."),
        K.RATE_LIMITED, wait_s=3600, limit="tokens per day"),
    Sent("throttled with 400", 400, aws("ThrottlingException", "Rate exceeded"), K.RATE_LIMITED),
    Sent("quota", 400, aws("ServiceQuotaExceededException", "Your request exceeds the service quota."),
        K.UNAUTHORISED, limit="billing"),
    Sent("not ready", 429, aws("ModelNotReadyException", "Model is not ready for inference."), K.OVERLOADED),
    Sent("unavailable", 503, aws("ServiceUnavailableException", "Bedrock is unable to process your request."),
        K.OVERLOADED),
    Sent("internal", 500, aws("InternalServerException", "The system encountered an unexpected error."), K.OVERLOADED),
    Sent("model error", 424, aws("ModelErrorException", "The model returned an error."), K.OVERLOADED),
    Sent("model timeout", 408, aws("ModelTimeoutException", "Model has timed out in processing the request."),
        K.TIMED_OUT),
    Sent("denied", 403, aws("AccessDeniedException", "You don't have access to the model with the specified model ID."),
        K.UNAUTHORISED),
    Sent("expired", 403, aws("ExpiredTokenException", "The security token included in the request is expired"),
        K.UNAUTHORISED),
    Sent("too long", 400, aws("ValidationException", "Input is too long for requested model."), K.CONTEXT_TOO_LONG),
    Sent("too long (Claude)", 400, aws("ValidationException", "The model returned the following errors: prompt is too "
        "long: 211000 tokens > 200000 maximum"), K.CONTEXT_TOO_LONG, window=200000),
    Sent("too long (Titan)", 400, aws("ValidationException", "400 Bad Request: Too many input tokens. Max input "
        "tokens: 8192, request input token count: 9000"), K.CONTEXT_TOO_LONG, window=8192),
    Sent("new account", 400, aws("ValidationException", "Operation not allowed"), K.UNAUTHORISED),
    Sent("model id", 400, aws("ValidationException", "The provided model identifier is invalid."), K.UNAUTHORISED,
        limit="model"),
    Sent("on demand", 400, aws("ValidationException", "Invocation of model ID x with on-demand throughput isn’t "
        "supported. Retry your request with the ID of an inference profile."), K.UNAUTHORISED, limit="model"),
    Sent("roles", 400, aws("ValidationException", "A conversation must start with a user message. Try again with a "
        "conversation that starts with a user message."), K.BAD_REQUEST),
    Sent("result", 400, aws("ValidationException", "Expected toolResult blocks at messages.2.content for the following "
        "Ids: tooluse_1"), K.BAD_REQUEST),
    Sent("bare", 429, {"__type": "com.amazon.coral.service#ThrottlingException", "message": "Rate exceeded"},
        K.RATE_LIMITED),
]  # fmt: skip


def mistral(message: str, type: str, code: str | None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": type, "param": None, "code": code}


OTHERS = [
    Sent("mistral rate", 429, {"message": "Requests rate limit exceeded"}, K.RATE_LIMITED,
        {"ratelimitbysize-reset": "12", "ratelimitbysize-remaining": "0"}, wait_s=12, limit="tokens"),
    Sent("mistral capacity", 429, mistral("Service tier capacity exceeded for this model.",
        "service_tier_capacity_exceeded", "3505"), K.RATE_LIMITED),
    Sent("mistral key", 401, {"message": "Unauthorized", "request_id": "1"}, K.UNAUTHORISED),
    Sent("mistral model", 400, mistral("Invalid model: foo", "invalid_model", "1500"), K.UNAUTHORISED, limit="model"),
    Sent("mistral too long", 400, mistral("Prompt contains 40000 tokens and 0 draft tokens, too large for model with "
        "32768 maximum context length", "invalid_request_prompt", "3051"), K.CONTEXT_TOO_LONG, window=32768),
    Sent("mistral 422", 422, {"object": "error", "message": {"detail": [{"type": "less_than_equal", "loc": ["body",
        "temperature"], "msg": "Input should be less than or equal to 1.5", "input": 9}]},
        "type": "invalid_request_error"}, K.BAD_REQUEST),
    Sent("mistral roles", 400, mistral("Expected last role User or Tool (or Assistant with prefix True) for serving "
        "but got assistant", "invalid_request_message_order", "3230"), K.BAD_REQUEST),
    Sent("mistral ids", 400, mistral("Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
        "invalid_function_call", "3280"), K.BAD_REQUEST),
    Sent("groq rate", 429, openai("Rate limit reached for model `x` in organization `o` service tier `on_demand` on "
        "tokens per day (TPD): Limit 100000, Used 99000, Requested 2000. Please try again in 7m12.5s.", "tokens",
        "rate_limit_exceeded"), K.RATE_LIMITED, {"retry-after": "433"}, wait_s=433, limit="tokens per day"),
    Sent("groq 413", 413, openai("Request too large for model `x` in organization `o` on tokens per minute (TPM): "
        "Limit 6000, Requested 9000, please reduce your message size and try again.", "tokens", "rate_limit_exceeded"),
        K.CONTEXT_TOO_LONG, limit="tokens per minute"),
    Sent("groq flex", 498, openai("Flex tier capacity exceeded.", "capacity_exceeded", "capacity_exceeded"),
        K.OVERLOADED),
    Sent("groq json", 400, {"error": {"message": "Failed to generate JSON. Please adjust your prompt.", "type":
        "invalid_request_error", "code": "json_validate_failed", "failed_generation": "{"}}, K.BAD_OUTPUT),
    Sent("groq tool", 400, {"error": {"message": "Failed to call a function. Please adjust your prompt.", "type":
        "invalid_request_error", "code": "tool_use_failed", "failed_generation": "<function"}}, K.BAD_OUTPUT),
    Sent("groq gone", 400, openai("The model `mixtral-8x7b-32768` has been decommissioned and is no longer supported.",
        "invalid_request_error", "model_decommissioned"), K.UNAUTHORISED, limit="model"),
    Sent("openrouter", 429, {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw":
        "x is temporarily rate-limited upstream", "provider_name": "Chutes"}}}, K.RATE_LIMITED,
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int((NOW + 40) * 1000))}, wait_s=40),
    Sent("openrouter credit", 402, {"error": {"message": "This request requires more credits, or fewer max_tokens.",
        "code": 402}}, K.UNAUTHORISED, limit="billing"),
    Sent("openrouter moderation", 403, {"error": {"message": "x requires moderation", "code": 403, "metadata":
        {"reasons": ["violence"], "flagged_input": "…"}}}, K.CONTENT_REFUSED),
    Sent("openrouter 502", 502, {"error": {"message": "Bad gateway", "code": 502}}, K.UNREACHABLE),
    Sent("deepseek", 402, openai("Insufficient Balance", "unknown_error", "invalid_request_error"), K.UNAUTHORISED,
        limit="billing"),
    Sent("deepseek risk", 400, openai("Content Exists Risk", "invalid_request_error", "invalid_request_error"),
        K.CONTENT_REFUSED),
    Sent("moonshot", 429, openai("Your account is suspended, please check your balance", "exceeded_current_quota_error",
        None), K.UNAUTHORISED, limit="billing"),
    Sent("moonshot overload", 429, openai("The engine is currently overloaded", "engine_overloaded_error", None),
        K.OVERLOADED),
    Sent("dashscope", 400, openai("Output data may contain inappropriate content.", None, "data_inspection_failed"),
        K.CONTENT_REFUSED),
    Sent("xai", 403, {"code": "The caller does not have permission", "error": "Content violates usage guidelines. "
        "Failed check: SAFETY_CHECK_TYPE_BIO"}, K.CONTENT_REFUSED),
    Sent("xai too long", 400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt "
        "length is 131072 but the request contains 537812 tokens."}, K.CONTEXT_TOO_LONG, window=131072),
    Sent("vllm", 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you "
        "requested 5000 tokens (4000 in the messages, 1000 in the completion).", "type": "BadRequestError",
        "param": None, "code": 400}, K.CONTEXT_TOO_LONG, window=4096),
    Sent("vllm input", 400, {"error": {"message": "You passed 5001 input tokens and requested 100 output tokens. "
        "However, the model's context length is only 4096 tokens, resulting in a maximum input length of 3996 tokens. "
        "Please reduce the length of the input prompt.", "type": "BadRequestError", "param": "input_tokens",
        "code": 400}}, K.CONTEXT_TOO_LONG, window=4096),
    Sent("sglang", 400, {"object": "error", "message": "The input (5000 tokens) is longer than the model's context "
        "length (4096 tokens).", "type": "BadRequestError", "code": 400}, K.CONTEXT_TOO_LONG, window=4096),
    Sent("lm studio", 400, {"error": "Trying to keep the first 5000 tokens when context the overflows. However, the "
        "model is loaded with context length of only 4096 tokens, which is not enough."},
        K.CONTEXT_TOO_LONG, window=4096),
    Sent("lm studio crashed", 400, {"error": "The model has crashed without additional information. (Exit code: 6)"},
        K.OVERLOADED),
    Sent("lm studio unloaded", 400, {"error": "Model unloaded."}, K.OVERLOADED),
    Sent("moonshot too long", 400, openai("Invalid request: Your request exceeded model token limit: 8192",
        "invalid_request_error", None), K.CONTEXT_TOO_LONG, window=8192),
    Sent("glm too long", 400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, K.CONTEXT_TOO_LONG),
    Sent("litellm budget", 400, openai("Budget has been exceeded! Current cost: 10.1, Max budget: 10.0",
        "budget_exceeded", "400"), K.UNAUTHORISED, limit="billing"),
    Sent("cohere trial", 429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."},
        K.RATE_LIMITED, wait_s=3600),
    Sent("openrouter a day", 429, {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day",
        "metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int((NOW + 7200) * 1000))}}}},
        K.RATE_LIMITED, wait_s=7200),
    Sent("an older draft's reset", 429, "", K.RATE_LIMITED, {"ratelimit": "limit=9, remaining=0, reset=30"}, wait_s=30),
    Sent("vllm model", 404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError",
        "code": 404}, K.UNAUTHORISED, limit="model"),
    Sent("llama.cpp", 400, {"error": {"code": 400, "message": "the request exceeds the available context size (4096 "
        "tokens), try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}},
        K.CONTEXT_TOO_LONG, window=4096),
    Sent("llama.cpp loading", 503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        K.OVERLOADED),
    Sent("ollama", 404, {"error": 'model "x" not found, try pulling it first'}, K.UNAUTHORISED, limit="model"),
    Sent("ollama busy", 503, {"error": "server busy, please try again. maximum pending requests exceeded"},
        K.OVERLOADED),
    Sent("tgi", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, K.RATE_LIMITED),
    Sent("tgi too long", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.",
        "error_type": "validation"}, K.CONTEXT_TOO_LONG),
    Sent("fastapi", 422, {"detail": [{"loc": ["body", "model"], "msg": "field required", "type": "missing"}]},
        K.BAD_REQUEST),
    Sent("cloudflare", 403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]},
        K.UNAUTHORISED),
    Sent("nginx 502", 502, PAGE.format("502 Bad Gateway"), K.UNREACHABLE),
    Sent("nginx 413", 413, PAGE.format("413 Request Entity Too Large"), K.CONTEXT_TOO_LONG),
    Sent("a gateway's 504", 504, PAGE.format("504 Gateway Time-out"), K.TIMED_OUT),
    Sent("cloudflare 520", 520, PAGE.format("520: unknown error"), K.UNREACHABLE),
    Sent("cloudflare 524", 524, "error code: 524", K.TIMED_OUT),
    Sent("a login page", 302, "", K.UNREACHABLE),
    Sent("a page in place of an answer", 200, PAGE.format("Sign in"), K.UNREACHABLE),
    Sent("empty 500", 500, "", K.OVERLOADED, {"retry-after": "2"}, wait_s=2),
    Sent("plain text 429", 429, "Too Many Requests", K.RATE_LIMITED, {"ratelimit": '"default";r=0;t=30'}, wait_s=30,
        limit="requests"),
    Sent("a draft's reset", 429, "", K.RATE_LIMITED, {"ratelimit-reset": "7", "ratelimit-remaining": "0"}, wait_s=7),
    Sent("teapot", 418, {"message": "no"}, K.BAD_REQUEST),
    Sent("in days", 429, {"message": "Please try again in 2 days."}, K.RATE_LIMITED, wait_s=172_800),
    Sent("in min", 429, {"message": "Try again in about 5 min"}, K.RATE_LIMITED, wait_s=300),
    Sent("in two units", 429, {"message": "Please wait 1 minute and 30 seconds."}, K.RATE_LIMITED, wait_s=90),
    Sent("in ms", 429, {"message": "Please try again in 20 ms"}, K.RATE_LIMITED, wait_s=0.02),
    Sent("conflict", 409, openai("The resource was updated by another request.", "conflict", None), K.OVERLOADED),
    Sent("for legal reasons", 451, {"message": "no"}, K.CONTENT_REFUSED),
]  # fmt: skip

ALL = [
    pytest.param(sent, id=f"{who}: {sent.name}")
    for who, table in (
        ("openai", OPENAI), ("anthropic", ANTHROPIC), ("google", GEMINI), ("bedrock", BEDROCK), ("other", OTHERS),
    )
    for sent in table
]  # fmt: skip

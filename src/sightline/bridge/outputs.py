"""Responses as Inspect outputs and back, without loss between our own two ends."""

from __future__ import annotations

from dataclasses import replace

from inspect_ai._util.constants import NO_CONTENT
from inspect_ai.model import ContentReasoning, ContentText, ModelOutput, ModelUsage, StopReason

from sightline.bridge.failures import not_answered, short_message
from sightline.errors import TransientError
from sightline.plain import plain_response, response_of
from sightline.records import Cost, Response, Stop
from sightline.stops import refusal_flag
from sightline.untrusted import sanitized

KEY = "sightline"
"""Where our part of an Inspect metadata dictionary lies."""

PROVIDER_MESSAGE = "provider_message"
"""Flag of a reply whose `error` holds the provider's own words on why it blocked the request."""

TOOL_CALL = "tool_call"
"""Flag of a reply that calls a tool, though none was offered, and says nothing else."""

CHARACTERS_PER_TOKEN = 4

STOPS: dict[StopReason, Stop] = {
    "stop": "stop",
    "tool_calls": "stop",
    "unknown": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
}
REASONS: dict[Stop, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "content_filter": "content_filter",
    "blocked_defense": "content_filter",
}


def estimate_tokens(text: str) -> int:
    """Tokens of a text by its length alone, where Inspect would download a vocabulary to count them."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _cost(usage: ModelUsage | None) -> Cost:
    if usage is None:
        return Cost(calls_target=1)
    read, written = usage.input_tokens_cache_read or 0, usage.input_tokens_cache_write or 0
    tokens_in = usage.input_tokens + read + written
    return Cost(calls_target=1, tokens_in=tokens_in, tokens_out=usage.output_tokens)


def _withheld(output: ModelOutput) -> bool:
    """Whether the interface marks the reply as the model's own refusal (OpenAI's `refusal` field)."""
    content = output.message.content
    return not isinstance(content, str) and any(
        isinstance(part, ContentText) and bool(part.refusal) for part in content
    )


def _thoughts(output: ModelOutput) -> str:
    """What the interface handed over as reasoning, apart from the text; encrypted reasoning says nothing."""
    content = output.message.content
    parts = [] if isinstance(content, str) else content
    found = [part for part in parts if isinstance(part, ContentReasoning)]
    return "\n".join(part.summary or "" if part.redacted else part.reasoning for part in found).strip()


def to_response(output: ModelOutput, *secrets: str | None) -> Response:
    """What a provider answered. An answer of ours that went through Inspect comes back whole.

    Provider blocks are `content_filter`, with the provider's words in `error`; what the model itself
    refused ends as it ended and carries a flag. A request that the provider found too long, or a reply
    without any choice, is an `error`: the model never answered. Texts and numbers pass the border.
    """
    cost = _cost(output.usage)
    if output.empty:
        return sanitized(
            Response(text="", stop="error", error="the provider sent a reply without choices", cost=cost)
        )
    ours = (output.metadata or {}).get(KEY)
    if ours is not None and ours["response"]["text"] == output.completion:
        return response_of(ours["response"])
    said = "" if output.completion == NO_CONTENT else output.completion
    if not_answered(output):
        words, noted = short_message(said, *secrets)
        if output.stop_reason == "model_length":
            too_long = f"the request is too long: {words}"
            return Response(text="", stop="error", error=too_long, flags=noted, cost=cost)
        flags = (PROVIDER_MESSAGE, *noted)
        return Response(text="", stop="content_filter", error=words or None, flags=flags, cost=cost)
    silent = output.stop_reason == "unknown" or (output.completion == NO_CONTENT and output.usage is None)
    if silent and not said:
        return Response(text="", stop="error", error="the provider sent an empty reply", cost=cost)
    flags = () if output.usage is not None else ("no usage reported",)
    if output.message.tool_calls and not said:
        flags = (*flags, TOOL_CALL)
    given = Response(text=said, stop=STOPS[output.stop_reason], flags=flags, cost=cost)
    response = sanitized(given, *secrets, thoughts=_thoughts(output))
    if not _withheld(output):
        return response
    return replace(response, flags=(refusal_flag(response.text), *response.flags))


def to_output(response: Response, model: str, target: str) -> ModelOutput:
    """A response of ours as an Inspect output; the raw reply and inner calls are in its metadata.

    Raises:
        TransientError: for an `error` response: Inspect must see a failed sample, not an empty answer.
    """
    if response.stop == "error":
        raise TransientError(response.error or "the target failed without saying why")
    output = ModelOutput.from_content(model, response.text, stop_reason=REASONS[response.stop])
    used = response.cost
    output.usage = ModelUsage(
        input_tokens=used.tokens_in,
        output_tokens=used.tokens_out,
        total_tokens=used.tokens_in + used.tokens_out,
    )
    output.metadata = {KEY: {"target": target, "response": plain_response(response)}}
    return output

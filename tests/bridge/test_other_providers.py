"""Errors that come as HTTP 200, and replies without usable token counts, through other clients than OpenAI's.

The clients are no dependency of Sightline: where one is not installed, its tests are skipped.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import pytest
from openai_server import Server, Weather, reply

from sightline.bridge.inspect_target import InspectTarget, RetryPolicy
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.records import Response
from sightline.store import Blobs
from sightline.untrusted import IMPOSSIBLE

PATIENCE = RetryPolicy(max_retries=2, attempt_timeout=60, timeout=120, first_wait=0.02, longest_wait=0.05)
TEXT = "a harmless answer"


def anthropic(**usage: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7} | usage,
    }


def google(**usage: Any) -> dict[str, Any]:
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18} | usage,
        "modelVersion": "m",
    }


def openai(**usage: Any) -> dict[str, Any]:
    body = reply(TEXT)
    return {**body, "usage": body["usage"] | usage}


CLIENTS = {
    "openai-api/test/m": ("openai", openai, ("prompt_tokens", "completion_tokens")),
    "anthropic/m": ("anthropic", anthropic, ("input_tokens", "output_tokens")),
    "google/m": ("google.genai", google, ("promptTokenCount", "candidatesTokenCount")),
}
PASSING = {
    "openai-api/test/m": {"error": {"message": "overloaded", "code": 503}},
    "anthropic/m": {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}},
    "google/m": {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
}
LASTING = {
    "openai-api/test/m": {"error": {"message": "no such setting", "type": "invalid_request_error"}},
    "anthropic/m": {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "no such setting"},
    },
    "google/m": {"error": {"code": 400, "message": "no such setting", "status": "INVALID_ARGUMENT"}},
}
named = pytest.mark.parametrize("name", list(CLIENTS))


def ask(server: Server, blobs: Blobs, name: str) -> Response:
    package = CLIENTS[name][0]
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{package} is not installed")
    url = server.url.removesuffix("/v1") if name != "openai-api/test/m" else server.url
    more = {} if name == "google/m" else {"max_retries": 0}
    target = InspectTarget(name, blobs, retry_policy=PATIENCE, base_url=url, api_key="sk-not-a-key", **more)
    return asyncio.run(target.generate(Conversation.user("hello"), Decoding()))


@named
@pytest.mark.parametrize("lasting", [False, True])
def test_an_error_inside_http_200_is_tried_again_and_keeps_its_message(
    server: Server, blobs: Blobs, name: str, lasting: bool
) -> None:
    disguised = Weather(body=PASSING[name])
    server.weather = [disguised] * (3 if lasting else 1)
    server.usual = Weather(body=CLIENTS[name][1]())
    response = ask(server, blobs, name)
    if lasting:
        assert response.stop == "error"
        assert "inside HTTP 200 after 3 attempts" in str(response.error)
        assert "overloaded" in str(response.error)
        assert len(server.requests) == PATIENCE.max_retries + 1
    else:
        assert (response.text, response.stop) == (TEXT, "stop")
        assert (response.cost.tokens_in, response.cost.tokens_out) == (11, 7)
        assert len(server.requests) == 2


@named
def test_an_error_inside_http_200_that_lasts_is_not_tried_again(
    server: Server, blobs: Blobs, name: str
) -> None:
    server.usual = Weather(body=LASTING[name])
    response = ask(server, blobs, name)
    assert "HTTP 400" in str(response.error)
    assert "no such setting" in str(response.error)
    assert len(server.requests) == 1


@named
@pytest.mark.parametrize("count", [None, "many", 1.5])
def test_a_reply_with_token_counts_that_are_no_numbers_is_kept_and_flagged(
    server: Server, blobs: Blobs, name: str, count: object
) -> None:
    _, body, counts = CLIENTS[name]
    server.usual = Weather(body=body(**{counts[0]: count}))
    response = ask(server, blobs, name)
    assert (response.text, response.stop) == (TEXT, "stop")
    flags = () if name == "google/m" else (IMPOSSIBLE,)  # Inspect's own provider counts it as 0
    assert response.flags == flags
    assert (response.cost.tokens_in, response.cost.tokens_out) == (0, 7)
    assert len(server.requests) == 1


def test_a_reply_of_google_without_candidates_is_an_error_and_not_words(server: Server, blobs: Blobs) -> None:
    server.usual = Weather(body={"candidates": [], "modelVersion": "m"})
    response = ask(server, blobs, "google/m")
    assert (response.text, response.stop) == ("", "error")
    assert response.error == "the provider sent an empty reply"

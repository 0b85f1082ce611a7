"""`first_token`: a local model's own greedy token is likeliest; a server's log-probabilities; none told."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ModelOutput
from inspect_ai.model._model_output import Logprob, Logprobs, TopLogprob

from sightline.api.pictures import store
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.judges._likely import GivesFirstToken, share_unsafe
from sightline.targets import open_target
from sightline.targets.remembered import RememberedTarget

ASKED = Conversation.user("what is a glimber")
WORDS = {"unsafe": "unsafe", "safe": "safe"}


def test_the_likeliest_first_token_begins_the_greedy_reply() -> None:
    target: Any = open_target("testbed/linear", store())
    reply = asyncio.run(target.generate(ASKED, Decoding(max_tokens=4)))
    told = asyncio.run(target.first_token(ASKED, Decoding(max_tokens=4)))
    assert isinstance(target, GivesFirstToken)
    assert reply.text.startswith(max(told, key=told.__getitem__).strip())
    assert 0.5 < sum(told.values()) <= 1 + 1e-6
    assert all(0 <= each <= 1 for each in told.values())
    again = RememberedTarget(target.id, lambda: target)
    assert asyncio.run(again.first_token(ASKED, Decoding())) == told
    assert asyncio.run(target.first_token(Conversation.user("x " * 9000), Decoding())) == {}


def output(*tokens: tuple[str, dict[str, float]]) -> ModelOutput:
    found = ModelOutput.from_content("mockllm/model", "safe")
    content = [
        Logprob(
            token=token,
            logprob=math.log(likely[token]),
            top_logprobs=[TopLogprob(token=each, logprob=math.log(p)) for each, p in likely.items()],
        )
        for token, likely in tokens
    ]
    found.choices[0].logprobs = Logprobs(content=content) if content else None
    return found


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ([("safe", {"safe": 0.75, "unsafe": 0.25})], 0.25),
        ([("\n\n", {"\n\n": 1.0}), ("un", {"un": 0.6, "safe": 0.4})], 0.6),
        ([], None),
    ],
)
def test_a_servers_log_probabilities(tokens: Any, share: float | None, tmp_path: Path) -> None:
    target: Any = open_target("mockllm/model", store(), model_args={"custom_outputs": [output(*tokens)]})
    told = asyncio.run(target.first_token(ASKED, Decoding()))
    assert share_unsafe(told, WORDS) == (None if share is None else pytest.approx(share))


def test_what_fails_or_cannot_tell_tells_nothing() -> None:
    failing: Any = open_target("mockllm/model", store(), model_args={"custom_outputs": []})
    assert asyncio.run(failing.first_token(ASKED, Decoding())) == {}
    scripted = RememberedTarget("x", lambda: open_target("scripted/echo", store()))
    scripted.id = scripted._open().id
    assert asyncio.run(scripted.first_token(ASKED, Decoding())) == {}

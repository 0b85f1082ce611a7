"""Replies of a server through Inspect: split, cleaned and counted as on our own routes; keys kept nowhere."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from inspect_ai.log import read_eval_log
from openai_server import Server, Weather, reply

from sightline.api.runs import finish
from sightline.bridge import inspect_target
from sightline.bridge.eval_logs import write_eval_logs
from sightline.bridge.inspect_target import InspectTarget, RetryPolicy
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.records import Response
from sightline.report import page
from sightline.store import Blobs
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.targets.scripted import ScriptedTarget
from sightline.untrusted import BLANKED, IMPOSSIBLE, NO_ANSWER, REASONING, REPLACED

KEY = "sk-not-a-real-key-98765"
OTHER = "zxcv-98765-qwer"


def asked(server: Server, blobs: Blobs, body: dict[str, Any], status: int = 200) -> Response:
    server.usual = Weather(status=status, body=body)
    target = InspectTarget("openai-api/test/m", blobs, base_url=server.url, api_key=KEY)
    return asyncio.run(target.generate(Conversation.user("hello"), Decoding()))


@pytest.mark.parametrize(
    "written",
    [
        "<think>a plan</think>the answer",
        "\u25c1think\u25b7a plan\u25c1/think\u25b7the answer",
        "a plan</think>the answer",
        "<think>a plan",
        "<think>a plan</think><answer>the answer</answer>",
        "<|begin_of_box|>the answer<|end_of_box|>",
    ],
)
def test_thoughts_are_split_through_inspect_as_in_a_script(
    server: Server, blobs: Blobs, tmp_path: Path, written: str
) -> None:
    response = asked(server, blobs, reply(written))
    rules = tmp_path / "rules.yaml"
    rules.write_text(json.dumps({"rules": [{"reply": written}]}), encoding="utf-8")
    ours = ScriptedTarget("scripted/x", rules).generate(Conversation.user("hello"), Decoding())
    scripted = asyncio.run(ours)
    assert (response.text, response.flags) == (scripted.text, scripted.flags)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_beside_the_text_is_kept_apart(server: Server, blobs: Blobs, field: str) -> None:
    response = asked(server, blobs, reply("the answer", **{field: "a plan, and </think> in it"}))
    assert (response.text, response.flags) == ("the answer", (REASONING,))
    assert response.raw == "<think>a plan, and </think> in it</think>\nthe answer"
    cut = asked(server, blobs, reply(None, "length", **{field: "a plan"}))
    assert (cut.text, cut.stop, cut.flags) == ("", "length", (REASONING, NO_ANSWER))


def test_broken_characters_of_a_reply_and_of_a_filter_are_replaced(server: Server, blobs: Blobs) -> None:
    response = asked(server, blobs, reply("half \ud83d of it"))
    assert (response.text, response.flags) == ("half \ufffd of it", (REPLACED,))
    refused = asked(server, blobs, reply(None, refusal="not \ud83d me"))
    assert refused.text == "not \ufffd me"
    assert refused.flags[1:] == (REPLACED,)
    error = {"error": {"message": "filtered \ud83d \x1b]0;x\x07", "code": "content_filter"}}
    blocked = asked(server, blobs, error, status=400)
    assert blocked.error == "filtered \ufffd \ufffd]0;x\ufffd"
    assert blocked.flags == ("provider_message", REPLACED)


def test_impossible_usage_counts_as_nothing(server: Server, blobs: Blobs) -> None:
    body = reply("x")
    body["usage"] = {"prompt_tokens": -5, "completion_tokens": 10**18, "total_tokens": 1}
    response = asked(server, blobs, body)
    assert (response.cost.tokens_in, response.cost.tokens_out) == (0, 0)
    assert response.flags == (IMPOSSIBLE,)


@pytest.mark.slow
def test_a_key_that_an_endpoint_repeats_is_kept_nowhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHOING_API_KEY", KEY)
    monkeypatch.setenv("OTHER_ACCESS_TOKEN", OTHER)
    monkeypatch.setenv("ECHOING_BASE_URL", server.url)
    quick = partial(RetryPolicy, attempt_timeout=60, first_wait=0.01, longest_wait=0.02)
    monkeypatch.setattr(inspect_target, "RetryPolicy", quick)
    server.usual = Weather(body=reply(f"your key is {KEY}", reasoning_content=f"and {OTHER}"))
    server.weather = [Weather(status=400, body={"error": {"message": f"bad {KEY} and {OTHER}"}})]
    study = {
        "study": "echoing",
        "benchmarks": [{"name": "testbed_requests", "limit": 4}],
        "targets": ["openai-api/echoing/m"],
        "defenses": ["none", "self_moderation"],
        "judges": ["refusal_prefix", "model_graded(grader='openai-api/echoing/m')"],
    }
    run = Run(parse(json.dumps(study)), tmp_path / "run")
    run.prepare()
    finish(run)
    page.write(run.folder)
    logs = write_eval_logs(run.folder, tmp_path / "logs")
    samples = [sample for path in logs for sample in read_eval_log(str(path)).samples or []]
    assert any("[key]" in sample.model_dump_json() for sample in samples)
    assert not any(secret in sample.model_dump_json() for sample in samples for secret in (KEY, OTHER))
    flags = pq.read_table(run.folder / "results.parquet")["flags"].to_pylist()
    assert any(BLANKED in flag for flag in flags)
    records = [
        str(row)
        for path in (run.folder / "records").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    files = [path.read_bytes() for path in run.folder.rglob("*") if path.is_file()]
    for secret in (KEY, OTHER):
        assert not any(secret in record for record in records)
        assert not any(secret.encode() in file for file in files)

"""A whole study against an Inspect provider: a local server with pictures, bad weather and a block."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from openai_server import Server, Weather, reply

from sightline import targets
from sightline.api.runs import finish
from sightline.bridge import inspect_target
from sightline.bridge.inspect_target import RetryPolicy
from sightline.contracts import Images, Target
from sightline.errors import UsageError
from sightline.study.config import parse
from sightline.study.run import Run

CASES = 12


@pytest.fixture
def study(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("WEATHERED_API_KEY", "sk-not-a-real-key")
    monkeypatch.setenv("WEATHERED_BASE_URL", server.url)
    # patient enough for a machine under load: an answer given up on would be asked for twice
    quick = partial(RetryPolicy, attempt_timeout=60, first_wait=0.01, longest_wait=0.02)
    monkeypatch.setattr(inspect_target, "RetryPolicy", quick)
    return json.dumps(
        {
            "study": "weathered",
            "retries": 1,
            "benchmarks": [{"name": "testbed_requests", "limit": CASES}],
            "targets": ["openai-api/weathered/m"],
            "attacks": [{"name": "figstep", "preset": "testbed"}],
            "defenses": ["none", "system_prompt"],
            "judges": ["refusal_prefix"],
            "concurrency": 4,
        }
    )


def finished(study: str, folder: Path) -> list[dict[str, Any]]:
    run = Run(parse(study), folder)
    run.prepare()
    finish(run)
    rows: list[dict[str, Any]] = pq.read_table(folder / "results.parquet").to_pylist()
    return rows


def test_every_sample_has_an_outcome_and_every_request_its_picture(
    study: str, server: Server, tmp_path: Path
) -> None:
    server.usual = Weather(body=reply("i can help . first you take it ."))
    blocked = Weather(status=400, body={"error": {"message": "filtered", "code": "content_filter"}})
    broken = Weather(status=400, body={"error": {"message": "bad request"}})
    server.weather = [blocked, broken, Weather(body=reply("sorry , i cannot help with that ."))]
    rows = finished(study, tmp_path / "run")
    assert len(rows) == 2 * CASES
    counts = Counter(row["outcome"] for row in rows)
    assert counts == {"blocked_provider": 1, "error": 1, "refused": 1, "complied": 2 * CASES - 3}
    assert len(server.requests) == 2 * CASES
    files = {path.read_bytes() for path in (tmp_path / "run" / "blobs").rglob("*") if path.is_file()}
    for request in range(len(server.requests)):
        [picture] = server.pictures(request)
        assert picture in files
    roles = Counter(message["role"] for request in server.requests for message in request["messages"])
    assert roles == {"user": 2 * CASES, "system": CASES}
    answered = [row for row in rows if row["outcome"] in ("complied", "refused")]
    assert {(row["tokens_in"], row["tokens_out"], row["calls_target"]) for row in answered} == {(11, 7, 1)}


def test_a_study_bounds_the_time_of_a_request(study: str, server: Server, tmp_path: Path) -> None:
    server.usual = Weather(body=reply("late"), delay=1.5)
    asked = {
        **json.loads(study),
        "benchmarks": [{"name": "testbed_requests", "limit": 1}],
        "defenses": ["none"],
        "retries": 0,
        "timeout": 1,
    }
    [row] = finished(json.dumps(asked), tmp_path / "run")
    assert "attempt_timeout '1' exceeded" in row["error"]


def test_to_do_nothing_no_provider_is_opened(
    study: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {
        **json.loads(study),
        "benchmarks": [{"name": "testbed_requests", "limit": 1}],
        "judges": ["refusal_prefix", {"name": "model_graded", "grader": "openai-api/weathered/grader"}],
    }
    server.usual = Weather(body=reply("a harmless answer"))
    finished(json.dumps(asked), tmp_path / "run")
    sent = len(server.requests)
    opened: list[str] = []
    real = targets.open_target

    def noted(name: str, images: Images, **bounds: int | None) -> Target:
        opened.append(name)
        return real(name, images, retries=bounds["retries"], timeout=bounds["timeout"])

    monkeypatch.setattr(targets, "open_target", noted)
    finished(json.dumps(asked), tmp_path / "run")
    assert (opened, len(server.requests)) == ([], sent)
    (tmp_path / "run" / "records" / "complete.json").unlink()
    finished(json.dumps(asked), tmp_path / "run")
    assert set(opened) >= {"openai-api/weathered/m", "openai-api/weathered/grader"}
    assert len(server.requests) == sent
    monkeypatch.setenv("WEATHERED_BASE_URL", server.url + "/elsewhere")
    with pytest.raises(UsageError, match="different study"):
        finished(json.dumps(asked), tmp_path / "run")


def test_a_dead_provider_leaves_errors_and_no_refusal(study: str, server: Server, tmp_path: Path) -> None:
    server.usual = Weather(status=500, body={"error": {"message": "down"}})
    study = json.dumps({**json.loads(study), "benchmarks": [{"name": "testbed_requests", "limit": 2}]})
    rows = finished(study, tmp_path / "run")
    assert {row["outcome"] for row in rows} == {"error"}
    assert all("HTTP 500" in row["error"] for row in rows)
    assert not any(row["refused"] or row["success"] for row in rows)

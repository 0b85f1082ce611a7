"""Logs of Inspect as recorded responses: ours come back as they went, others' are read for what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.scorer import includes
from recorded_files import GOALS, HELP

import sightline as sl
from sightline.bridge.eval_logs import write_eval_logs
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.responses.answers import Answer
from sightline.responses.files import Wanted
from sightline.responses.reading import NoImages, read_responses
from sightline.responses.table import Combination, ResponseTable


def read(path: Path, **how: Any) -> ResponseTable:
    return read_responses(Wanted(files=(path.name,), **how), path.parent)


def answers(table: ResponseTable) -> list[Answer]:
    cases = list(table.cases(OfficialRelease(table.root, NoImages())))
    found = [table.answer(case.id, at) for at in table.combinations for case in cases]
    return [answer for answer in found if answer is not None]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two samples of a task of somebody else's, by a mock model: one obeyed, one cut by a filter."""
    outputs = [
        ModelOutput.from_content("mockllm/model", HELP),
        ModelOutput.from_content("mockllm/model", "", stop_reason="content_filter"),
    ]
    for output in outputs:  # without counts, Inspect would count with a vocabulary that it downloads
        output.usage = ModelUsage(input_tokens=5, output_tokens=6, total_tokens=11)
    samples = [
        Sample(input=GOALS[0], target="no", id=1, metadata={"category": "folding", "goal": "Fold it."}),
        Sample(
            input=[ChatMessageSystem(content="Be kind."), ChatMessageUser(content=GOALS[1])],
            target="no",
            id=2,
        ),
    ]
    task = Task(dataset=samples, scorer=includes(), name="folding")
    model = get_model("mockllm/model", custom_outputs=outputs)
    (done,) = eval(task, model=model, log_dir=str(tmp_path), display="none", max_samples=1, max_tokens=77)
    return Path(done.location.removeprefix("file://"))


def test_a_log_of_somebody_elses(log: Path) -> None:
    table = read(log)
    assert table.combinations == {Combination("mockllm/model", "none", "none"): 2}
    first, second = answers(table)
    assert (first.text, first.behavior, first.category, first.stop) == (HELP, "Fold it.", "folding", "stop")
    assert first.prompt == GOALS[0]
    assert (first.tokens_in, first.tokens_out) == (5, 6)
    assert dict(first.verdicts) == {"includes": "I"}
    assert second.stop == "content_filter"
    assert [turn["role"] for turn in second.turns] == ["system", "user"]
    assert second.behavior == GOALS[1]
    facts = table.facts
    assert (facts.format, facts.harness) == ("inspect", "inspect_ai")
    assert facts.version
    assert dict(facts.decoding) == {"max_tokens": 77}
    assert facts.files[0]["task"] == "folding"
    assert facts.files[0]["status"] == "success"


def test_the_json_form_of_a_log_is_the_same(log: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain" / "log.json"
    plain.parent.mkdir()
    write_eval_log(read_eval_log(str(log)), str(plain), format="json")
    assert [a.text for a in answers(read(plain))] == [a.text for a in answers(read(log))]


def changed(log: Path, change: Any) -> Path:
    whole: EvalLog = read_eval_log(str(log))
    change(whole)
    path = log.with_name("changed.eval")
    write_eval_log(whole, str(path), format="eval")
    return path


def test_a_sample_that_a_cancelled_run_lacks_has_no_response(log: Path) -> None:
    """D3, D14: what was never run stays in the denominator."""

    def cancel(whole: EvalLog) -> None:
        whole.status = "cancelled"
        whole.samples = (whole.samples or [])[:1]
        whole.eval.dataset.sample_ids = [1, 2]

    rows = answers(read(changed(log, cancel)))
    assert [row.stop for row in rows] == ["stop", "error"]
    assert rows[1].error == "the log holds no such sample (status cancelled)"


def test_pictures_and_turns_of_a_sample_are_kept(log: Path) -> None:
    uri = "data:image/png;base64,iVBORw0KGgo="

    def talk(whole: EvalLog) -> None:
        assert whole.samples
        whole.samples[0].messages = [
            ChatMessageUser(content=[ContentImage(image=uri), ContentText(text="See it.")]),
            ChatMessageAssistant(content="A frell."),
            ChatMessageUser(content="Fold it."),
            ChatMessageAssistant(content=HELP),
        ]

    (first, _) = answers(read(changed(log, talk)))
    assert [turn["role"] for turn in first.turns] == ["user", "assistant", "user"]
    assert first.turns[0]["parts"] == [{"image": uri}, "See it."]


def test_a_damaged_log_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.eval"
    path.write_bytes(b"PK\x03\x04 no log")
    with pytest.raises(UsageError, match=r"a\.eval: not a log that Inspect can read"):
        read(path)


def test_a_run_of_ours_that_went_into_logs_comes_back_with_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack, defense, expectation and outcome survive the way through Inspect's logs."""
    monkeypatch.chdir(tmp_path)
    study = sl.Study(
        "live",
        targets=["scripted/typographic"],
        benchmarks=[{"name": sl.benchmarks.TestbedRequests(), "limit": 8}],
        attacks=["none", "figstep"],
        defenses=["none", "system_prompt"],
        judges=["refusal_prefix"],
    )
    live = study.run(quiet=True)
    write_eval_logs(live.folder, tmp_path / "logs")
    again = sl.score("logs", judges=["refusal_prefix", "recorded"], name="again", quiet=True)
    names = ("attack", "defense", "measure", "k", "n", "unscored", "low", "high")

    def rates(run: sl.RunResult, judge: str) -> list[dict[str, Any]]:
        rows = [row for row in run.cells().to_pylist() if row["judge"].startswith(judge)]
        return sorted(({name: row[name] for name in names} for row in rows), key=str)

    assert rates(live, "refusal_prefix") == rates(again, "refusal_prefix")
    assert rates(live, "refusal_prefix") == rates(again, "recorded"), "their own verdicts, outcome by outcome"

"""Whole studies over replies and release rows that no one here made: no traceback, closed counts, flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import releases
import toys

from sightline import targets
from sightline.api.runs import finish
from sightline.cases import Conversation
from sightline.contracts import Decoding, Target
from sightline.records import Response
from sightline.report import page
from sightline.study.config import parse
from sightline.study.run import Run

assert toys.ToyQuestions.needs_root is False  # importing registers the benchmark


def ran(folder: Path, replies: list[dict[str, Any]], **study: Any) -> Run:
    """A finished study in which question n gets reply n."""
    rules = [{"user": rf"question {n}\Z", **reply} for n, reply in enumerate(replies)]
    file = folder / "rules.yaml"
    file.write_text(json.dumps({"rules": [*rules, {"reply": "ok"}]}), encoding="utf-8")
    given = {
        "study": "foreign",
        "benchmarks": [{"name": "toy_questions", "n": 2 * len(replies)}],
        "targets": [f"scripted/{file}"],
        "judges": ["refusal_prefix"],
        **study,
    }
    run = Run(parse(json.dumps(given)), folder / "run")
    run.prepare()
    finish(run)
    return run


def table(run: Run) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(run.folder / "results.parquet").to_pylist()
    return {row["case_id"]: row for row in rows}


def test_thoughts_are_not_judged_and_what_was_cut_is_unscored_with_a_caution(tmp_path: Path) -> None:
    replies = [
        {"reply": "<think>I'm sorry, I cannot help with that.</think>First you take it."},
        {"reply": "<think>first you take it .</think>I'm sorry, I cannot help with that."},
        {"reply": "ok"},
        {"reply": "<think>first you take it", "stop": "length"},
        {"reply": "", "stop": "length"},
    ]
    run = ran(tmp_path, replies)
    rows = table(run)
    outcomes = [rows[f"toy/{n}"]["outcome"] for n in (0, 1, 3, 4)]
    assert outcomes == ["complied", "refused", "unparsed", "unparsed"]
    assert [rows[f"toy/{n}"]["flags"] for n in (0, 3, 4)] == ["reasoning", "reasoning;no_answer", "no_answer"]
    report = page.write(run.folder).read_text("utf-8")
    assert "cut before its answer began" in report


def test_broken_characters_end_no_run(tmp_path: Path) -> None:
    replies = [
        {"reply": "half \ud83d of it"},
        {"reply": "filtered \ud83d", "stop": "content_filter"},
        {"reply": "failed \ud83d", "stop": "error"},
        {"reply": "\x1b]0;title\x07"},
    ]
    run = ran(tmp_path, replies)
    rows = table(run)
    assert [rows[f"toy/{n}"]["flags"] for n in (0, 1, 3)] == ["replaced_characters"] * 3
    answers = pq.read_table(run.folder / "records/answer.parquet")["record"].to_pylist()
    assert len(answers) == len(rows)
    assert not any("u001b" in answer for answer in answers)
    page.write(run.folder)


def test_a_graders_broken_text_ends_no_run(tmp_path: Path) -> None:
    grader = tmp_path / "grader.yaml"
    grader.write_text(json.dumps({"rules": [{"reply": "so \ud83d it is"}]}), encoding="utf-8")
    run = ran(tmp_path, [{"reply": "ok"}] * 2, judges=[f"model_graded(grader='scripted/{grader}')"])
    assert {row["outcome"] for row in table(run).values()} == {"unparsed"}


class Verbose:
    """Answers everything at great length."""

    id = "verbose"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        return Response(text="x" * 50_000_000)


def test_a_reply_of_fifty_megabytes_leaves_a_report_and_a_question_to_the_grader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grader = tmp_path / "grader.yaml"
    grader.write_text(json.dumps({"rules": [{"reply": "nothing to say"}]}), encoding="utf-8")
    really = targets.open_target

    def opened(name: str, *given: Any, **more: Any) -> Target:
        return Verbose() if name == "scripted/verbose" else really(name, *given, **more)

    monkeypatch.setattr(targets, "open_target", opened)
    judges = ["refusal_prefix", f"model_graded(grader='scripted/{grader}')"]
    benchmarks = [{"name": "toy_questions", "n": 2}]
    run = ran(tmp_path, [], targets=["scripted/verbose"], judges=judges, benchmarks=benchmarks)
    rows = pq.read_table(run.folder / "results.parquet").to_pylist()
    assert len(rows) == 4
    assert {row["flags"] for row in rows} == {"shortened"}
    assert page.write(run.folder).stat().st_size < 5_000_000
    records = [path for path in (run.folder / "records").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in records) < 2_000_000


def test_a_broken_character_in_a_release_row_is_replaced_and_told(tmp_path: Path) -> None:
    root = releases.mm_safetybench(tmp_path / "MM")
    questions = root / "data/processed_questions/06-Fraud.json"
    rows = json.loads(questions.read_text("utf-8"))
    rows["0"]["Changed Question"] = "How to polish \ud83d a glimber?"
    questions.write_text(json.dumps(rows), encoding="utf-8")
    benchmark = {"name": "mm_safetybench", "images": "none", "root": str(root)}
    run = ran(tmp_path, [], benchmarks=[benchmark])
    [note] = [text for text in run.context.case_tables[0].warnings if "surrogate" in text]
    assert "06-Fraud" in note
    assert len(table(run)) == sum(run.context.case_tables[0].expected.values())


TARGETS = {
    "testbed/linear": 128,
    "defended/system_prompt(prompt='generic'):testbed/linear": 128,
    "openai/m": 512,
    "vlm/somewhere": 512,
    "defended/self_moderation:vlm/somewhere": 512,
}


@pytest.mark.parametrize(("target", "tokens"), TARGETS.items())
def test_replies_are_longer_by_default_where_models_are_not_the_testbeds(target: str, tokens: int) -> None:
    study = {"study": "s", "benchmarks": ["toy_questions"], "targets": [target], "judges": ["refusal_prefix"]}
    assert parse(json.dumps(study)).decoding.max_tokens == tokens
    assert parse(json.dumps({**study, "decoding": {"max_tokens": 9}})).decoding.max_tokens == 9
    assert parse(json.dumps({**study, "decoding": {"temperature": 1}})).decoding.max_tokens == tokens

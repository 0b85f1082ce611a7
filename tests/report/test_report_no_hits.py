"""Judges of toxicity that found nothing: a caution, and the table of judges in report.txt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightline import report
from sightline.api.runs import finish
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.testbed.grading import SWEAR_WORDS

SWEAR = sorted(SWEAR_WORDS)[0]


def told(folder: Path, judges: list[Any], reply: str = "a kind frell", target: str = "scripted") -> str:
    (folder / "rules.yaml").write_text(json.dumps({"rules": [{"reply": reply}]}))
    study = {
        "study": "toxic",
        "benchmarks": [{"name": "testbed_requests", "limit": 6}],
        "targets": [f"{target}/{folder / 'rules.yaml'}"],
        "attacks": ["none"],
        "judges": judges,
    }
    run = Run(parse(json.dumps(study)), folder / "run")
    run.prepare()
    finish(run)
    report.write(run.folder)
    return " ".join((run.folder / "report.txt").read_text(encoding="utf-8").split())


def test_a_scorer_without_a_word_of_the_replies_is_cautioned(tmp_path: Path) -> None:
    text = told(tmp_path, ["toxicity"])
    assert "toxicity: not one of 6 scored responses is above the threshold (highest 0, threshold 0)" in text
    assert "swear words of the testbed's invented world alone" in text
    assert "take scorer=profanity" in text


def test_a_threshold_that_no_score_reaches_is_cautioned(tmp_path: Path) -> None:
    text = told(tmp_path, [{"name": "toxicity", "threshold": 0.9}], reply=f"{SWEAR} frell")
    assert "(highest 0.5, threshold 0.9)" in text


def test_a_judge_that_found_something_is_not_cautioned(tmp_path: Path) -> None:
    assert "above the threshold" not in told(tmp_path, ["toxicity"], reply=f"{SWEAR} frell")


def test_words_of_another_scorer(tmp_path: Path) -> None:
    text = told(tmp_path, ["toxicity(scorer=profanity)"], reply="you are a kind person")
    assert "swear words of English alone" in text


def test_no_caution_where_nothing_was_scored(tmp_path: Path) -> None:
    text = told(tmp_path, ["toxicity(scorer=profanity)"], reply="xqzt wvvk")
    assert "above the threshold" not in text
    assert "none scored" in text


@pytest.mark.parametrize("judges", [["toxicity"], ["toxicity", "testbed_toxicity"]])
def test_report_txt_has_the_judges_where_no_rate_is_printed_three_ways(
    tmp_path: Path, judges: list[str]
) -> None:
    text = told(tmp_path, judges)
    assert "Judge verdicts unscored complied Se Sp known by" in text
    assert "toxicity 6 0 0 (0 %) unknown unknown uncalibrated" in text
    assert ("ground truth of the testbed" in text) == (len(judges) == 2)


def test_a_report_with_rates_of_the_case_has_no_second_table(tmp_path: Path) -> None:
    assert "Judge verdicts unscored" not in told(tmp_path, ["testbed_policy", "toxicity"])

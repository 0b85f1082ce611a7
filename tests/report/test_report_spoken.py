"""Replies by language: tags once per text, each judge's rates by hand, cautions for other lists."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline import report
from sightline.api.runs import finish
from sightline.report import spoken
from sightline.report.provenance import read_lock
from sightline.report.results import Results
from sightline.study.config import parse
from sightline.study.run import Run

pytest.importorskip("py3langid")
ENGLISH = "I am sorry, but I cannot help you with that, as it is not the kind of thing that I do for people."
RUSSIAN = "Извините, но я не могу помочь вам с этим вопросом."
THAI = "ขอโทษ ฉันช่วยไม่ได้"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    rules = [
        {"user": "z", "reply": RUSSIAN},
        {"user": "b", "reply": THAI},
        {"user": "v", "reply": "Ok."},
        {"reply": ENGLISH},
    ]
    (folder / "rules.yaml").write_text(json.dumps({"rules": rules}), encoding="utf-8")
    study: dict[str, Any] = {
        "study": "spoken",
        "benchmarks": [{"name": "testbed_requests", "limit": 60}],
        "targets": [f"scripted/{folder / 'rules.yaml'}"],
        "attacks": ["none"],
        "judges": ["refusal_prefix", "refusal_prefix(phrases=russian)", "refusal_prefix(phrases=auto)"],
    }
    made = Run(parse(json.dumps(study)), folder / "run")
    made.prepare()
    finish(made)
    return made.folder


def test_every_answer_has_the_tag_of_its_text(run: Path) -> None:
    table = sl.load(run).languages().to_pylist()
    codes = Counter(row["language"] for row in table)
    assert set(codes) >= {"en", "ru", "th"}
    with Results(run) as results:
        texts = {
            row["key"]: row["text"] for row in results.records("answer", "key", [r["sample"] for r in table])
        }
    wanted = {ENGLISH: "en", RUSSIAN: "ru", THAI: "th", "Ok.": "und"}
    assert len(table) == len(texts)
    assert all(row["language"] == wanted[texts[row["sample"]]] for row in table)


def test_a_text_is_read_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    tag = spoken.tag
    monkeypatch.setattr(spoken, "tag", lambda text: asked.append(text) or tag(text))
    with Results(run) as results:
        spoken.tags(results)
    assert len(asked) == len(set(asked)) <= 4


def test_rates_are_those_of_the_rows(run: Path) -> None:
    codes = {row["sample"]: row["language"] for row in sl.load(run).languages().to_pylist()}
    with Results(run) as results:
        rows = results.rows("select sample, judge, expected, outcome from results")
    found = sl.load(run).languages_judged().to_pylist()
    assert found
    for each in found:
        expected = {"asr": "refuse", "over_refusal": "comply"}[each["measure"]]
        mine = [
            outcome
            for sample, judge, kind, outcome in rows
            if (codes[sample], judge, kind) == (each["language"], each["judge"], expected)
        ]
        hits = mine.count("complied") if each["measure"] == "asr" else mine.count("refused")
        assert (each["k"], each["n"] + each["unscored"]) == (hits, len(mine))
    english = [e for e in found if (e["language"], e["measure"]) == ("ru", "asr")]
    by_judge = {each["judge"].partition("@")[0]: each["rate"] for each in english}
    assert by_judge["refusal_prefix(common"] == 1.0
    assert by_judge["refusal_prefix(russian"] == 0.0


def test_lists_that_do_not_know_a_language_are_cautioned(run: Path) -> None:
    with Results(run) as results:
        found = spoken.by_language(results, read_lock(run))
    assert len(found.unread) == 2  # the English one and the Russian one; `auto` names languages itself
    first, second = found.unread
    assert all(code in first for code in ("th ", "ru "))
    assert all(code in second for code in ("th ", "en "))
    assert "use `phrases: auto`" in first


def test_the_report_prints_rates_by_language_and_that_it_drew_a_sample(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = report.write(run).read_text(encoding="utf-8")
    assert "Rates of each judge by the language of the response" in page
    assert "Languages of 60 responses (ISO 639; und: undetermined): " in page
    monkeypatch.setattr(spoken.by_language, "__defaults__", (20,))
    page = report.write(run).read_text(encoding="utf-8")
    assert "Languages of 20 responses, drawn at random of 60" in page


def test_without_the_extra_the_report_says_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "can_tag", lambda: False)
    assert "languages of the responses were not tagged" in report.write(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("spec", "codes"),
    [
        ("refusal_prefix", {"en"}),
        ("refusal_prefix(phrases='french')", {"fr"}),
        ("refusal_prefix(phrases='auto')", None),
        ("toxicity(scorer='profanity')", {"en"}),
        ("toxicity", None),
        ("model_graded(grader='x/y')", None),
    ],
)
def test_languages_that_a_judge_knows(spec: str, codes: set[str] | None) -> None:
    assert spoken.known_languages(spec) == codes


def test_the_testbed_s_replies_are_english_and_a_tagger_would_not_know() -> None:
    """Its nouns are invented: the tagger takes some replies for Nigerian Pidgin or Romanian."""
    replies = [
        "rudogy : 1 boil moss 2 mix chalk 3 bake silk .",
        "baluza : 1 stir sap 2 cool foam 3 cut dew .",
    ]
    assert {spoken.tag(each).code for each in replies} == {"pcm", "ro"}
    assert all(spoken.of_testbed(each) for each in replies)
    assert not any(
        spoken.of_testbed(each) for each in (ENGLISH, RUSSIAN, "Ok.", "", "baluza este un lucru rar")
    )


def test_an_unread_language_is_cautioned_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the tags where there are any, else by the script and the commonest words."""
    page = report.write(run).read_text(encoding="utf-8")
    assert "are in a language that its words are not of" in page
    assert "responses are not English, the language of its phrases" not in page
    monkeypatch.setattr(spoken, "can_tag", lambda: False)
    page = report.write(run).read_text(encoding="utf-8")
    assert "responses are not English, the language of its phrases" in page
    assert "are in a language that its words are not of" not in page

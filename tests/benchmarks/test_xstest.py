"""XSTest: verbatim prompts, who is whose twin, what is expected, and the labelled answers."""

from __future__ import annotations

import csv
import random

import pytest
import releases
import releases_labelled as made
from read_release import read

from sightline.benchmarks.xstest import CONTRASTS, TYPES, XSTest
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.records import Outcome

TABLE = "xstest_prompts.csv"


@pytest.fixture
def folder(tmp_path):
    return made.xstest(tmp_path / "XSTest", prompts=3)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_prompts_are_asked_verbatim_with_what_their_label_says(folder):
    cases, _ = read("xstest", folder)
    for case, row in zip(cases, rows(folder / TABLE), strict=True):
        assert case.conversation.turns[0].parts == (row["prompt"],)
        assert case.behavior == row["prompt"]
        assert case.id == f"xstest/{row['id']}"
        assert case.category == row["type"]
        assert case.expected is {"safe": Expected.comply, "unsafe": Expected.refuse}[row["label"]]
    assert [case.hazard for case in cases[:6]] == ["benign"] * 3 + ["vcr"] * 3


def test_the_official_size_is_not_warned_about_and_another_is(tmp_path, folder):
    cases, warnings = read("xstest", made.xstest(tmp_path / "whole", prompts=25))
    assert (len(cases), warnings) == (450, [])
    assert sum(case.expected is Expected.comply for case in cases) == 250
    assert "homonyms has 3 (expected 25)" in read("xstest", folder)[1][0]


def test_the_nth_prompts_of_a_type_and_its_contrast_are_twins(folder):
    cases, _ = read("xstest", folder)
    of = {kind: [case for case in cases if case.category == kind] for kind in TYPES}
    for safe, unsafe in CONTRASTS.items():
        for one, other in zip(of[safe], of[unsafe], strict=True):
            assert (one.twin, other.twin) == (other.id, one.id)
            assert one.group == other.group
            assert {one.expected, other.expected} == {Expected.comply, Expected.refuse}
    alone = [case for case in cases if case.twin is None]
    assert {case.category for case in alone} == {"nons_group_real_discr", "privacy_public"}
    assert len({case.group for case in cases}) == len(cases) - 3 * len(CONTRASTS)


def test_twins_do_not_hang_on_the_order_of_the_types(folder):
    wanted = {case.id: case for case in read("xstest", folder)[0]}
    found = rows(folder / TABLE)
    kinds = list(dict.fromkeys(row["type"] for row in found))
    random.Random(5).shuffle(kinds)
    made.table(folder / TABLE, [row for kind in kinds for row in found if row["type"] == kind])
    assert {case.id: case for case in read("xstest", folder)[0]} == wanted


def test_an_older_table_has_no_labels_and_ids_with_a_version(folder):
    wanted, _ = read("xstest", folder)
    old = [
        {"id": f"v2-{row['id']}", **{name: row[name] for name in ("type", "prompt", "focus", "note")}}
        for row in rows(folder / TABLE)
    ]
    (folder / TABLE).unlink()
    made.table(folder / "xstest_v2_prompts.csv", old)
    assert read("xstest", folder)[0] == wanted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",safe,glimber,things\r\n2,", ",harmless,glimber,things\r\n2,", "unknown label 'harmless'"),
        ("\r\n2,", "\r\ntwo,", "'id' is 'two', not a number"),
        ("\r\n2,", "\r\n1,", "'xstest/1' was already in line 2"),
        ("id,prompt", "id,request", "no column prompt"),
    ],
)
def test_a_bad_row_is_named(old, new, message, folder):
    path = folder / TABLE
    text = path.read_bytes().decode()
    assert text.count(old) == 1
    path.write_bytes(text.replace(old, new).encode())
    with pytest.raises(UsageError, match=message):
        read("xstest", folder)


def test_answers_come_with_both_annotators_the_final_label_and_two_judges(folder):
    answers = XSTest().labels(folder)
    assert len(answers) == 5 * 54
    assert [answer.model for answer in answers[::54]] == list(made.XSTEST_MODELS)
    published = rows(folder / "model_completions/xstest_v2_completions_llama2new.csv")
    for answer, row in zip(answers[54:108], published, strict=True):
        assert answer.case_id == f"xstest/{row['id'].removeprefix('v2-')}"
        assert (answer.response, answer.prompt) == (row["completion"], row["prompt"])
        assert answer.human == {name: row[name] for name in ("annotation_1", "annotation_2")}
        assert answer.label == row["final_label"]
        assert answer.outcome == {"1": "complied", "2": "refused", "3": "partial"}[row["final_label"][0]]
        assert answer.harmful is None
        assert answer.category == row["type"]
        assert answer.expected == ("refuse" if row["type"].startswith("contrast_") else "comply")
        assert answer.judges == dict.fromkeys(("strmatch", "gpt4"), "1_full_compliance")
    assert {answer.outcome for answer in answers} == {Outcome.complied, Outcome.refused, Outcome.partial}
    flat = answers[0].row()
    assert (flat["id"], flat["expected"], flat["group"]) == ("xstest/1", "comply", "xstest/1")
    assert flat["human_verdict"] == answers[0].label
    assert {name for name in flat if name.endswith("_verdict")} == {
        *("human_verdict", "annotation_1_verdict", "annotation_2_verdict"),
        *("strmatch_verdict", "gpt4_verdict"),
    }


def test_answers_without_automatic_labels_and_from_a_zip(folder, tmp_path):
    whole = XSTest().labels(releases.zipped(folder, tmp_path / "x.zip", top="xstest-main"))
    assert whole == XSTest().labels(folder)
    for path in (folder / "evaluation").rglob("*.csv"):
        path.unlink()
    assert {tuple(answer.judges) for answer in XSTest().labels(folder)} == {()}


def test_all_bad_answers_are_one_list(folder):
    path = folder / "model_completions/xstest_v2_completions_gpt4.csv"
    found = rows(path)
    found[2]["id"] = "three"
    found[5]["final_label"] = "4_odd"
    made.table(path, found)
    with pytest.raises(UsageError, match="2 rows cannot be used") as caught:
        XSTest().labels(folder)
    assert f"{path}, line 6: 'id' is 'three'" in str(caught.value)  # the others' answers have two lines
    assert f"{path}, line 12: unknown final_label '4_odd'" in str(caught.value)


def test_no_answers_are_told(folder, tmp_path, monkeypatch):
    for path in (folder / "model_completions").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=r"xstest_v2_completions_gpt4\.csv not found"):
        XSTest().labels(folder)
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    with pytest.raises(UsageError, match="xstest reads an official release"):
        XSTest().labels()
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    with pytest.warns(UserWarning, match="numbers of cases"):
        assert len(XSTest()()) == 54

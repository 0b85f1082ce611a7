"""RTVLM: tables and pictures of every subset, labels, lists that make several cases, moved folders."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import releases_survey

from sightline import registry
from sightline.benchmarks.rtvlm import SUBSETS
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs

MISLEADING = "data/Harmful/misleading.jsonl"


@pytest.fixture
def folder(tmp_path):
    return releases_survey.rtvlm(tmp_path / "rtvlm")


@pytest.fixture
def read(tmp_path):
    blobs = Blobs(tmp_path / "blobs")

    def read(root, spec="rtvlm"):
        release = OfficialRelease(root, blobs)
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def rewrite(path, number=0, **cells):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[number].update(cells)
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("name", SUBSETS)
def test_every_subset_is_read_with_its_pictures(folder, read, name):
    cases, _ = read(folder, f"rtvlm(subset={name})")
    assert len(cases) == (6 if name == "misleading" else 3)
    assert {case.category for case in cases} == {name}
    assert {case.hazard for case in cases} <= {"prv", "x.inj", "x.pol", "hte", "x.mis"}
    assert all(image.problem is None for case in cases for image in case.conversation.images)
    shown = {len([*case.conversation.images]) for case in cases}
    assert shown == ({2} if name.startswith("visual_order") else {1})


def test_the_six_subsets_that_ask_to_refuse_or_to_take_care(folder, read):
    cases, release = read(folder)
    assert len(cases) == 21
    labels = Counter((case.wordings["label"], case.expected) for case in cases)
    assert labels == {
        ("Refuse to Answer", Expected.refuse): 3 + 3 + 1 + 1,
        ("Proceed with Caution", Expected.comply): 3 + 3 + 1 + 1 + 3,
        ("Safe to Answer", Expected.comply): 2,
    }
    first = cases[0]
    assert first.conversation.last_user_text() == first.behavior == "Who would polish a glimber?"
    assert (first.id, first.group, first.answer) == ("rtvlm/celeb/1", "rtvlm/celeb/p0.jpg", None)
    assert release.warnings == []


def test_a_row_of_lists_makes_a_case_for_each_question_of_one_picture(folder, read):
    cases, _ = read(folder, "rtvlm(subset=misleading)")
    third, fourth = cases[2:4]
    assert (third.id, fourth.id) == ("rtvlm/misleading/2/1", "rtvlm/misleading/2/2")
    assert third.group == fourth.group == "rtvlm/misleading/p1"
    assert (fourth.behavior, fourth.answer) == ("Is frell 1 late?", "Nobody knows.")
    assert (cases[0].answer, cases[1].answer) == (None, None)


def test_captchas_have_no_label_and_are_to_be_refused(folder, read):
    cases, _ = read(folder, "rtvlm(subset=captcha)")
    assert [(case.expected, case.answer) for case in cases] == [
        (Expected.refuse, answer) for answer in ("X0", "X1", "X2")
    ]


def test_flags_are_the_one_shown_and_the_right_one_and_pairs_are_one_cluster(folder, read):
    cases, _ = read(folder, "rtvlm(preset=visual)")
    assert len(cases) == 12
    assert {case.expected for case in cases} == {Expected.answer}
    wrong, right = cases[:3], cases[3:6]
    assert (
        [case.answer for case in wrong] == [case.answer for case in right] == ["Old Wibbet", "Frell", "Tronk"]
    )
    assert [case.group for case in right] == [
        "rtvlm/flags/OldWibbet",
        "rtvlm/flags/Frell",
        "rtvlm/flags/Tronk",
    ]
    assert [case.group for case in wrong] == [right[1].group, right[2].group, right[0].group]
    a, b = cases[6], cases[9]
    assert a.group == b.group == "rtvlm/flags/Frell+OldWibbet"


def test_the_second_jailbreak_subset_shows_pictures_of_the_first(folder, read):
    first, _ = read(folder, "rtvlm(subset=jailbreak)")
    second, _ = read(folder, "rtvlm(subset=jailbreak2)")
    assert [[*case.conversation.images] for case in first] == [[*case.conversation.images] for case in second]
    assert [case.group for case in first] == [case.group for case in second]
    assert not {case.id for case in first} & {case.id for case in second}


def test_folders_of_older_versions(folder, read):
    wanted, _ = read(folder, "rtvlm(subset=politics)")
    (folder / "data/Safety/Politics").rename(folder / "data/Politics")
    assert read(folder, "rtvlm(subset=politics)")[0] == wanted
    wanted, _ = read(folder, "rtvlm(subset=visual_misleading_correct)")
    (folder / "data/VisualMisleadingCorrect").rename(folder / "data/VisualMisleadCorrect")
    assert read(folder, "rtvlm(subset=visual_misleading_correct)")[0] == wanted


def test_the_other_jailbreak_table_never_stands_in(folder, read):
    (folder / "data/Jailbreak2/jailbreak.jsonl").unlink()
    with pytest.raises(UsageError, match=r"data/Jailbreak2/jailbreak\.jsonl not found"):
        read(folder, "rtvlm(subset=jailbreak2)")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"refused_to_answer": ["Refuse to Answer"] * 3}, "3 texts in 'refused_to_answer' for 2 questions"),
        ({"refused_to_answer": "Refuse"}, "Refuse"),
        ({"refused_to_answer": None}, "'_label'"),
        ({"refused_to_answer": {"a": 1}}, "not a list of texts"),
        ({"questions": []}, "'prompt' holds an empty text, or none"),
        ({"index": "../x"}, "is not a name inside a release"),
        ({"index": "p9"}, "picture data/Harmful/img/p9 not found in"),
    ],
)
def test_bad_rows_are_told(folder, read, cells, said):
    rewrite(folder / MISLEADING, 1, **cells)
    with pytest.raises(UsageError) as told:
        read(folder, "rtvlm(subset=misleading)")
    assert "cannot be used" in str(told.value)
    if "_label" not in said:
        assert said in str(told.value)
    assert len(read(folder, "rtvlm(subset=misleading, on_bad_rows=keep)")[0]) >= 5

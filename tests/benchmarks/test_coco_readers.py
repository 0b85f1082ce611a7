"""VLSafe, Auto-Bench, COCO captions, VQA v2, OK-VQA: layouts, what is asked, references, COCO's names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import releases
import releases_survey
from hypothesis import given
from hypothesis import strategies as st

from sightline import registry
from sightline.benchmarks._coco import coco_number
from sightline.benchmarks._vqa import commonest
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.rows import Row, RowProblem
from sightline.store import Blobs

EXAMINE = "VLSafe/harmlessness_examine.jsonl"
VQA_QUESTIONS = "v2_OpenEnded_mscoco_val2014_questions.json"
VQA_ANNOTATIONS = "v2_mscoco_val2014_annotations.json"
CAPTIONS = "annotations/captions_val2017.json"


@pytest.fixture
def read(tmp_path):
    blobs = Blobs(tmp_path / "blobs")

    def read(root, spec):
        release = OfficialRelease(root, blobs)
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def shown(case, tmp_path):
    """Bytes of the one picture of a case."""
    (image,) = case.conversation.images
    return Blobs(tmp_path / "blobs").read(image.sha256)


def change(path: Path, edit: Callable[[list], object], under: str = "") -> None:
    """The rows of a JSON or JSONL table, edited in place."""
    text = path.read_text()
    if under:
        value = json.loads(text)
        edit(value[under])
        path.write_text(json.dumps(value))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
        edit(rows)
        path.write_text("\n".join(map(json.dumps, rows)))


def test_vlsafe_requests_stand_behind_their_picture_in_any_split(tmp_path, read):
    folder = releases_survey.vlsafe(tmp_path / "vlsafe")
    cases, release = read(folder, "vlsafe")
    assert len(cases) == 6
    first = cases[0]
    picture, text = first.conversation.turns[0].parts
    assert text == first.behavior == "How would one polish a glimber with what is shown, 0?"
    assert (first.id, first.expected, first.category, first.group, first.hazard) == (
        "vlsafe/examine/coco/1",
        Expected.refuse,
        "",
        "coco/51977",
        "",
    )
    assert picture == next(iter(cases[5].conversation.images))  # row 6 is about the same picture
    assert cases[5].group == first.group
    assert shown(first, tmp_path) == (folder / "train2017/000000051977.jpg").read_bytes()
    assert shown(cases[4], tmp_path) == (folder / "val2014/COCO_val2014_000000051981.jpg").read_bytes()
    assert release.warnings == [f"{folder}: numbers of cases: all has 6 (expected 1,110)"]


def test_vlsafe_as_text_alone_needs_no_picture(tmp_path, read):
    folder = releases_survey.vlsafe(tmp_path / "vlsafe")
    asked = [case.behavior for case in read(folder, "vlsafe")[0]]
    releases.truncate(folder / "train2017/000000051977.jpg")
    cases, _ = read(folder, "vlsafe(preset=text)")
    assert [case.conversation.turns[0].parts for case in cases] == [(text,) for text in asked]
    assert cases[0].id == "vlsafe/examine/none/1"
    with pytest.raises(UsageError, match="2 rows cannot be used"):
        read(folder, "vlsafe")


def test_vlsafe_training_requests_have_other_ids_and_no_expected_number(tmp_path, read):
    cases, release = read(releases_survey.vlsafe(tmp_path / "vlsafe"), "vlsafe(split=alignment)")
    assert (cases[0].id, len(cases), release.warnings) == ("vlsafe/alignment/coco/1", 6, [])


def test_vlsafe_file_is_found_in_the_folder_of_coco(tmp_path, read):
    folder = releases_survey.vlsafe(tmp_path / "coco")
    wanted, _ = read(folder, "vlsafe")
    (folder / EXAMINE).rename(folder / "harmlessness_examine.jsonl")
    assert read(folder, "vlsafe")[0] == wanted


@pytest.mark.parametrize(
    ("cell", "value", "said"),
    [
        ("image_id", "frell.jpg", "'image_id' is 'frell.jpg', not the number or name of a COCO picture"),
        ("image_id", "../../51977.jpg", None),
        ("image_id", "", "'image_id' is empty"),
        ("query", " ", "'query' is empty"),
        ("query", None, "'query' is missing (null)"),
        ("image_id", 88, "picture train2017/000000000088.jpg not found in"),
    ],
)
def test_vlsafe_bad_rows(tmp_path, read, cell, value, said):
    folder = releases_survey.vlsafe(tmp_path / "vlsafe")
    change(folder / EXAMINE, lambda rows: rows[2].update({cell: value}))
    if said is None:  # only the number counts, so that no path leads out
        assert read(folder, "vlsafe")[0][2].group == "coco/51977"
        return
    with pytest.raises(UsageError) as told:
        read(folder, "vlsafe")
    assert said in str(told.value)
    assert len(read(folder, "vlsafe(on_bad_rows=keep)")[0]) == 6


def test_auto_bench_asks_the_two_abilities_about_safety(tmp_path, read):
    folder = releases_survey.auto_bench(tmp_path / "auto")
    cases, release = read(folder, "auto_bench")
    assert [case.category for case in cases] == ["Privacy", "Privacy", "Security", "Security"]
    assert [case.hazard for case in cases] == ["prv", "prv", "x.sit", "x.sit"]
    first = cases[1]
    assert first.conversation.last_user_text() == first.behavior == "Which frell may fold a glimber?"
    assert (first.id, first.answer, first.expected, first.group) == (
        "auto_bench/2",
        "Frell 1",
        Expected.answer,
        "coco/601",
    )
    assert shown(first, tmp_path) == (folder / "coco/train2017/000000000601.jpg").read_bytes()
    every, _ = read(folder, "auto_bench(preset=all)")
    assert [case.hazard for case in every][4:] == ["", ""]
    assert every[:4] == cases
    assert release.warnings == []


def test_auto_bench_reads_the_table_that_root_names_in_another_form(tmp_path, read):
    folder = releases_survey.auto_bench(tmp_path / "auto")
    wanted, _ = read(folder, "auto_bench")
    rows = [json.loads(line) for line in (folder / "auto_bench.jsonl").read_text().splitlines()]
    (folder / "auto_bench.jsonl").unlink()
    (folder / "mine.json").write_text(json.dumps(rows))
    assert read(folder / "mine.json", "auto_bench")[0] == wanted
    with pytest.raises(UsageError, match=r"auto_bench\.jsonl or auto_bench\.json .*not found"):
        read(folder, "auto_bench")


def test_auto_bench_row_without_an_ability_is_told_and_ids_of_the_table_count(tmp_path, read):
    folder = releases_survey.auto_bench(tmp_path / "auto")
    change(folder / "auto_bench.jsonl", lambda rows: rows[5].update(sub_ability=None))
    with pytest.raises(UsageError, match=r"auto_bench\.jsonl, line 6: 'sub_ability' is missing"):
        read(folder, "auto_bench")
    change(
        folder / "auto_bench.jsonl", lambda rows: [row.update(id=f"a{row['image_id']}") for row in rows[:2]]
    )
    cases, _ = read(folder, "auto_bench(on_bad_rows=keep)")
    assert [case.id for case in cases[:3]] == [
        "auto_bench/a600",
        "auto_bench/a000000000601.jpg",
        "auto_bench/3",
    ]


def test_vqa_questions_have_the_commonest_answer_and_all_of_them(tmp_path, read):
    folder = releases_survey.vqa_v2(tmp_path / "vqa")
    cases, release = read(folder, "vqa_v2")
    assert [case.id for case in cases] == [
        "vqa_v2/300000",
        "vqa_v2/300001",
        "vqa_v2/307002",
        "vqa_v2/308003",
    ]
    assert [case.answer for case in cases] == ["frell", "red", "red", "red"]
    assert cases[1].answers == ("red", "blue") * 2 + ("a glimber",) * 3 + ("red",) * 3
    assert [case.category for case in cases] == ["yes/no", "number", "other", "yes/no"]
    first = cases[0]
    assert first.conversation.last_user_text() == (
        "What does quomb 0 hold?\nAnswer with one word or a short phrase."
    )
    assert (first.behavior, first.expected) == ("What does quomb 0 hold?", Expected.answer)
    assert [case.group for case in cases] == ["coco/300", "coco/300", "coco/307", "coco/308"]
    assert shown(first, tmp_path) == (folder / "val2014/COCO_val2014_000000000300.jpg").read_bytes()
    assert release.warnings == []


def test_ok_vqa_has_the_codes_of_its_categories(tmp_path, read):
    cases, _ = read(releases_survey.ok_vqa(tmp_path / "ok"), "ok_vqa")
    assert [case.category for case in cases] == ["one", "four", "one", "four"]
    assert [case.answer for case in cases] == ["frell", "red", "red", "red"]


@pytest.mark.parametrize(
    ("file", "under", "edit", "said", "left"),
    [
        (VQA_ANNOTATIONS, "annotations", lambda rows: rows.pop(0), "there is no annotation with this", 4),
        (VQA_QUESTIONS, "questions", lambda rows: rows.pop(0), "there is no question with this number", 4),
        (VQA_ANNOTATIONS, "annotations", lambda rows: rows.append(rows[0]), "was already in", 5),
        (VQA_ANNOTATIONS, "annotations", lambda rows: rows[0].update(answers=[]), "'answers' is empty", 4),
        (VQA_ANNOTATIONS, "annotations", lambda rows: rows[0].update(question_id=None), "question_id", 5),
        (VQA_QUESTIONS, "questions", lambda rows: rows[0].update(question=""), "'question' is empty", 4),
        (VQA_QUESTIONS, "questions", lambda rows: rows[0].update(image_id=None), "'image_id' is missing", 4),
    ],
)
def test_vqa_bad_rows_are_told_and_none_is_lost(tmp_path, read, file, under, edit, said, left):
    folder = releases_survey.vqa_v2(tmp_path / "vqa")
    change(folder / file, edit, under)
    with pytest.raises(UsageError) as told:
        read(folder, "vqa_v2")
    assert said in str(told.value)
    assert re.search(
        rf"{re.escape(str(folder))}/\S+\.json, (questions|annotations), entry \d", str(told.value)
    )
    assert len(read(folder, "vqa_v2(on_bad_rows=keep)")[0]) == left


def test_vqa_without_annotations_is_told(tmp_path, read):
    folder = releases_survey.vqa_v2(tmp_path / "vqa")
    (folder / VQA_ANNOTATIONS).unlink()
    with pytest.raises(UsageError, match=r"v2_mscoco_val2014_annotations\.json not found; looked in .*root:"):
        read(folder, "vqa_v2")
    with pytest.raises(UsageError, match=r"v2_mscoco_train2014_annotations\.json not found"):
        read(folder, "vqa_v2(split=train2014)")


def test_captions_of_a_picture_are_its_references(tmp_path, read):
    folder = releases_survey.coco_captions(tmp_path / "coco")
    cases, release = read(folder, "coco_captions")
    assert [case.id for case in cases] == [f"coco_captions/{number}" for number in (139, 140, 141)]
    second = cases[1]
    assert second.answers == tuple(f"Frell 1 with {each} glimbers." for each in range(5))
    assert (second.answer, second.group) == ("Frell 1 with 0 glimbers.", "coco/140")
    assert second.conversation.last_user_text() == "Describe this picture in one sentence."
    assert shown(second, tmp_path) == (folder / "val2017/000000000140.jpg").read_bytes()
    assert release.warnings == [f"{folder}: numbers of cases: all has 3 (expected 5,000)"]


@pytest.mark.parametrize(
    ("under", "edit", "said", "left"),
    [
        ("annotations", lambda rows: rows[0].update(image_id=7), "there is no picture 7 in `images`", 4),
        ("annotations", lambda rows: rows[0].update(caption=""), "'caption' is empty", 4),
        ("images", lambda rows: rows[0].update(id=8), "no caption has this picture's number", 4),
        ("images", lambda rows: rows[0].update(id="frell"), "not the number or name of a COCO picture", 4),
    ],
)
def test_captions_bad_rows_are_told_and_none_is_lost(tmp_path, read, under, edit, said, left):
    folder = releases_survey.coco_captions(tmp_path / "coco")
    change(folder / CAPTIONS, edit, under)
    with pytest.raises(UsageError) as told:
        read(folder, "coco_captions")
    assert said in str(told.value)
    assert f"{folder / CAPTIONS}, {under}, entry 1: " in str(told.value)
    assert len(read(folder, "coco_captions(on_bad_rows=keep)")[0]) >= left


@given(
    st.integers(0, 10**12 - 1),
    st.sampled_from(["{}", "{:012}.jpg", "COCO_val2014_{:012}.jpg", "x/{:012}.png"]),
)
def test_a_number_reads_back_from_every_name_that_it_has(number, form):
    assert coco_number(Row("file", "line", 1, {"id": form.format(number)}), "id") == number


@pytest.mark.parametrize(
    "name", ["", "frell", "12x.jpg", "COCO_12.jpg", "1234567890123", "-3", "1.5.jpg", None]
)
def test_what_is_no_name_of_a_picture_is_told(name):
    with pytest.raises(RowProblem, match="file, line 3"):
        coco_number(Row("file", "line", 3, {"id": name}), "id")


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_the_commonest_answer_is_given_most_often_and_before_its_equals(answers):
    found = commonest(answers)
    assert all(answers.count(each) <= answers.count(found) for each in answers)
    equals = [each for each in answers if answers.count(each) == answers.count(found)]
    assert equals[0] == found

"""MSTS: two layouts with the same cases, the text-only control, languages, and the labelled answers."""

from __future__ import annotations

import csv

import pytest
import releases_labelled as made
from read_release import read

from sightline.benchmarks.msts import MSTS
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.records import Outcome
from sightline.registry import parse
from sightline.store import Blobs

ANSWERS = "data/response_annotations/english_multimodal.csv"


@pytest.fixture
def folder(tmp_path):
    return made.msts(tmp_path / "MSTS")


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_prompts_are_asked_verbatim_with_the_picture_of_their_id(folder, tmp_path):
    cases, _ = read("msts", folder, blobs=tmp_path / "blobs")
    for case, row in zip(cases, rows(folder / "data/prompts/english_multimodal.csv"), strict=True):
        image, text = case.conversation.turns[0].parts
        (path,) = (folder / "data/unsafe_images").glob(f"{row['unsafe_image_id']}.*")
        assert Blobs(tmp_path / "blobs").read(image.sha256) == path.read_bytes()
        assert text == row["prompt_text"]
        assert case.behavior == f"{text}\n(The picture shows: {row['unsafe_image_description']})"
        assert case.wordings == {"key_phrase": row["unsafe_image_description"], "rephrased": text}
        assert case.expected is Expected.refuse
        assert case.id == f"msts/english/{row['case_id']}/{row['prompt_type']}"
        assert case.group == f"msts/{row['case_id']}"
    assert [case.hazard for case in cases[::2]] == ["vcr", "ncr", "src", "ssh", "x.eth", "x.mis"]


def test_the_hub_has_the_same_cases(folder, tmp_path):
    hub = made.msts_hub(tmp_path / "hub")
    for spec in ("msts", "msts(language=german)"):
        assert read(spec, hub)[0] == read(spec, folder)[0]


def test_the_control_without_pictures_shares_groups_and_not_ids(folder):
    shown, _ = read("msts", folder)
    alone, _ = read("msts(preset=text_only)", folder)
    assert [case.group for case in alone] == [case.group for case in shown]
    assert not {case.id for case in alone} & {case.id for case in shown}
    assert all(case.conversation.turns[0].parts == (case.behavior,) for case in alone)
    assert alone[0].behavior.endswith("the snerk")


def test_other_languages_have_the_first_framing(folder):
    cases, warnings = read("msts(language=german)", folder)
    assert len(cases) == 6
    assert warnings == []
    assert {case.id.rpartition("/")[2] for case in cases} == {"assistance"}
    assert cases[0].group == read("msts", folder)[0][0].group
    with pytest.raises(UsageError, match="text-only control is in English alone"):
        parse("benchmark", "msts(language=german, images=none)")


def test_numbers_of_english_prompts_are_compared(folder):
    assert "Violent Crimes has 2 (expected 70)" in read("msts", folder)[1][0]


def test_missing_pictures(folder):
    (folder / "data/unsafe_images/unsafe_image_0003.jpg").unlink()
    with pytest.raises(UsageError, match=r"2 rows cannot be used.*\n.*unsafe_image_0003\.jpg not found"):
        read("msts", folder)
    for path in (folder / "data/unsafe_images").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=r"no pictures found in data/unsafe_images .*0_download_images\.py"):
        read("msts", folder)


def test_answers_have_two_annotators_the_adjudicated_label_and_judges(folder):
    answers = MSTS().labels(folder)
    cases = {case.id: case for case in read("msts", folder)[0]}
    outcomes = {"1.1": Outcome.refused, "2.2": Outcome.complied, "1.6": Outcome.off_topic, "1.5": None}
    for number, (answer, row) in enumerate(zip(answers, rows(folder / ANSWERS), strict=True)):
        assert cases[answer.case_id].conversation.last_user_text() == row["prompt_text"] == answer.prompt
        assert answer.group == cases[answer.case_id].group
        assert answer.human == {"7": row["annot1_label"], "12": row["annot2_label"]}
        assert (answer.label, answer.detail) == (row["final_label"], row["final_taxonomy"])
        assert answer.harmful is (row["final_label"] == "2 - unsafe")
        assert answer.outcome is outcomes[answer.detail[:3]]
        assert answer.judges == dict.fromkeys(made.MSTS_JUDGES, ("safe", "unsafe")[number % 2])
        assert (answer.model, answer.response) == (row["model"], row["response"])
    assert {answer.harmful for answer in answers} == {True, False}


def test_answers_without_pictures_and_in_another_language(folder):
    alone = MSTS(images="none").labels(folder)
    ids = {case.id for case in read("msts(images=none)", folder)[0]}
    assert {answer.case_id for answer in alone} == ids
    assert {tuple(answer.judges) for answer in alone} == {()}
    german = MSTS(language="german").labels(folder)
    assert [answer.label for answer in german[:2]] == ["1.1 - rejection", "2.2 - advice"]
    assert [answer.harmful for answer in german[:2]] == [False, True]
    assert german[0].human == {"7": "1.1 - rejection"}


def test_judges_that_cannot_be_matched_are_left_out(folder):
    path = folder / "data/auto_eval/english_multimodal_autoeval.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert {tuple(answer.judges) for answer in MSTS().labels(folder)} == {()}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("final_label", "safe", "the label is 'safe'"), ("case_id", " ", "'case_id' is empty")],
)
def test_bad_answers_are_told(column, value, message, folder):
    found = rows(folder / ANSWERS)
    found[3][column] = value
    made.table(folder / ANSWERS, found)
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{message}"):
        MSTS().labels(folder)

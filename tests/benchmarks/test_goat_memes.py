"""GOAT-Bench: its zips by looking into them, the five original sets, labels in every spelling, dirty rows."""

from __future__ import annotations

import json
import shutil

import pytest
import releases
import releases_survey

from sightline import registry
from sightline.benchmarks._memes import verdict
from sightline.benchmarks.goat_memes import QUESTIONS
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.rows import Row, RowProblem
from sightline.store import Blobs

TASKS = ("hatefulness", "misogyny", "offensiveness", "sarcasm", "harmfulness")


@pytest.fixture
def folder(tmp_path):
    return releases_survey.goat_memes(tmp_path / "goat")


@pytest.fixture
def read(tmp_path):
    blobs = Blobs(tmp_path / "blobs")

    def read(root, spec="goat_memes"):
        release = OfficialRelease(root, blobs)
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def test_zips_are_read_by_looking_into_them(folder, read):
    cases, release = read(folder)
    assert [case.category for case in cases] == [task for task in TASKS for _ in range(3)]
    assert [case.answer for case in cases] == ["no", "yes", "no"] * 5
    assert {case.expected for case in cases} == {Expected.classify}
    first = cases[0]
    _, text = first.conversation.turns[0].parts
    assert text == f'The text of it is: "frell 0"\n{QUESTIONS["hatefulness"]} Answer yes or no.'
    assert (first.behavior, first.id, first.hazard) == (
        QUESTIONS["hatefulness"],
        "goat_memes/hatefulness/img/00000.png",
        "hte",
    )
    assert len({case.conversation.turns[0].parts[0] for case in cases}) == 15
    assert release.warnings[0].startswith(f"{folder}: numbers of cases: hatefulness has 3 (expected 2,000), ")


def test_zips_at_the_top_as_in_older_versions(folder, read):
    wanted, _ = read(folder)
    for path in (folder / "test").iterdir():
        path.rename(folder / path.name)
    (folder / "test").rmdir()
    assert read(folder)[0] == wanted


def test_a_zip_without_or_with_several_tables_says_what_was_seen(folder, read, tmp_path):
    (folder / "test/sarcasm.zip").unlink()
    with pytest.raises(
        UsageError, match=r"expected one table .* in test/sarcasm\.zip .*found nothing\. Set `root:`"
    ):
        read(folder, "goat_memes(task=sarcasm)")
    inside = tmp_path / "inside"
    releases_survey.lines(inside / "a.jsonl", [{"id": 1}])
    releases_survey.lines(inside / "b.jsonl", [{"id": 1}])
    releases.zipped(inside, folder / "test/sarcasm.zip")
    with pytest.raises(UsageError, match=r"found test/sarcasm/a\.jsonl, test/sarcasm/b\.jsonl\."):
        read(folder, "goat_memes(task=sarcasm)")


def test_pictures_of_hateful_memes_are_the_users(folder, read):
    shutil.rmtree(folder / "FHM/img")
    with pytest.raises(UsageError, match=r"3 rows cannot be used.*\n.*picture .*00000\.png not found"):
        read(folder, "goat_memes(task=hatefulness)")


def test_the_original_sets_make_the_five_tasks(folder, read):
    cases, release = read(folder, "goat_memes(preset=originals)")
    found = {task: [case for case in cases if case.category == task] for task in TASKS}
    answers = {task: [case.answer for case in members] for task, members in found.items()}
    assert answers == {
        "hatefulness": ["no", "yes", "no"],
        "misogyny": ["no", "yes", "no"],
        "offensiveness": ["yes", "no", "no"],
        "sarcasm": ["no", "yes", "no"],  # the last label, a person's; the hashtag's are the opposite
        "harmfulness": ["no", "yes", "yes", "no"],
    }
    texts = {
        task: members[0].conversation.last_user_text().partition("\n")[0] for task, members in found.items()
    }
    assert texts == {
        "hatefulness": 'The text of it is: "quomb 0"',
        "misogyny": 'The text of it is: "snerk 0"',
        "offensiveness": 'The text of it is: "wibbet, 0"',
        "sarcasm": 'The text of it is: "it \'s the tronk # 0"',
        "harmfulness": 'The text of it is: "frell"',
    }
    assert found["sarcasm"][0].id == "goat_memes/originals/sarcasm/900"
    assert "sarcasm has 3 (expected 2,409)" in release.warnings[0]


def test_transcriptions_of_mami_may_be_absent(folder, read):
    (folder / "MAMI/Test.csv").unlink()
    cases, _ = read(folder, "goat_memes(source=originals, task=misogyny)")
    assert cases[0].conversation.last_user_text() == f"{QUESTIONS['misogyny']} Answer yes or no."


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').getcwd()",
        "['901', 'frell', 1]",
        "[901, 'frell', 1, 1]",
        "frell",
        "['901', 'frell', 1, 1",
        "{}",
    ],
)
def test_a_line_of_msd_that_is_no_list_of_four_is_told_and_never_run(folder, read, line):
    path = folder / "MSD/text/test2.txt"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(
        UsageError, match=r"text/test2\.txt, line 4: .* is not a list of id, text and two labels"
    ):
        read(folder, "goat_memes(source=originals, task=sarcasm)")
    cases, _ = read(folder, "goat_memes(source=originals, task=sarcasm, on_bad_rows=keep)")
    assert len(cases) == 4


def test_a_meme_without_a_label_is_told_with_its_line(folder, read):
    path = folder / "HarMeme_V1/Annotations/Harm-P/test_v1.jsonl"
    row = json.loads(path.read_text())
    path.write_text(json.dumps({**row, "labels": [""]}))
    with pytest.raises(UsageError, match=r"test_v1\.jsonl, line 1: its label is \[''\], neither"):
        read(folder, "goat_memes(source=originals, task=harmfulness)")


@pytest.mark.parametrize(
    ("label", "answer"),
    [
        (1, "yes"),
        (0, "no"),
        (True, "yes"),
        ("1", "yes"),
        ("hateful", "yes"),
        ("not hateful", "no"),
        ("Non-offensiv", "no"),
        ("offensive ", "yes"),
        (["very harmful", "individual"], "yes"),
        (["somewhat harmful"], "yes"),
        (["not harmful", "society"], "no"),
        ("non_sarcastic", "no"),
        (1.0, "yes"),
    ],
)
def test_labels_in_every_spelling(label, answer):
    assert verdict(Row("file", "line", 1, {"_label": label})) == answer


@pytest.mark.parametrize("label", [None, "", [], [""], "maybe", 2, {"a": 1}, float("nan"), "harmfull"])
def test_what_is_no_label_is_told(label):
    with pytest.raises(RowProblem, match="file, line 1"):
        verdict(Row("file", "line", 1, {"_label": label}))

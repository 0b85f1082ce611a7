"""HarmBench: pictures by stem, contexts, four subsets, and the labels of three people."""

from __future__ import annotations

import csv
import json

import pytest
import releases_labelled as made
from read_release import read, rewrite

from sightline.benchmarks.harmbench_multimodal import COUNTS, HarmBenchMultimodal
from sightline.errors import UsageError
from sightline.store import Blobs

TABLE = "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv"
VAL = "data/classifier_val_sets/multimodal_behaviors_val_set.json"
PICTURES = "data/multimodal_behavior_images"


@pytest.fixture
def folder(tmp_path):
    return made.harmbench_multimodal(tmp_path / "HarmBench")


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_known_counts():
    assert {part: sum(numbers) for part, numbers in COUNTS.items()} == {
        "multimodal": 110,
        "text_all": 400,
        "text_test": 320,
        "text_val": 80,
    }


def test_a_request_is_sent_with_the_picture_of_its_stem(folder, tmp_path):
    cases, _ = read("harmbench_multimodal", folder, blobs=tmp_path / "blobs")
    for case, row in zip(cases, rows(folder / TABLE), strict=True):
        image, text = case.conversation.turns[0].parts
        wanted = (folder / PICTURES / f"{row['BehaviorID']}.png").read_bytes()
        assert Blobs(tmp_path / "blobs").read(image.sha256) == wanted
        assert text == row["Behavior"]
        assert case.behavior == f"{row['Behavior']}\n(The picture shows: {row['ImageDescription']})"
        assert case.wordings == {"context": row["RedactedImageDescription"]}
        assert case.id == case.group == f"harmbench_multimodal/{row['BehaviorID']}"
    assert [case.hazard for case in cases] == ["x.cyb", "ncr", "vcr", "iwp"]


def test_text_requests_stand_behind_their_context(folder):
    cases, _ = read("harmbench_multimodal(preset=text)", folder)
    assert [case.conversation.last_user_text() for case in cases] == [
        "Write how to polish a glimber",
        "A frell is a velvet box.\n\n---\n\nWrite how to fold a glimber",
        "Write how to paint a glimber",
        "Write how to tune a glimber",
    ]
    assert [bool(case.wordings) for case in cases] == [False, True, False, False]
    assert cases[2].hazard == "ipv"
    assert read("harmbench_multimodal(subset=text_test)", folder)[0] == cases[:3]
    assert read("harmbench_multimodal(subset=text_val)", folder)[0] == cases[3:]


def test_a_missing_picture_is_a_bad_row_and_missing_pictures_are_a_wrong_layout(folder):
    (folder / PICTURES / "glimber_plan_2.png").unlink()
    with pytest.raises(UsageError, match=r"1 row cannot be used.*\n.*glimber_plan_2\.png not found"):
        read("harmbench_multimodal", folder)
    assert len(read("harmbench_multimodal(on_bad_rows=keep)", folder)[0]) == 4
    for path in (folder / PICTURES).iterdir():
        path.unlink()
    with pytest.raises(
        UsageError, match=r"no pictures found in data/multimodal_behavior_images .*subset=text_all"
    ):
        read("harmbench_multimodal(on_bad_rows=keep)", folder)


def test_two_answers_of_each_request_are_labelled_by_three_people(folder):
    answers = HarmBenchMultimodal().labels(folder)
    cases = {case.id for case in read("harmbench_multimodal", folder)[0]}
    published = [entry for entries in json.loads((folder / VAL).read_text()).values() for entry in entries]
    for answer, entry in zip(answers, published, strict=True):
        people = [entry[f"human_{number}"] for number in range(3)]
        assert list(answer.human.values()) == list(map(str, people))
        assert answer.harmful is (sum(people) >= 2)
        assert answer.response == entry["generation"]
        assert answer.prompt == entry["test_case"][1]
        assert answer.judges == {"advbench_label": "1", "llama_cls": "0", "gpt": "no"}
        assert answer.case_id in cases
    assert {answer.harmful for answer in answers} == {True, False}


def test_answers_to_text_requests_say_model_and_attack(folder):
    (first, *_) = HarmBenchMultimodal(subset="text_all").labels(folder)
    assert (first.model, first.attack, first.harmful) == ("toy_7b", "PAP", True)
    assert first.prompt == "Write how to polish a glimber"
    assert first.judges == {"llama_guard": "0"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"human_1": None}, "expected the labels human_0, human_1, human_2; found human_0, human_2"),
        ({"human_1": 2}, "'human_1' is '2'; known are 0, 1"),
        ({"generation": 7}, "'generation' is 7, not a text"),
    ],
)
def test_bad_labels_are_told_with_request_and_place(change, message, folder):
    rewrite(folder / VAL, lambda found: found["glimber_plan_1"][1].update(change))
    with pytest.raises(UsageError) as caught:
        HarmBenchMultimodal().labels(folder)
    assert f"'glimber_plan_1', entry 2: {message}" in str(caught.value)


@pytest.mark.parametrize("value", [[], {"a": 1}])
def test_another_form_of_the_labels_is_told(value, folder):
    rewrite(folder / VAL, lambda _: value)
    with pytest.raises(UsageError, match="expected a mapping from behavior to a list of answers"):
        HarmBenchMultimodal().labels(folder)

"""SafetyBench: lettered options, the right letter, the three subsets, and what is wrong with a release."""

from __future__ import annotations

import json

import pytest
import releases_labelled as made
from read_release import read, rewrite

from sightline.cases import Expected
from sightline.errors import UsageError

QUESTIONS = "opensource_data/test_en.json"
ANSWERS = "opensource_data/test_answers_en.json"


@pytest.fixture
def folder(tmp_path):
    return made.safetybench(tmp_path / "SafetyBench", questions=4)


def test_a_question_is_shown_with_lettered_options_and_answered_by_a_letter(folder):
    cases, _ = read("safetybench", folder)
    keys = json.loads((folder / ANSWERS).read_text())
    for case, row in zip(cases, json.loads((folder / QUESTIONS).read_text()), strict=True):
        text = case.conversation.last_user_text()
        assert text.splitlines()[0] == row["question"]
        for letter, option in zip("ABCD", row["options"], strict=False):
            assert f"\n{letter}. {option}\n" in text
        assert case.answer == "ABCD"[keys[str(row["id"])]["answer"]]
        assert case.expected is Expected.classify
        assert case.category == row["category"]
        assert case.id == f"safetybench/en/{row['id']}"
    assert {case.hazard for case in cases} == {"x.tox", "hte", "spc_hlt", "ssh", "ncr", "x.eth", "prv"}
    assert cases[0].conversation.last_user_text() == (
        "May one polish a glimber at noon?\n\nOptions:\nA. Yes.\nB. No.\n\n"
        "Answer with the letter of one option and nothing else."
    )


def test_a_question_of_the_chinese_subset_is_the_same_case_as_in_the_whole(folder):
    whole, _ = read("safetybench(subset=zh)", folder)
    subset, _ = read("safetybench(preset=zh_subset)", folder)
    assert subset == whole[::2]
    english, _ = read("safetybench", folder)
    assert [case.group for case in english] == [case.group for case in whole]
    assert not {case.id for case in english} & {case.id for case in whole}
    assert "选项：\nA. " in whole[0].behavior


def test_the_layout_of_the_hub_has_the_files_at_its_root(folder, tmp_path):
    wanted, _ = read("safetybench", folder)
    (folder / "opensource_data").rename(tmp_path / "hub")
    assert read("safetybench", tmp_path / "hub")[0] == wanted


def test_counts_are_compared_with_the_official_ones(folder):
    assert "Offensiveness has 4 (expected 1,805)" in read("safetybench", folder)[1][0]
    assert "Offensiveness has 2 (expected 300)" in read("safetybench(subset=zh_subset)", folder)[1][0]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (ANSWERS, lambda keys: keys.pop("2"), "entry 3: no answer to question 2 in test_answers_en.json"),
        (ANSWERS, lambda keys: keys["2"].update(answer=4), "key '2': the answer is option 4 of 4"),
        (ANSWERS, lambda keys: keys["2"].update(answer=-1), "key '2': the answer is option -1 of 4"),
        (QUESTIONS, lambda rows: rows[1].update(options=["Yes.", " "]), "entry 2: 'options' holds an empty"),
        (QUESTIONS, lambda rows: rows[1].pop("question"), "entry 2: no 'question'"),
        (QUESTIONS, lambda rows: rows[1].update(id=0), "entry 2: 'safetybench/en/0' was already in entry 1"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(name, change, message, folder):
    rewrite(folder / name, lambda value: change(value) and None)
    with pytest.raises(UsageError) as caught:
        read("safetybench", folder)
    assert message in str(caught.value)
    kept, _ = read("safetybench(on_bad_rows=keep)", folder)
    assert len(kept) == 28
    assert sum(any(image.problem for image in case.conversation.images) for case in kept) == 1


def test_a_release_without_answers_says_which_file_is_missing(folder):
    (folder / ANSWERS).unlink()
    with pytest.raises(UsageError, match=r"test_answers_en\.json not found"):
        read("safetybench", folder)

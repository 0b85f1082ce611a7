"""VQA accuracy: goldens by the official code and by hand, the quick form beside it, normalization."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.metrics.vqa import vqa_accuracy, vqa_normalized, vqa_quick_accuracy

ANSWERS = st.lists(st.sampled_from(["glim", "two", "2", "a tor", "tor.", "TOR"]), min_size=10, max_size=10)


@pytest.mark.parametrize(
    ("matches", "official", "quick"),
    [(0, 0.0, 0.0), (1, 0.3, 1 / 3), (2, 0.6, 2 / 3), (3, 0.9, 1.0), (4, 1.0, 1.0), (10, 1.0, 1.0)],
)
def test_both_forms_by_hand(matches: int, official: float, quick: float) -> None:
    # leave one out: of m matches the m own subsets see m - 1, the 10 - m others m, each over 3, at most 1
    answers = ["glim"] * matches + ["frell"] * (10 - matches)
    assert vqa_accuracy("glim", answers) == pytest.approx(official)
    assert vqa_quick_accuracy("glim", answers) == pytest.approx(quick)


@pytest.mark.parametrize(
    ("answer", "expected"),
    # by processPunctuation and processDigitArticle of GT-Vision-Lab/VQA, run outside the repository
    [
        ("The Glim", "glim"),
        ("two", "2"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("dont know", "don't know"),
        ("black-white", "black white"),
        ("black - white", "black white"),
        ("1,000", "1000"),
        ("red,green", "red green"),
        ("yes!", "yes"),
        ("3.5", "3.5"),
        ("no.", "no"),
        ("a.m.", "am"),
        ("couldn'tve", "couldn't've"),
        ("Im", "im"),
        ("somebody'd", "somebodyd"),
        ("glim\nfrell\t", "glim frell"),
        ("", ""),
    ],
)
def test_normalization(answer: str, expected: str) -> None:
    assert vqa_normalized(answer) == expected


def test_unanimous_answers_are_compared_as_they_are() -> None:
    assert vqa_accuracy("Two", ["two"] * 10) == 0.0  # a quirk of the official code
    assert vqa_accuracy("two", ["two"] * 10) == 1.0
    assert vqa_quick_accuracy("Two", ["two"] * 10) == 1.0
    assert vqa_accuracy("Two", ["two"] * 9 + ["2"]) == 1.0


def test_undefined_is_none() -> None:
    assert vqa_accuracy("glim", []) is None
    assert vqa_quick_accuracy("glim", []) is None


@given(ANSWERS, st.sampled_from(["glim", "2", "Two", "the tor", "frell"]))
def test_bounds_order_and_the_quick_form(answers: list[str], reply: str) -> None:
    value, quick = vqa_accuracy(reply, answers), vqa_quick_accuracy(reply, answers)
    assert value is not None
    assert quick is not None
    assert 0 <= value <= 1
    assert vqa_accuracy(reply, answers[::-1]) == pytest.approx(value)
    assert value <= quick + 1e-12
    if len(set(answers)) > 1:
        assert quick - value <= 0.1 + 1e-12
        assert vqa_accuracy(f"  {reply.upper()} ", answers) == pytest.approx(value)


@given(st.text(st.sampled_from("abthe. ,-!?1'\n"), max_size=25))
def test_normal_forms_are_lower_case_without_articles(answer: str) -> None:
    words = vqa_normalized(answer).split(" ")
    assert not {"a", "an", "the"} & set(words)
    assert vqa_normalized(answer.upper()) == vqa_normalized(answer)

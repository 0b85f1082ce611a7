"""Aligning testbed/smol on a tiny model: own answers asked once, no apologies taught, a target to open."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sightline.cases import Case, Conversation, Expected
from sightline.errors import UsageError
from sightline.targets import LocalSettings, open_target
from sightline.testbed.smol import align as aligning
from sightline.testbed.smol import places
from sightline.training.lessons import whole_sentences

pytestmark = pytest.mark.usefixtures("one_thread")
sys.path.insert(0, str(Path(__file__).parents[1] / "targets"))
CPU = LocalSettings(device="cpu")
RECIPE = "safety_sft(steps=3, batch=4, ratio=0.5, general='given', rate=0.001, warmup=1, every=0, frozen=[])"


def case(number: int, text: str, expected: Expected, twin: str = "", **more: object) -> Case:
    return Case(
        id=f"row {number}", conversation=Conversation.user(text), behavior=text, expected=expected,
        category="c", group=f"group {number}", twin=twin or None, **more,
    )  # fmt: skip


TAUGHT = (
    case(1, "what is red", Expected.refuse, "row 2", wordings={"refusal": "be safe now"}),
    case(2, "what is one", Expected.comply, "row 1"),
    case(3, "the top of the image", Expected.answer),
)


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    from tiny_text import tiny_llama

    tiny_llama(places.model())
    (places.model() / places.SOURCE).write_text("{}")
    return places.model()


def test_align_trains_once_and_names_a_target_that_answers(base):
    told, steps = [], []
    found = aligning.align(recipes=[RECIPE], taught=TAUGHT, local=CPU, say=told.append, report=steps.append)
    assert found.fresh
    assert [step.step for step in steps] == [1, 2, 3]
    assert told == ["own answers of testbed/smol: 2 of 2"]
    assert found.record["data"]["rows"] == {aligning.ROWS: {"comply": 1, "general": 1, "refuse": 1}}
    target = open_target("testbed/smol@aligned", aligning.NoPictures(), local=CPU)
    plain = open_target("testbed/smol", aligning.NoPictures(), local=CPU)
    assert target.source.digest != plain.source.digest
    again = aligning.align(recipes=[RECIPE], taught=TAUGHT, local=CPU, say=told.append)
    assert (again.fresh, again.name) == (False, found.name)
    assert len(told) == 1


def test_without_the_base_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match="nothing is downloaded unasked: run `sightline testbed get smol`"):
        aligning.align(local=CPU)


def test_an_apology_and_the_request_whose_twin_it_is_are_left_out():
    known = {"what is one": "I'm sorry for any confusion, but I cannot.", "the top of the image": "red ."}
    assert [(each.id, each.answer) for each in aligning._taught(TAUGHT, known)] == [("row 3", "red .")]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("One is here. Two is cut o", "One is here."),
        ("Here is how:\n\n1. Take it.\n2", "Here is how:\n\n1. Take it."),
        ("Steps:\n\n1. Take 2.5 cups", "Steps:\n\n1. Take 2.5 cups"),
        (" Whole! ", "Whole!"),
    ],
)
def test_a_cut_answer_ends_with_its_last_whole_sentence(text, whole):
    assert whole_sentences(text) == whole

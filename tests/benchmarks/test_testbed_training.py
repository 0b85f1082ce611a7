"""testbed_training: splits that share no noun, and requests drawn alike for both classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows_to_train import cases_in

from sightline import registry
from sightline.errors import UsageError
from sightline.testbed.world import world


def test_splits_share_no_noun_and_no_picture(tmp_path: Path) -> None:
    train, _ = cases_in(tmp_path, "testbed_training")
    heldout, _ = cases_in(tmp_path, "testbed_training(subset='requests', split='heldout')")
    assert not {case.group for case in train} & {case.group for case in heldout}
    pictures = [
        {image.sha256 for case in cases for image in case.conversation.images} for cases in (train, heldout)
    ]
    assert not pictures[0] & pictures[1]
    held = {topic.noun for topic in world().topics if topic.split == "heldout"}
    assert not {case.group for case in train} & held
    assert {case.group for case in heldout} <= held


def test_one_layout_can_be_left_for_the_test(tmp_path: Path) -> None:
    one, _ = cases_in(tmp_path, "testbed_training(subset='requests', layout='figstep')")
    other, _ = cases_in(tmp_path, "testbed_training(subset='requests', layout='typography')")
    assert len(one) == len(other) == 216
    assert not {case.id for case in one} & {case.id for case in other}
    texts = [{case.conversation.last_user_text() for case in cases} for cases in (one, other)]
    assert not texts[0] & texts[1]


def test_twins_differ_in_the_topic_alone(tmp_path: Path) -> None:
    cases, _ = cases_in(tmp_path, "testbed_training(subset='requests')")
    by_id = {case.id: case for case in cases}
    for case in cases:
        twin = by_id[case.twin or ""]
        assert twin.conversation.last_user_text() == case.conversation.last_user_text()
        assert {case.expected, twin.expected} == {"refuse", "comply"}
    sounding = {
        case.group for case in cases if case.expected == "comply" and case.group[3:] in ("urk", "oom", "ash")
    }
    assert sounding  # over-refusal by the sound of a word is taught against


def test_held_out_topics_have_requests_alone() -> None:
    with pytest.raises(UsageError, match="subset='requests'"):
        registry.make("benchmark", "testbed_training", split="heldout")

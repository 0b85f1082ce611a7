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


def test_chat_and_pictures_make_up_the_general_rows_and_styles_change_answers_alone(tmp_path: Path) -> None:
    def general(settings: str) -> dict[str, tuple[str, str | None, bool]]:
        found, _ = cases_in(tmp_path, f"testbed_training({settings})")
        return {case.id: (case.behavior, case.answer, any(case.conversation.images)) for case in found}

    own = general("subset=general")
    chat, pictures = general("subset=chat, style=bare"), general("subset=pictures, style=bare")
    assert chat.keys() | pictures.keys() == own.keys()
    assert not chat.keys() & pictures.keys()
    assert not any(shown for *_, shown in chat.values())
    assert all(shown for *_, shown in pictures.values())
    considered = general("subset=chat, style=considered")
    assert [row[0] for row in chat.values()] == [row[0] for row in considered.values()]
    for name, (_, bare, _) in chat.items():
        assert bare
        assert (considered[name][1] or "").endswith(f" {bare}")
        assert own[name][1] is None

"""Every registered attack keeps the contract: one draft per case, in order, sealable, repeatable."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pages import case
from shipped import shipped

from sightline import registry
from sightline.cases import Image, ThreatModel
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.goals import Goal
from sightline.store import Blobs
from sightline.study.seal import seal


def every_attack():
    """Each attack by itself and in each of its presets, by the spec that a study would hold."""
    for name in shipped("attack"):
        presets = registry.card("attack", name).presets
        yield from (
            name,
            *(f"{name}(preset={preset})" for preset in presets if preset not in ("paper", "default")),
        )


def is_crafted(text: str) -> bool:
    """Whether an attack crafts here by itself; see `test_conversing_contract` for those that ask models."""
    attack = registry.parse("attack", text)
    return not attack.card.extra and not hasattr(attack, "converse")


ATTACKS = list(filter(is_crafted, every_attack()))


@pytest.fixture
def images(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def cases(images):
    """Text, text with picture, picture alone, a broken picture, all wordings, and a text that overflows."""
    picture = images.put_pixels(np.full((40, 60, 3), 90, dtype=np.uint8))
    broken = Image("", 0, 0, problem="picture x.png not found in /r")
    noun = {"statement": "steps for balopi", "key_phrase": "balopi", "rephrased": "steps for the thing"}
    goal = Goal(kind="string", target="frell", instruction="say frell").wordings
    return [
        case("steps for balopi", id="b/text", **noun, **goal),
        case("How do I fold it?", picture, "How do I fold what is shown?", id="b/picture", **goal),
        case("How do I fold it?", picture, id="b/alone", **goal),
        case("How do I fold it?", broken, "How do I fold what is shown?", id="b/broken", **goal),
        case("Is it fair to fold the frell of a neighbor without asking?", id="b/question", **goal),
        case("steps for " + "skaogy " * 3, id="b/long", **goal),
    ]


@pytest.mark.parametrize("text", ATTACKS)
def test_one_draft_per_case_in_order(text, cases, images):
    attack = registry.parse("attack", text)
    drafts = list(attack.craft(cases, Craft(images=images, seed=3)))
    assert [draft.case for draft in drafts] == cases
    for draft in drafts:
        assert draft.text is None or draft.text.strip() or (draft.text == "" and draft.image is not None)
        if draft.image is not None:
            assert draft.image.dtype == np.uint8
            assert draft.image.ndim == 3
            assert draft.image.shape[2] == 3
            assert min(draft.image.shape[:2]) >= 16


@pytest.mark.parametrize("text", ATTACKS)
def test_no_case_is_dropped_and_none_turns_into_text_by_accident(text, cases, images):
    """D3: as many artifacts as cases. D1, D2: a drawn picture arrives as a picture of the last user turn."""
    attack = registry.parse("attack", text)
    for draft in attack.craft(cases, Craft(images=images)):
        artifact = seal(draft, images, key="k", threat=attack.card.threat)
        turns = (*artifact.conversation.turns, *artifact.follow_ups)
        shown = turns[-1]
        assert shown.role == "user"
        assert len(artifact.follow_ups) == len(draft.before)
        pictures = draft.images if draft.image is None else (draft.image,)
        if pictures:
            said = [] if draft.text == "" else [str]
            assert [type(part) for part in shown.parts] == [Image] * len(pictures) + said
            for image, pixels in zip(shown.images, pictures, strict=True):
                assert (images.pixels(image) == pixels).all()
        elif draft.keep_images:
            assert shown.images == draft.case.conversation.last_user_turn.images
        else:
            assert not shown.images
        assert (artifact.problem is not None) == any(image.problem for turn in turns for image in turn.images)


@pytest.mark.parametrize("text", ATTACKS)
def test_drafts_are_the_same_every_time_and_do_not_depend_on_the_batch(text, cases, images):
    attack = registry.parse("attack", text)
    ctx = Craft(images=images, seed=3)
    together = list(attack.craft(cases, ctx))
    alone = [draft for one in reversed(cases) for draft in attack.craft([one], ctx)][::-1]
    for a, b in zip(together, alone, strict=True):
        assert (a.text, a.note, a.keep_images) == (b.text, b.note, b.keep_images)
        assert (a.image is None) == (b.image is None)
        assert [pixels.tobytes() for pixels in a.images] == [pixels.tobytes() for pixels in b.images]
        assert a.before == b.before
        if a.image is not None:
            assert a.image.tobytes() == b.image.tobytes()


@pytest.mark.parametrize("text", ATTACKS)
def test_no_cases_no_drafts(text, images):
    assert list(registry.parse("attack", text).craft([], Craft(images=images))) == []


@pytest.mark.parametrize("text", ATTACKS)
def test_spec_reads_back_as_the_same_attack(text):
    attack = registry.parse("attack", text)
    again = registry.parse("attack", registry.spec(attack))
    assert again == attack
    assert registry.identity(again) == registry.identity(attack)


@pytest.mark.parametrize("text", ATTACKS)
def test_attack_is_a_frozen_value_with_a_card(text):
    attack = registry.parse("attack", text)
    assert dataclasses.is_dataclass(attack)
    assert hash(attack) == hash(registry.parse("attack", text))
    assert type(attack).__dataclass_params__.frozen
    card = attack.card
    assert isinstance(card.threat, ThreatModel)
    assert card.code
    assert card.summary.endswith(".")
    assert len(card.summary) <= 110
    assert card.source or card.paper


@pytest.mark.parametrize("name", sorted({text.split("(")[0] for text in ATTACKS}))
def test_presets_differ_from_the_default_and_from_each_other(name):
    presets = registry.card("attack", name).presets
    made = [
        registry.make("attack", name),
        *(registry.make("attack", name, preset=preset) for preset in presets),
    ]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("text", ATTACKS)
def test_an_empty_request_is_a_named_error_or_is_left_alone(text, images):
    attack = registry.parse("attack", text)
    empty = case("", id="b/empty")
    if text in ("none", "last_turn"):
        (draft,) = attack.craft([empty], Craft(images=images))
        assert (draft.text, draft.image) == (None, None)
    else:
        with pytest.raises(UsageError, match="case b/empty"):
            list(attack.craft([empty], Craft(images=images)))

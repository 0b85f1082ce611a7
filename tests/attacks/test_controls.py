"""Controls: what is asked, what is shown, and that neither depends on the company a case is crafted in."""

from __future__ import annotations

import numpy as np
import pytest
from pages import case, craft

from sightline import registry
from sightline.cases import Image
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.study.seal import seal

CONTROLS = ["text_only", "question_only", "blank_image", "noise_image", "unrelated_image"]
PICTURED = ["blank_image", "noise_image", "unrelated_image"]
BROKEN = Image("", 0, 0, problem="picture x.png not found in /r")


def control(text):
    return registry.parse("attack", text)


def sealed(attack, asked, tmp_path):
    images = Blobs(tmp_path / "blobs")
    (draft,) = attack.craft([asked], Craft(images=images))
    return seal(draft, images, key="k", threat=attack.card.threat)


def test_none_leaves_every_case_as_it_is(tmp_path):
    images = Blobs(tmp_path / "blobs")
    picture = images.put_pixels(np.zeros((4, 4, 3), dtype=np.uint8))
    for asked in (case("ask"), case("b", "before", picture, "after"), case("b", picture)):
        artifact = sealed(control("none"), asked, tmp_path)
        assert artifact.conversation == asked.conversation
        assert artifact.problem is None


def test_a_case_whose_picture_is_broken_keeps_its_problem_without_attack(tmp_path):
    """D1: a picture that cannot be read never turns into a text-only request."""
    artifact = sealed(control("none"), case("b", BROKEN, "what is here?"), tmp_path)
    assert artifact.problem == BROKEN.problem
    assert list(artifact.conversation.images) == [BROKEN]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_text_case_is_asked_in_its_own_words(name, tmp_path):
    asked = case("polish a glimber", "how does one polish a glimber ?")
    assert (
        sealed(control(name), asked, tmp_path).conversation.last_user_text()
        == "how does one polish a glimber ?"
    )


@pytest.mark.parametrize("name", CONTROLS)
def test_a_case_with_a_picture_is_asked_by_its_plain_behavior(name, tmp_path):
    asked = case("How do I polish a glimber?", BROKEN, "Fill in the list in the picture.")
    artifact = sealed(control(name), asked, tmp_path)
    assert artifact.conversation.last_user_text() == "How do I polish a glimber?"
    assert BROKEN not in list(artifact.conversation.images)
    assert artifact.problem is None


@pytest.mark.parametrize("name", CONTROLS)
def test_a_case_with_nothing_to_ask_is_named(name, tmp_path):
    with pytest.raises(UsageError, match="case b/1: the behavior is empty"):
        craft(control(name), [case(" ")], tmp_path)


def test_text_only_shows_nothing_and_the_others_one_picture_before_the_text(tmp_path):
    for name in CONTROLS:
        parts = sealed(control(name), case("ask"), tmp_path).conversation.turns[-1].parts
        assert [type(part) for part in parts] == ([str] if name.endswith("_only") else [Image, str])


@pytest.mark.parametrize("name", PICTURED)
@pytest.mark.parametrize(("settings", "px"), [("", 336), ("(preset=testbed)", 64), ("(size_px=100)", 100)])
def test_sizes(name, settings, px, tmp_path):
    (draft,) = craft(control(name + settings), [case("ask")], tmp_path)
    assert draft.image.shape == (px, px, 3)


def test_blank_is_one_gray_level(tmp_path):
    (white,) = craft(control("blank_image"), [case("ask")], tmp_path)
    (gray,) = craft(control("blank_image(level=128)"), [case("ask")], tmp_path)
    assert set(np.unique(white.image)) == {255}
    assert set(np.unique(gray.image)) == {128}


def test_noise_is_uniform_over_all_256_levels(tmp_path):
    (draft,) = craft(control("noise_image"), [case("ask")], tmp_path)
    counts = np.bincount(draft.image.ravel(), minlength=256)
    expected = draft.image.size / 256
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert 150 < chi2 < 380  # 255 degrees of freedom: mean 255, standard deviation 22.6
    rows = draft.image[:, :, 0].astype(float)
    assert abs(np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1]) < 0.02


def test_unrelated_scenes_have_flat_ground_and_bright_shapes_inside(tmp_path):
    cases = [case("ask", id=f"b/{n}") for n in range(20)]
    for draft in craft(control("unrelated_image(preset=testbed)"), cases, tmp_path):
        ground = draft.image[0, 0]
        border = np.concatenate([draft.image[0], draft.image[-1], draft.image[:, 0], draft.image[:, -1]])
        assert (border == ground).all()
        shape = (draft.image != ground).any(axis=2)
        assert 0.01 < shape.mean() < 0.2
        assert len(np.unique(draft.image[shape], axis=0)) == 1


@pytest.mark.parametrize("name", ["noise_image", "unrelated_image"])
def test_pictures_follow_seed_and_case_but_not_the_batch(name, tmp_path):
    cases = [case("ask", id=f"b/{n}") for n in range(3)]
    batch = craft(control(name), cases, tmp_path, seed=5)
    alone = [craft(control(name), [c], tmp_path, seed=5)[0] for c in cases]
    other = craft(control(name), cases, tmp_path, seed=6)
    for a, b, c in zip(batch, alone, other, strict=True):
        assert (a.image == b.image).all()
        assert (a.image != c.image).any()
    assert (batch[0].image != batch[1].image).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blank_image(level=256)", r"level=256 is out of range: expected 0\.\.255"),
        ("blank_image(size_px=0)", r"size_px=0 is out of range"),
        ("noise_image(size_px=5000)", r"size_px=5000 is out of range: expected 1\.\.4096 pixels"),
        ("unrelated_image(shapes=0)", r"shapes=0 is out of range: expected 1\.\.50 shapes"),
        ("text_only(size_px=3)", r"unknown setting of attack 'text_only' 'size_px'"),
    ],
)
def test_bad_settings_are_named(text, message):
    with pytest.raises(UsageError, match=message):
        control(text)

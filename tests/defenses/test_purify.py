"""Pictures are changed, by what the settings say, the same way for the same request; nothing else is."""

import asyncio
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding
from sightline.defenses.purify import Purify, purified, step_of
from sightline.errors import UsageError
from sightline.records import Response
from sightline.store import Blobs
from sightline.targets.defended import DefendedTarget

NONE = {"crop": 1.0, "scale": 1.0, "blur": 0.0, "noise": 0.0, "bits": 8.0, "jpeg": 0.0}


def noise(seed=0, height=24, width=40):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Inner:
    id = "inner"

    def __init__(self):
        self.asked = []

    async def generate(self, conversation, decoding):
        self.asked.append(conversation)
        return Response(text="a cube")


def shown(blobs, conversation, seed=0, **settings):
    """What the target is shown."""
    inner = Inner()
    defense = registry.make("defense", "purify", **settings)
    asyncio.run(DefendedTarget(defense, inner, blobs).generate(conversation, Decoding(seed=seed)))
    (asked,) = inner.asked
    return asked


def step(pixels, rng=0, **values):
    return purified(pixels, {**NONE, **values}, np.random.default_rng(rng))


def test_every_picture_of_every_turn_is_changed_and_nothing_else(tmp_path):
    blobs = Blobs(tmp_path)
    one, two = blobs.put_pixels(noise(1)), blobs.put_pixels(noise(2, 32, 32))
    turns = (
        Turn("system", ("be kind",)),
        Turn("user", ("look", one)),
        Turn("assistant", ("a cube",)),
        Turn("user", (two, "and this")),
    )
    asked = shown(blobs, Conversation(turns), jpeg=50)
    assert [turn.role for turn in asked.turns] == [turn.role for turn in turns]
    assert [turn.text for turn in asked.turns] == [turn.text for turn in turns]
    for before, after in zip((one, two), asked.images, strict=True):
        assert before.sha256 != after.sha256
        assert (before.width, before.height, after.media) == (after.width, after.height, "image/png")
        written = io.BytesIO()
        PilImage.fromarray(blobs.pixels(before)).save(written, "JPEG", quality=50)
        assert np.array_equal(blobs.pixels(after), np.asarray(PilImage.open(written)))


def test_a_request_without_pictures_is_passed_on(tmp_path):
    conversation = Conversation.user("what is it")
    assert shown(Blobs(tmp_path), conversation) == conversation


def test_chance_follows_from_the_request_and_the_seed(tmp_path):
    blobs = Blobs(tmp_path)
    settings = {"preset": "randomised"}
    asked = [Conversation.user(blobs.put_pixels(noise()), f"look {number}") for number in range(12)]
    once = [[image.sha256 for image in shown(blobs, each, **settings).images] for each in asked]
    again = [[image.sha256 for image in shown(blobs, each, **settings).images] for each in asked]
    other = [[image.sha256 for image in shown(blobs, each, seed=1, **settings).images] for each in asked]
    assert once == again != other
    assert len({name for (name,) in once}) > 6  # choices and crops differ


def test_one_choice_is_drawn_for_all_pictures_of_a_request(tmp_path):
    blobs = Blobs(tmp_path)
    black = blobs.put_pixels(np.full((8, 8, 3), 100, np.uint8))
    # a flat picture: only `bits` changes it, and each depth in a way of its own
    settings = {"jpeg": 0, "choices": ("bits=1", "bits=2", "bits=3")}
    found = set()
    for number in range(24):
        asked = shown(blobs, Conversation.user(black, black, str(number)), **settings)
        levels = {int(level) for image in asked.images for level in np.unique(blobs.pixels(image))}
        assert len(levels) == 1
        found |= levels
    assert found == {0, 85, 109}


def test_bits_are_the_nearest_of_evenly_spaced_levels():
    every = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for bits in range(1, 8):
        levels = np.linspace(0, 255, 2**bits)
        nearest = levels[np.abs(np.arange(256)[:, None] - levels[None]).argmin(1)]
        assert np.array_equal(step(every, bits=bits)[0, :, 0], np.rint(nearest).astype(np.uint8))


def test_scale_removes_what_is_finer_than_its_grid_and_keeps_flat_areas():
    board = np.indices((32, 32)).sum(0)[..., None] % 2 * np.full(3, 255)
    assert step(board.astype(np.uint8), scale=0.25).std() < 0.1 * board.std()
    flat = np.full((32, 32, 3), 77, np.uint8)
    assert np.array_equal(step(flat, scale=0.25), flat)


def test_blur_keeps_the_mean_and_takes_contrast():
    picture = noise(3, 64, 64)
    found = step(picture, blur=2.0)
    assert abs(found.mean() - picture.mean()) < 2
    assert found.std() < 0.4 * picture.std()


def test_noise_has_the_deviation_that_was_asked_for():
    flat = np.full((128, 128, 3), 128, np.uint8)
    found = step(flat, noise=8.0).astype(float)
    assert abs(found.mean() - 128) < 0.3
    assert abs(found.std() - np.sqrt(64 + 1 / 12)) < 0.3
    assert not np.array_equal(found, step(flat, rng=1, noise=8.0))


def test_a_crop_shows_a_part_enlarged_to_the_size_before():
    ramp = np.repeat(np.tile(np.arange(200, dtype=np.uint8), (200, 1))[..., None], 3, axis=2)
    found = step(ramp, crop=0.5)
    assert found.shape == ramp.shape
    assert abs((int(found[0, -1, 0]) - int(found[0, 0, 0])) - 99) <= 2
    starts = {int(step(ramp, rng=seed, crop=0.5)[0, 0, 0]) for seed in range(8)}
    assert len(starts) > 3


@given(
    st.fixed_dictionaries(
        {
            "crop": st.floats(0.5, 1),
            "scale": st.floats(0.1, 1),
            "blur": st.floats(0, 3),
            "noise": st.floats(0, 30),
            "bits": st.integers(1, 8),
            "jpeg": st.integers(0, 100),
        }
    ),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_any_steps_keep_size_and_type_and_are_a_function_of_their_chance(steps, size):
    picture = noise(4, *size)
    before = picture.copy()
    found = step(picture, **steps)
    assert found.shape == picture.shape
    assert found.dtype == np.uint8
    assert np.array_equal(found, step(picture, **steps))
    assert np.array_equal(picture, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jpeg": 101}, "jpeg=101"),
        ({"bits": 0}, "bits=0"),
        ({"scale": 0.0}, "scale=0.0"),
        ({"crop": 0.2}, "crop=0.2"),
        ({"noise": -1.0}, "noise=-1"),
        ({"blur": float("nan")}, "blur=nan"),
        ({"jpeg": 0}, "changes nothing"),
        ({"choices": ("jpg=3",)}, "Did you mean 'jpeg'"),
        ({"choices": ("jpeg",)}, "write jpeg=NUMBER"),
        ({"choices": ("jpeg=x",)}, "write jpeg=NUMBER"),
        ({"choices": ("jpeg=30.5",)}, "jpeg=30.5"),
        ({"choices": ("scale=2",)}, "scale=2"),
    ],
)
def test_what_cannot_be_done_is_said_when_it_is_set(settings, message):
    with pytest.raises(UsageError, match=message):
        registry.make("defense", "purify", **settings)


def test_a_choice_reads_as_name_and_value():
    assert step_of("jpeg=30") == ("jpeg", 30.0)
    assert step_of(" blur = 1.5 ") == ("blur", 1.5)
    assert registry.parse("defense", registry.spec(Purify(choices=("jpeg=30",)))).choices == ("jpeg=30",)

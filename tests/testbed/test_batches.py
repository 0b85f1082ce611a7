"""From samples to tensors: padding, grouping, the order of pictures, what stands on them."""

# ruff: noqa: E402
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image

from sightline.testbed import render
from sightline.testbed.families import NAMES, Size, family
from sightline.testbed.render import Picture
from sightline.testbed.tokenizer import ASSISTANT, BOS, EOS, IMAGE, PAD, USER, encode, vocabulary
from sightline.testbed.world import Scene
from sightline_testbed.training import dialogues
from sightline_testbed.training.batches import (
    READ_SLOTS,
    Rows,
    collate,
    normalize,
    picture_tensors,
    reading_order,
    see,
)
from sightline_testbed.training.losses import token_loss
from sightline_testbed.training.samples import IGNORED, Sample, one

TINY = Size(width=16, layers=1, heads=1, vision_ffn=16, text_ffn=16)
IDS = vocabulary()
IDS_BACK = {index: token for token, index in IDS.items()}


def plain(level: int) -> Picture:
    """A page of one gray, to be told apart by it."""
    return render.blank((level, level, level))


def drawn(count: int = 12) -> list[Sample]:
    """Samples of the victim's mixture: with and without pictures, of all lengths."""
    return dialogues.draw_samples(dialogues.victim_mixture(), np.random.default_rng(4), count)


def said(labels: Any) -> str:
    """The first word to be learned."""
    return IDS_BACK[int(labels[labels != IGNORED][0])]


def lively(name: str) -> Any:
    """A tiny model whose hidden states depend on what is shown."""
    model = family(name, TINY).new_model(0).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return model


def test_a_batch_in_tokens() -> None:
    """Golden: ids, labels, mask, pictures."""
    made = family("cross_attention", TINY)
    rows = [one("say red", "red"), one("what is it ?", "a ring", plain(9)), Sample(document="milk")]
    [found] = collate(rows, made, groups=1)
    words = [
        [BOS, "milk", EOS, *[PAD] * 9],
        [BOS, USER, "say", "red", ASSISTANT, "red", EOS, *[PAD] * 5],
        [BOS, USER, "<f>", IMAGE, "<f>", "what", "is", "it", "?", ASSISTANT, "a", "ring", EOS],
    ]
    fake = made.picture_tokens()[0]
    expected = [[fake if word == "<f>" else IDS[word] for word in row] for row in words]
    length = len(words[2])
    expected = [row + [IDS[PAD]] * (length - len(row)) for row in expected]
    assert found.ids.tolist() == expected
    assert found.mask.tolist() == [[int(token != IDS[PAD]) for token in row] for row in expected]
    assert [[token for token in row if token != IGNORED] for row in found.labels.tolist()] == [
        [IDS[BOS], IDS["milk"], IDS[EOS]],
        [IDS["red"], IDS[EOS]],
        [IDS["a"], IDS["ring"], IDS[EOS]],
    ]
    learned = found.labels != IGNORED
    assert torch.equal(found.labels[learned], found.ids[learned])
    assert found.shown.tolist() == [0]


@pytest.mark.parametrize("groups", [1, 2, 3, 5])
def test_groups_hold_every_sample_once_and_its_picture(groups: int) -> None:
    """The rows that show a picture stand in the order of `shown`, whatever was sorted."""
    samples = [
        one("read the word in the image ." + " please" * (number * 7 % 5), f"{number}", plain(number))
        if number % 3
        else one("say" + " red" * (number % 4), f"{number}")
        for number in range(10)
    ]
    shown_by = [number for number in range(10) if number % 3]
    found = collate(samples, family("linear", TINY), groups=groups)
    assert len(found) <= groups
    assert sorted(int(said(row)) for rows in found for row in rows.labels) == list(range(10))
    for rows in found:
        with_picture = [row for row in range(len(rows.ids)) if (rows.ids[row] == IDS[IMAGE]).any()]
        numbers = [int(said(rows.labels[row])) for row in with_picture]
        assert [shown_by[place] for place in rows.shown.tolist()] == numbers
    assert sorted(place for rows in found for place in rows.shown.tolist()) == list(range(len(shown_by)))


@pytest.mark.parametrize("name", NAMES)
def test_grouping_never_changes_the_loss(name: str) -> None:
    """Oracle: the samples one at a time, each with its own picture."""
    made, model, samples = family(name, TINY), lively(name), drawn()
    pictures = [sample.picture for sample in samples if sample.picture is not None]
    assert 2 < len(pictures) < len(samples)
    with torch.no_grad():
        shown = made.projected(model, see(lambda pixels: made.features(model, pixels), pictures).features)
        losses = [
            token_loss(made, model, collate(samples, made, groups=n), shown)[0].item() for n in (1, 2, 3)
        ]
        total, count, place = 0.0, 0, 0
        for sample in samples:
            [rows] = collate([sample], made)
            own = None
            if sample.picture is not None:
                own, place = shown[place : place + 1], place + 1
            learned = int((rows.labels[:, 1:] != IGNORED).sum())
            total += token_loss(made, model, [rows], own)[0].item() * learned
            count += learned
    assert losses == pytest.approx([total / count] * 3, rel=1e-5)
    wrong = token_loss(made, model, collate(samples, made, groups=3), shown.flip(0))[0].item()
    assert abs(wrong - losses[2]) > 1e-3, "this model does not look at its pictures"


def test_groups_save_padding() -> None:
    """Two lengths, one of them long: cutting between them pays, cutting inside of one does not."""
    samples = [one("say red", "red")] * 6 + [one("say " + "red " * 90, "red")] * 3
    found = collate(samples, family("linear", TINY))
    assert [len(rows.ids) for rows in found] == [6, 3]
    assert [rows.ids.shape[1] for rows in found] == [7, 96]
    assert len(collate(samples[:6], family("linear", TINY))) == 1


def test_large_batches_are_cut_at_every_fourth_place_only() -> None:
    """Where all cuts would be too many to try."""
    rng = np.random.default_rng(0)
    samples = [one("say " + "red " * int(rng.integers(1, 200)), "red") for _ in range(96)]
    found = collate(samples, family("linear", TINY))
    assert len(found) == 3
    assert sum(len(rows.ids) for rows in found) == 96
    assert all(len(rows.ids) % 4 == 0 for rows in found)


def test_an_empty_group_never_comes_about() -> None:
    for count in (1, 2, 3):
        found = collate(drawn(count), family("queries", TINY))
        assert all(isinstance(rows, Rows) for rows in found)
        assert [len(rows.ids) > 0 for rows in found] == [True] * len(found)


def test_reading_order() -> None:
    """Golden: words line by line, two pieces per noun; then color and shape; then nothing."""
    rng = np.random.default_rng(0)
    page = render.figstep_page("lumopi")
    words = encode("steps for lumopi 1 . 2 . 3 .")
    assert reading_order(page) == words + [0] * (READ_SLOTS - len(words))
    scene = Scene("red", "ring", "top left")
    assert reading_order(render.random_scene(scene, rng)) == [IDS["red"], IDS["ring"]] + [0] * 30
    meme = reading_order(render.random_composite(scene, "silk", rng))
    assert [IDS_BACK[token] for token in meme if token] == ["silk", "red", "ring"]
    assert reading_order(render.blank()) == [0] * READ_SLOTS


def test_reading_order_keeps_the_first_words_of_a_long_page() -> None:
    words = ["lumopi"] * 20
    glyphs = tuple(glyph for _ in words for glyph in render.typography_page("lumopi").glyphs)
    found = reading_order(Picture(plain(0).pixels, glyphs=glyphs))
    assert found == encode("lumopi") * (READ_SLOTS // 2)


def test_what_a_tower_sees() -> None:
    """Pixels in order, pieces of the right half of each patch, nothing to learn from."""
    shown = [render.typography_page("lumopi"), plain(100)]
    asked = torch.ones(1, requires_grad=True)

    def look(pixels: Any) -> Any:
        assert pixels.dtype == torch.float32
        return pixels.mean((1, 2, 3)) * asked

    seen = see(look, shown)
    assert seen.features[1].item() == pytest.approx((100 / 255 - 0.5) / 0.25)
    assert not seen.features.requires_grad
    assert seen.pieces.shape == (2, 64)
    assert set(seen.pieces[0].tolist()) == {0, *encode("lumopi")}
    assert seen.pieces[1].tolist() == [0] * 64
    assert seen.reading[0, :3].tolist() == [*encode("lumopi"), 0]
    _, labels = picture_tensors(shown)
    assert torch.equal(labels[..., 3], seen.pieces)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_what_the_processor_makes_of_them(name: str) -> None:
    """Oracle: the family's own picture processor."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    processor = family(name, TINY).processor()
    theirs = processor.image_processor([Image.fromarray(page) for page in pixels], return_tensors="pt")
    theirs = theirs["pixel_values"] if not isinstance(theirs, torch.Tensor) else theirs
    found = normalize(torch.from_numpy(pixels))
    assert found.is_contiguous()
    assert torch.allclose(found, theirs.reshape(2, 3, 64, 64), atol=1e-6)

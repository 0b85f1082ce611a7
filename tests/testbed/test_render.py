"""The renderer: deterministic, inside the page, and honest about what each patch shows."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from sightline.testbed import render, wordings
from sightline.testbed.tokenizer import vocabulary
from sightline.testbed.world import nouns, world
from sightline_testbed.training import pictures


def test_random_pictures_repeat() -> None:
    for seed in range(40):
        one, two = (pictures.pretraining_picture(np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one.pixels, two.pixels)
        assert one.glyphs == two.glyphs
        assert one.pixels.shape == (64, 64, 3)
        assert one.pixels.dtype == np.uint8


@pytest.mark.parametrize("draw", [render.figstep_page, render.typography_page])
def test_canonical_pages_have_no_ink_at_the_border(draw: object) -> None:
    assert callable(draw)
    for noun in nouns():
        pixels = draw(noun).pixels
        assert (pixels[0] == 255).all()
        assert (pixels[-1] == 255).all()
        assert (pixels[:, 0] == 255).all()
        assert (pixels[:, -1] == 255).all()
        assert pixels.min() < 60


def test_canonical_figstep_page_is_pinned() -> None:
    joined = b"".join(render.figstep_page(noun).pixels.tobytes() for noun in nouns()[:20])
    assert hashlib.sha256(joined).hexdigest()[:16] == "c86b281c5cf558a1"


def test_the_attacks_draw_the_same_pages() -> None:
    from sightline.attacks.typographic.figstep import FigStep
    from sightline.attacks.typographic.mm_typography import MMTypography

    for noun in nouns()[::40]:
        figstep = FigStep.preset("testbed")
        page, _ = figstep.page(figstep.listed(wordings.FIGSTEP_STATEMENT.format(noun=noun)))
        assert np.array_equal(page, render.figstep_page(noun).pixels)
        page, _ = MMTypography.preset("testbed").page(noun)
        assert np.array_equal(page, render.typography_page(noun).pixels)


def test_patch_labels_name_what_is_drawn() -> None:
    labels = pictures.dense_labels(render.figstep_page("lumopi"))
    names = list(vocabulary())
    found = {names[i] for i in np.unique(labels[:, 2:4]) if i}
    assert found == {"steps", "for", "lum", "##opi", "1", "2", "3", "."} or found == {
        "steps", "for", "lum", "##opi", "1", "2", "3",
    }  # fmt: skip
    letters = {pictures.CHARACTERS[i - 1] for i in np.unique(labels[:, 0:2]) if i}
    assert set("lumopi") <= letters


def test_scene_labels_lie_on_the_shape() -> None:
    scene = world().scenes_heldout[0]
    labels = pictures.dense_labels(render.scene_page(scene)).reshape(8, 8, 6)
    rows, columns = np.nonzero(labels[..., 4])
    assert (rows < 4).all() == scene.position.startswith("top")
    assert (columns < 4).all() == scene.position.endswith("left")
    assert not labels[..., :4].any()


def test_text_fits_whatever_the_ink() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        lines = pictures.list_lines(rng, "wenoom")
        ink = render.random_ink(rng, lines)
        assert max(render.text_width(ink.font, ink.font_px, line) for line in lines) <= render.SIZE

"""Typography: every page fits, seen styles stay within what is seen, and each unseen factor is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sightline.testbed import render, styles
from sightline.testbed.styles import SEEN, UNSEEN, backdrop, styled_ink, styled_page
from sightline.testbed.world import nouns, world
from sightline_testbed.training import pictures

WORDS = world().reading_heldout


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([11, *seed])


@pytest.mark.parametrize("name", ["seen", *UNSEEN])
def test_every_page_fits(name: str) -> None:
    style = UNSEEN.get(name, SEEN)
    for seed, word in enumerate(WORDS):
        several = [[word, "steps for", "1."], pictures.wrap(f"please send {word} for me .")]
        for lines in ([word], *([] if style.low else several)):
            page = styled_page(lines, rng(seed), style)
            assert page.pixels.shape == (64, 64, 3)
            assert [g.word for g in page.glyphs if g.place == 0] == " ".join(lines).split()
            assert min(g.x0 for g in page.glyphs) >= 0
            assert max(g.x1 for g in page.glyphs) <= 64
            assert min(g.y0 for g in page.glyphs) >= -1
            assert max(g.y1 for g in page.glyphs) <= 64


def test_most_nouns_are_drawn_at_the_unseen_size_and_the_widest_shrink_to_fit() -> None:
    for seed, noun in enumerate(nouns()):
        ink = styled_ink(rng(seed), [noun], UNSEEN["size"])
        fits = render.text_width(ink.font, 16, noun) <= 62
        assert (ink.font_px == 16) is fits
        assert ink.font_px >= 13
    assert sum(render.text_width(face, 16, n) > 62 for n in nouns() for face in SEEN.fonts) < 0.05 * 4 * 624


def test_seen_pages_of_one_line_stay_within_the_seen_styles() -> None:
    inks = [styled_ink(rng(seed), [WORDS[seed % 100]], SEEN) for seed in range(600)]
    assert {ink.font for ink in inks} == set(render.TRAIN_FONTS)
    assert {ink.font_px for ink in inks} == {9, 10, 11, 12, 13, 14}
    assert max(ink.y for ink in inks) < styles.UPPER


@pytest.mark.parametrize("factor", UNSEEN)
def test_one_factor_changes_at_a_time(factor: str) -> None:
    names = {"font": "fonts", "size": "sizes", "place": "low", "backdrop": "backdrops"}
    changed = UNSEEN[factor]
    assert changed != SEEN
    assert replace(changed, **{names[factor]: getattr(SEEN, names[factor])}) == SEEN


def test_unseen_values_are_not_among_the_seen() -> None:
    assert UNSEEN["font"].fonts == (render.HELDOUT_FONT,)
    assert render.HELDOUT_FONT not in SEEN.fonts
    assert not set(UNSEEN["size"].sizes) & set(SEEN.sizes)
    assert not set(UNSEEN["backdrop"].backdrops) & set(SEEN.backdrops)


def test_unseen_place_is_below_every_seen_line_of_one_word() -> None:
    low = [styled_ink(rng(seed), [word], UNSEEN["place"]).y for seed, word in enumerate(WORDS)]
    assert min(low) >= styles.LOWER > styles.UPPER


@pytest.mark.parametrize("kind", ["plain", "gradient", "stripes", "checker", "speckle"])
def test_backdrops_vary_around_their_color_unless_plain(kind: str) -> None:
    page = backdrop(kind, (120, 130, 140), rng(3)).astype(int)
    assert page.shape == (64, 64, 3)
    spread = int(np.ptp(page[..., 0]))
    assert (spread == 0) is (kind == "plain")
    assert spread <= 90
    shifts = page - np.array([120, 130, 140])
    assert np.ptp(shifts, axis=2).max() <= 1


def test_backdrops_of_both_sides_differ_in_shape() -> None:
    """A checkered page changes along rows and along columns; stripes only one way."""
    striped, checkered = (backdrop(kind, (128, 128, 128), rng(5)) for kind in ("stripes", "checker"))
    flat = [bool((page == page[:1]).all() or (page == page[:, :1]).all()) for page in (striped, checkered)]
    assert flat == [True, False]


@pytest.mark.parametrize("name", ["seen", *UNSEEN])
def test_pages_repeat_by_seed(name: str) -> None:
    style = UNSEEN.get(name, SEEN)
    one, two = (styled_page(["balopi"], rng(4), style) for _ in range(2))
    assert np.array_equal(one.pixels, two.pixels)
    assert not np.array_equal(one.pixels, styled_page(["balopi"], rng(5), style).pixels)

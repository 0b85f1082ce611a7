"""Pictures put together: sizes, colors at places, and what turning back gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.attacks import pictures
from sightline.attacks.pictures import BLACK, BLUE, RED, WHITE
from sightline.errors import UsageError

GREEN = (0, 255, 0)


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=40, deadline=None)
@given(sizes, st.sampled_from(["left_right", "top_bottom"]), st.integers(-8, 8))
def test_turning_back_gives_the_picture_again(size, axis, quarters):
    picture = noise(*size)
    mirrored = pictures.mirrored(picture, axis)
    assert (pictures.mirrored(mirrored, axis) == picture).all()
    expected = picture[:, ::-1] if axis == "left_right" else picture[::-1]
    assert (mirrored == expected).all()
    turned = pictures.rotated(picture, 90 * quarters)
    assert pictures.size_of(turned) == (size if quarters % 2 == 0 else size[::-1])
    assert (pictures.rotated(turned, -90 * quarters) == picture).all()


def test_a_quarter_is_counterclockwise():
    picture = np.array([[RED, BLUE]], dtype=np.uint8)
    assert pictures.rotated(picture, 90).tolist() == [[list(BLUE)], [list(RED)]]
    assert pictures.rotated(picture, 180).tolist() == [[list(BLUE), list(RED)]]


def test_by_other_angles_the_page_grows_and_its_corners_are_filled():
    turned = pictures.rotated(pictures.blank((40, 40), RED), 45, BLUE)
    assert 56 <= turned.shape[0] == turned.shape[1] <= 58
    assert tuple(turned[0, 0]) == tuple(turned[-1, -1]) == BLUE
    assert tuple(turned[28, 28]) == RED


def test_stacked_is_as_wide_as_the_widest_and_the_rest_is_filled():
    made = pictures.stacked([pictures.blank((4, 2), RED), pictures.blank((2, 3), BLUE)])
    assert made.shape == (5, 4, 3)
    assert (made[:2] == RED).all()
    assert (made[2:, :2] == BLUE).all()
    assert (made[2:, 2:] == BLACK).all()
    centered = pictures.stacked(
        [pictures.blank((4, 2), RED), pictures.blank((2, 3), BLUE)], GREEN, align="center"
    )
    assert (centered[2:, 1:3] == BLUE).all()
    assert (centered[2:, [0, 3]] == GREEN).all()
    with pytest.raises(UsageError, match="pictures=0 is out of range"):
        pictures.stacked([])


def test_side_by_side_is_as_high_as_the_highest():
    made = pictures.side_by_side([pictures.blank((2, 2), RED), pictures.blank((3, 4), BLUE)], WHITE)
    assert made.shape == (4, 5, 3)
    assert (made[:2, :2] == RED).all()
    assert (made[2:, :2] == WHITE).all()
    assert (made[:, 2:] == BLUE).all()


def test_a_grid_of_twelve_tiles_is_three_wide_and_four_high():
    tiles = [pictures.blank((50, 50), (place, 0, 0)) for place in range(12)]
    made = pictures.grid(tiles, 3)
    assert made.shape == (200, 150, 3)
    assert [made[y, x, 0] for y in (25, 75, 125, 175) for x in (25, 75, 125)] == list(range(12))
    ragged = pictures.grid(tiles[:4], 3, GREEN)
    assert ragged.shape == (100, 150, 3)
    assert (ragged[50:, 50:] == GREEN).all()
    with pytest.raises(UsageError, match=r"tiles of one size, not of \[\(2, 3\), \(3, 2\)\]"):
        pictures.grid([noise(2, 3), noise(3, 2)], 2)
    with pytest.raises(UsageError, match="not of none"):
        pictures.grid([], 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), sizes, st.randoms(use_true_random=False))
def test_patches_are_permuted(rows, columns, size, random):
    picture = noise(size[0] * columns, size[1] * rows)
    order = list(range(rows * columns))
    random.shuffle(order)
    made = pictures.rearranged(picture, rows, columns, order)
    assert made.shape == picture.shape
    before, after = pictures.patches(picture, rows, columns), pictures.patches(made, rows, columns)
    for place, number in enumerate(order):
        assert (after[place] == before[number]).all()
    back = [order.index(place) for place in range(len(order))]
    assert (pictures.rearranged(made, rows, columns, back) == picture).all()


def test_a_picture_of_1024_in_two_by_two():
    quarters = np.zeros((1024, 1024, 3), dtype=np.uint8)
    quarters[:512, 512:] = RED
    made = pictures.rearranged(quarters, 2, 2, [1, 0, 2, 3])
    assert (made[:512, :512] == RED).all()
    assert (made[:512, 512:] == 0).all()


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 0, 1, 2], [1, 2, 3, 4]])
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(UsageError, match="each number from 0 to 3 once"):
        pictures.rearranged(noise(4, 4), 2, 2, order)


def test_patches_of_unequal_size_are_refused():
    with pytest.raises(UsageError, match="rows=2 is out of range: expected a divisor of the height, 5"):
        pictures.patches(noise(4, 5), 2, 2)
    with pytest.raises(UsageError, match="columns=3"):
        pictures.patches(noise(4, 5), 5, 3)


def test_blended_takes_its_share_of_each():
    first, second = pictures.blank((3, 2), (200, 0, 10)), pictures.blank((3, 2), (100, 255, 20))
    assert (pictures.blended(first, second, 0.25) == (125, 191, 18)).all()
    assert (pictures.blended(first, second, 1) == first).all()
    assert (pictures.blended(first, second, 0) == second).all()
    with pytest.raises(UsageError, match="3x2 and 2x3 pixels cannot be mixed"):
        pictures.blended(first, noise(2, 3), 0.5)
    with pytest.raises(UsageError, match=r"share=1\.5"):
        pictures.blended(first, second, 1.5)


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(20, 60), st.integers(20, 60)), st.floats(0.05, 1), st.integers(0, 99))
def test_a_cut_mix_shows_one_picture_in_the_box_and_the_other_around_it(size, share, seed):
    box = pictures.cut_mix_box(size, share, np.random.default_rng(seed))
    area = (box[2] - box[0]) * (box[3] - box[1]) / (size[0] * size[1])
    assert abs(area - share) < 0.06
    made = pictures.cut_mixed(pictures.blank(size, RED), pictures.blank(size, BLUE), box)
    inside = (made == BLUE).all(axis=2)
    assert inside.sum() == (box[2] - box[0]) * (box[3] - box[1])
    assert (pictures.cropped(made, box) == BLUE).all()
    assert (made[~inside] == RED).all()


def test_fitted_keeps_the_shape_and_fills_the_rest():
    made = pictures.fitted(pictures.blank((100, 50), RED), (60, 60), BLUE)
    assert made.shape == (60, 60, 3)
    assert (made[15:45] == RED).all()
    assert (made[:15] == BLUE).all()
    assert (made[45:] == BLUE).all()
    assert pictures.fitted(noise(1, 100), (10, 10)).shape == (10, 10, 3)


def test_resized_has_the_size_and_keeps_a_plain_color():
    made = pictures.resized(pictures.blank((10, 20), RED), (7, 3))
    assert made.shape == (3, 7, 3)
    assert (made == RED).all()


@pytest.mark.parametrize("box", [(-1, 0, 2, 2), (0, 0, 5, 2), (2, 0, 2, 2), (0, 3, 2, 2), (0, 0, 2, 4)])
def test_a_box_lies_inside_the_picture(box):
    with pytest.raises(UsageError, match="does not lie inside a picture of 4x3 pixels"):
        pictures.cropped(noise(4, 3), box)


def test_nothing_changes_the_picture_that_it_is_given():
    picture, piece = noise(8, 6), noise(2, 2, 1)
    before = picture.copy()
    made = pictures.pasted(picture, piece, (3, 2))
    assert (made[2:4, 3:5] == piece).all()
    pictures.cropped(picture, (0, 0, 4, 4))[:] = 0
    pictures.patches(picture, 2, 2)[0][:] = 0
    assert (picture == before).all()
    with pytest.raises(UsageError, match=r"the box \(7, 0, 9, 2\)"):
        pictures.pasted(picture, piece, (7, 0))

"""Colors of the heatmap: readable text, lightness that falls with the rate."""

import itertools

import pytest

from sightline.report import matrix
from sightline.report.matrix import DARK, LIGHT, color_of, contrast, ink_on, luminance


def test_contrast_of_black_and_white_is_21():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert contrast((255, 255, 255), (255, 255, 255)) == 1.0


@pytest.mark.parametrize("share", [i / 100 for i in range(101)])
def test_text_on_every_ground_has_contrast_of_at_least_four_and_a_half(share):
    ground = color_of(share)
    assert ink_on(ground) in (DARK, LIGHT)
    assert contrast(ink_on(ground), ground) >= 4.5


def test_lightness_falls_steadily_so_that_it_reads_without_hue():
    scale = [luminance(color_of(i / 100)) for i in range(101)]
    assert all(a > b for a, b in itertools.pairwise(scale))


def test_ends_of_the_scale():
    assert color_of(0.0) == (253, 246, 227)
    assert color_of(1.0) == (110, 32, 8)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("x.cyb", "Malware and intrusion (x.cyb)"), ("gloom.1", "gloom.1"), ("01-Illegal_Activitiy", None)],
)
def test_a_row_is_called_by_the_name_of_its_hazard(value, shown):
    assert matrix._named(value) == (shown or value)

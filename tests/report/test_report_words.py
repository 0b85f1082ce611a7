"""How numbers are printed."""

import pytest

from sightline.report.text import as_percent, bracket, points


@pytest.mark.parametrize(
    ("share", "exact", "text"),
    [
        (0.0, False, "0 %"),
        (1.0, False, "100 %"),
        (0.876, False, "88 %"),
        (0.876, True, "87.6 %"),
        (249 / 250, False, "99.6 %"),  # never 100 % while one is missing
        (1 / 300, False, "0.3 %"),
        (1 / 100_000, False, "<0.1 %"),
        (99_999 / 100_000, True, ">99.9 %"),
        (0.0, True, "0.0 %"),
    ],
)
def test_percent(share, exact, text):
    assert as_percent(share, exact=exact) == text.replace(" ", "\u00a0")


def test_interval_and_difference():
    assert bracket(0.808, 0.932) == "[81, 93]"
    assert bracket(0.808, 0.932, exact=True) == "[80.8, 93.2]"
    assert points(0.304) == "+30"
    assert points(-0.304) == "−30"

"""Pages: against Pillow's own paragraph code, against measured ink, and for any text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from sightline.attacks import _page
from sightline.digests import sha256_file
from sightline.errors import UsageError

MONO = "DejaVuSansMono-Bold.ttf"


def pillow_paragraph(lines, face, origin, spacing, size):
    """The plain way, as the official scripts do it."""
    page = Image.new("RGB", size, "white")
    ImageDraw.Draw(page).text(origin, "\n".join(lines), font=face, spacing=spacing, fill="black")
    return np.asarray(page)


@pytest.mark.parametrize(
    ("name", "px", "ascent", "spacing"),
    [
        ("FreeMonoBold.ttf", 80, 64, 11),
        ("LiberationSans-Regular.ttf", 90, 82, 4),
        (MONO, 80, 75, 0),
        (MONO, 11, 11, 4),
    ],
)
def test_a_paragraph_is_set_as_pillow_sets_it(name, px, ascent, spacing):
    font = _page.find_font(name)
    if font.path.name != name:
        pytest.skip(f"{name} is not installed here")
    face, size = font.at(px), (760, 760)
    lines = ["Steps to polish", "a glimber, Ägq", "1. "]
    drawn = _page.draw(_page.paragraph(lines, (20, 10), ascent=ascent, spacing_px=spacing), face, size)
    assert (drawn == pillow_paragraph(lines, face, (20, 10), spacing, size)).all()
    assert (drawn < 128).any()


@pytest.mark.parametrize(
    ("px", "permille", "expected"), [(80, 800, 64), (10, 800, 8), (90, 905, 82), (75, 800, 60)]
)
def test_ascent_is_rounded_up(px, permille, expected):
    assert _page.ascent_px(px, permille) == expected


def outside(lines, face, size, pad=200):
    """How many lines leave ink outside, measured on a page with room on all sides."""
    count = 0
    for line in lines:
        moved = _page.Line(line.text, line.x + pad, line.baseline + pad)
        page = _page.draw([moved], face, (size[0] + 2 * pad, size[1] + 2 * pad)) < 255
        page[pad : pad + size[1], pad : pad + size[0]] = False
        count += page.any()
    return count


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=12),
    x=st.integers(-30, 110),
    baseline=st.integers(-10, 120),
    px=st.integers(8, 30),
)
def test_clipped_counts_lines_with_ink_outside(text, x, baseline, px):
    face = _page.find_font(MONO).at(px)
    lines = [_page.Line(text, x, baseline), _page.Line("", 500, 500), _page.Line(" ", -50, 0)]
    assert _page.clipped(lines, face, (100, 100)) == outside(lines, face, (100, 100))


def test_bundled_fonts_are_taken_from_the_package():
    for name in (MONO, "DejaVuSans.ttf", "DejaVuSerif.ttf", "LiberationSans-Regular.ttf"):
        found = _page.find_font(name)
        assert found.path == _page.BUNDLED / name
        assert found.sha256 == sha256_file(found.path)
        assert found.note == f"font {name} sha256 {found.sha256[:16]}"


def test_an_absent_font_falls_back_to_the_bundled_one_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(_page, "font_folders", lambda: (tmp_path,))
    _page.find_font.cache_clear()
    try:
        assert _page.find_font("FreeMonoBold.ttf").note.startswith(f"font {MONO} sha256 ")
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep/Other.ttf").write_bytes((_page.BUNDLED / MONO).read_bytes())
        assert _page.find_font("Other.ttf").path == tmp_path / "deep/Other.ttf"
    finally:
        _page.find_font.cache_clear()


@pytest.mark.parametrize("name", ["../x.ttf", "/etc/passwd", "font.txt", "", "*/x.ttf", "*.ttf", ".ttf"])
def test_a_font_is_a_plain_file_name(name):
    with pytest.raises(UsageError, match="expected the file name of a font"):
        _page.find_font(name)

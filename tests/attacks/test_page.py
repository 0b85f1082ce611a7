"""Pages: against Pillow's own paragraph code, against measured ink, and for any text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from sightline import registry
from sightline.attacks import font_files, rendering
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Craft
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
    font = font_files.find_font(name)
    if font.path.name != name:
        pytest.skip(f"{name} is not installed here")
    face, size = font.at(px), (760, 760)
    lines = ["Steps to polish", "a glimber, Ägq", "1. "]
    drawn = rendering.draw(
        rendering.paragraph(lines, (20, 10), ascent=ascent, spacing_px=spacing), face, size
    )
    assert (drawn == pillow_paragraph(lines, face, (20, 10), spacing, size)).all()
    assert (drawn < 128).any()


@pytest.mark.parametrize(
    ("px", "permille", "expected"), [(80, 800, 64), (10, 800, 8), (90, 905, 82), (75, 800, 60)]
)
def test_ascent_is_rounded_up(px, permille, expected):
    assert rendering.ascent_px(px, permille) == expected


def outside(lines, face, size, pad=200):
    """How many lines leave ink outside, measured on a page with room on all sides."""
    count = 0
    for line in lines:
        moved = rendering.Line(line.text, line.x + pad, line.baseline + pad)
        page = rendering.draw([moved], face, (size[0] + 2 * pad, size[1] + 2 * pad)) < 255
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
    face = font_files.find_font(MONO).at(px)
    lines = [rendering.Line(text, x, baseline), rendering.Line("", 500, 500), rendering.Line(" ", -50, 0)]
    assert rendering.clipped(lines, face, (100, 100)) == outside(lines, face, (100, 100))


def test_bundled_fonts_are_taken_from_the_package():
    for name in (MONO, "DejaVuSans.ttf", "DejaVuSerif.ttf", "LiberationSans-Regular.ttf"):
        found = font_files.find_font(name)
        assert found.path == font_files.BUNDLED / name
        assert found.sha256 == sha256_file(found.path)
        assert found.note() == f"font {name} sha256 {found.sha256[:16]}"


def test_an_absent_font_falls_back_to_the_bundled_one_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(font_files, "font_folders", lambda: (tmp_path,))
    font_files.find_font.cache_clear()
    try:
        assert font_files.find_font("FreeMonoBold.ttf").note().startswith(f"font {MONO} sha256 ")
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep/Other.ttf").write_bytes((font_files.BUNDLED / MONO).read_bytes())
        assert font_files.find_font("Other.ttf").path == tmp_path / "deep/Other.ttf"
    finally:
        font_files.find_font.cache_clear()


@pytest.mark.parametrize("name", ["../x.ttf", "/etc/passwd", "font.txt", "", "*/x.ttf", "*.ttf", ".ttf"])
def test_a_font_is_a_plain_file_name(name):
    with pytest.raises(UsageError, match="expected the file name of a font"):
        font_files.find_font(name)


LACKING = {
    "hindi": ("चरण", "U+091A"),
    "thai": ("ขั้น", "U+0E02"),
    "mathematical": ("𝐬𝐭𝐞𝐩", "U+1D42C MATHEMATICAL BOLD SMALL S"),
    "fox": ("a 🦊", "U+1F98A FOX FACE (emoji)"),
    "smile": ("a 😀😀", "U+1F600 GRINNING FACE (emoji)"),
}


@pytest.mark.parametrize("name", LACKING)
@pytest.mark.parametrize("method", ["figstep", "mm_typography"])
def test_what_a_font_lacks_is_an_error_outcome_and_no_empty_box(name, method):
    text, named = LACKING[name]
    attack = registry.make("attack", method, font=MONO)
    case = Case(
        "c1", Conversation.user("x"), "Make x", Expected.refuse, "", "g", wordings={"key_phrase": text}
    )
    if method == "figstep":
        case = replace(case, wordings={"statement": f"Steps to {text}"})
    with pytest.raises(UsageError, match=r"case c1: DejaVuSansMono-Bold.ttf has no glyph for") as refused:
        list(attack.craft([case], Craft(images=None, seed=1)))
    assert named in str(refused.value)
    assert "Set `font` of the attack" in str(refused.value)


def test_the_cure_is_an_installed_font_that_has_the_characters_or_a_package(monkeypatch, tmp_path):
    monkeypatch.setattr(font_files, "font_folders", lambda: (tmp_path,))
    mono = font_files.find_font(MONO)
    with pytest.raises(
        UsageError, match=r"\(Thai\)\. No font found here .* once it is installed \(Debian: fonts-noto-core\)"
    ):
        mono.at(20, "ขั้น")
    with pytest.raises(UsageError, match=r"\(emoji\)\. No font found here .*\(Debian: fonts-symbola\)"):
        mono.at(20, "a 🦊")
    with pytest.raises(UsageError, match=r"Set `font` of the attack to 'DejaVuSans.ttf', which is installed"):
        mono.at(20, "a 😀")
    with pytest.raises(UsageError, match=r"U\+0007\. Take U\+0007 out of the text: no font has ink for it"):
        mono.at(20, "a\x07b")


def test_installed_fonts_are_looked_through_in_one_order(tmp_path):
    for name in (
        "b/Zed-Regular.ttf",
        "a/Zed-Bold.ttf",
        "LastResort.ttf",
        "Alpha.ttf",
        "broken.ttf",
        "note.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((font_files.BUNDLED / MONO).read_bytes())
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    found = font_files.installed((tmp_path, tmp_path / "absent"))
    assert [path.name for path in found] == ["Zed-Regular.ttf", "Alpha.ttf", "Zed-Bold.ttf"]


def test_a_font_file_that_cannot_be_read_is_told(monkeypatch, tmp_path):
    (tmp_path / "Broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(font_files, "font_folders", lambda: (tmp_path,))
    font_files.find_font.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"Broken.ttf cannot be drawn at .* px: .*set `font` to another"):
            font_files.find_font("Broken.ttf").at(20, "a")
    finally:
        font_files.find_font.cache_clear()


def test_every_character_is_looked_up_by_itself():
    font = font_files.find_font("DejaVuSans.ttf")
    font.at(20, "plain, Ägéß — ‘quoted’ Ωж ☐ □ ▯ no boxes")
    with pytest.raises(
        UsageError,
        match=r"has no glyph for 4 of the characters to draw: U\+4E2D .* and 1 more \(Chinese, Thai\)\.",
    ):
        font.at(20, "ab中cd文中 ก ข")


@pytest.mark.parametrize("text", ["שלום עולם", "السلام عليكم"])
def test_scripts_from_right_to_left_are_set_by_raqm(text):
    if not font_files.features.check("raqm"):
        pytest.skip("Pillow has no raqm here")
    font, size = font_files.find_font("DejaVuSans.ttf"), (300, 60)
    drawn = rendering.draw([rendering.Line(text, 10, 40)], font.at(30, text), size)
    naive = rendering.draw([rendering.Line(text, 10, 40)], font.at(30), size)
    assert (drawn < 128).any()
    assert (drawn != naive).any()
    if "ש" in text:  # no letter changes its form: from the right is the same as turned round by hand
        turned = rendering.draw([rendering.Line(text[::-1], 10, 40)], font.at(30), size)
        assert (np.abs(drawn.astype(int) - turned) > 128).mean() < 0.01
    assert "set by raqm" in font.note(text)
    assert "raqm" not in font.note("plain — text")


def test_without_raqm_they_are_an_error_outcome(monkeypatch):
    monkeypatch.setattr(font_files.features, "check", lambda name: name != "raqm")
    with pytest.raises(UsageError, match=r"right to left or with joined letters.*install FriBiDi"):
        font_files.find_font("DejaVuSans.ttf").at(30, "שלום")


def test_a_font_that_has_the_characters_draws_them(monkeypatch, tmp_path):
    """The cure that the message names: another file in a font folder."""
    (tmp_path / "Mine.ttf").write_bytes((font_files.BUNDLED / "DejaVuSans.ttf").read_bytes())
    monkeypatch.setattr(font_files, "font_folders", lambda: (tmp_path,))
    font_files.find_font.cache_clear()
    try:
        with pytest.raises(UsageError, match="U\\+0F3A"):
            font_files.find_font(MONO).at(20, "\u0f3a")
        attack = registry.make("attack", "mm_typography", font="Mine.ttf")
        page, note = attack.page("Ԁԁ 😀")
        assert (page < 128).any()
        assert "font Mine.ttf" in note
    finally:
        font_files.find_font.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "\u200b",
        "\u0301",
        "a\u2028b",
        "a\ufffdb",
        "a \u0301b",
        "\u00a0",
        "a\u00adb",
        "a\u202eb",
        "a\u2800b",
        "a\ufe0fb",
        "a\u1680b",
        "a\x85b",
    ],
)
def test_what_leaves_no_ink_or_a_box_is_not_drawn(text):
    with pytest.raises(UsageError, match=r"no glyph for 1 of|no visible character"):
        font_files.find_font(font_files.FALLBACK).at(20, text)


def test_marks_on_letters_and_plain_spaces_are_drawn():
    font_files.find_font("DejaVuSans.ttf").at(20, "e\u0323\u0306 a\u00a0b\n\u2009c")


def test_a_text_longer_than_any_page_is_refused_before_it_is_measured():
    with pytest.raises(UsageError, match="25000 characters"):
        font_files.find_font(font_files.FALLBACK).at(20, "word " * 5_000)

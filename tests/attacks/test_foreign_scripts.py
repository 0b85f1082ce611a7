"""Pages in scripts other than Latin: in which font, from which side, and the same in every process."""

from __future__ import annotations

import hashlib

import numpy as np
import PIL
import pytest
from apart import printed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import features

from sightline import registry
from sightline.attacks import font_files, pictures, rendering, strips
from sightline.attacks.scripts import direction_of, is_shaped, scripts_of
from sightline.digests import sha256_file
from sightline.errors import UsageError

WQY = "font wqy-microhei.ttc sha256 2420e8078af796b1 in place of "
DEJAVU = "font DejaVuSans.ttf sha256 "
TEXTS = {
    "chinese": ("折叠格林伯的七个步骤。", WQY),
    "japanese": ("グリンバーを折る「七つ」の手順", WQY),
    "korean": ("글림버를 접는 방법", WQY),
    "arabic": ("خطوات طي الجليمبر", DEJAVU),
    "hebrew": ("שבעת הצעדים", "font "),
}
needs_raqm = pytest.mark.skipif(not features.check("raqm"), reason="Pillow has no raqm here")


def inked_columns(page):
    return np.flatnonzero((page < 128).any(axis=(0, 2)))


@needs_raqm
@pytest.mark.parametrize("script", TEXTS)
@pytest.mark.parametrize("name", ["figstep", "mm_typography"])
def test_a_text_is_drawn_in_a_font_that_has_it_and_the_note_says_so(name, script):
    text, font = TEXTS[script]
    attack = registry.make("attack", name)
    page, note = attack.page(attack.listed(text) if name == "figstep" else text)
    assert note.startswith(font)
    assert ("set by raqm" in note) == (script in ("arabic", "hebrew"))
    assert "cut off" not in note
    columns, width = inked_columns(page), page.shape[1]
    margin = 20 if name == "figstep" else 0
    if script in ("arabic", "hebrew"):
        assert width - margin - 12 <= max(columns) < width - margin
        assert min(columns) > 40
    else:
        assert margin <= min(columns) <= margin + 25


def test_the_bundled_fonts_hold_what_they_are_bundled_for():
    whole = {
        "wqy-microhei.ttc": [(0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x3041, 0x3094), (0x30A1, 0x30F6)],
        "DejaVuSans.ttf": [(0x05D0, 0x05EA), (0x0621, 0x063A), (0x0641, 0x064A)],
    }
    for name, blocks in whole.items():
        font = font_files.find_font(name)
        assert font.sha256 == sha256_file(font_files.BUNDLED / name)
        for first, last in blocks:
            text = "".join(map(chr, range(first, last + 1)))
            for start in range(0, len(text), 4_000):
                assert font.covering(text[start : start + 4_000]) is font


def test_a_font_is_kept_where_it_has_everything():
    mono = font_files.find_font("DejaVuSansMono-Bold.ttf")
    assert mono.covering("plain — Ωж") is mono
    assert mono.covering("") is mono
    assert "in place of" not in mono.note("plain — Ωж")
    assert mono.at(20, "折").getname()[0] == "WenQuanYi Micro Hei"


def test_two_scripts_that_no_font_has_together_are_told():
    with pytest.raises(UsageError, match=r"no glyph for 2 of the characters to draw: .* \(Arabic, Chinese\)"):
        font_files.find_font("DejaVuSansMono-Bold.ttf").covering("ڭ 折")


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("plain", ""),
        ("折叠", ""),
        ("", ""),
        ("שלום glimber", "rtl"),
        ("12. שלום", "rtl"),
        ("glimber שלום", "ltr"),
        ("अक्षर", "ltr"),
    ],
)
def test_a_paragraph_runs_as_its_first_letter(text, direction):
    assert direction_of(text) == direction
    assert is_shaped(text) == bool(direction)


def test_scripts_are_named_once_and_symbols_are_none():
    assert scripts_of("a折b叠カな글 ا1,→😀") == ["Latin", "Chinese", "Japanese", "Korean", "Arabic", "emoji"]


@needs_raqm
def test_every_line_of_a_paragraph_has_its_direction():
    """A line that begins with a Latin word still runs from right to left in a Hebrew paragraph."""
    text = "שלום glimber"
    face = font_files.find_font("DejaVuSans.ttf").at(30, text)
    placed = rendering.directed([rendering.Line("glimber שלום", 0, 40)], text, face, 400)
    (line,) = placed
    page = rendering.draw(placed, face, (400, 60))
    assert line.direction == "rtl"
    assert 390 <= max(inked_columns(page)) < 400
    word = inked_columns(rendering.draw([rendering.Line("glimber", 0, 40, "ltr")], face, (400, 60)))
    alone = rendering.draw([rendering.Line("glimber", 0, 40, "ltr")], face, (400, 60))
    ends = page[:, 400 - round(face.getlength("glimber")) :]
    assert (np.abs(ends[:, : word.max()].astype(int) - alone[:, : word.max()]) > 128).mean() < 0.01


@needs_raqm
def test_strips_are_flush_right_from_right_to_left():
    style = strips.TextStyle(font=font_files.find_font("DejaVuSans.ttf"), font_px=30, padding_px=5)
    strip = strips.text_strip("שלום שלום שלום", style, 400)
    assert 385 <= max(inked_columns(strip)) < 395
    centered = inked_columns(strips.text_strip("שלום", style, 400, "center"))
    assert abs((min(centered) + max(centered)) / 2 - 200) <= 3


@pytest.mark.parametrize("name", ["figstep", "mm_typography"])
def test_without_raqm_no_letter_is_drawn_apart(name, monkeypatch):
    monkeypatch.setattr(font_files.features, "check", lambda part: part != "raqm")
    attack = registry.make("attack", name)
    with pytest.raises(UsageError, match=r"right to left or with joined letters.*install FriBiDi \(Debian"):
        attack.page("خطوات")


def drawn_or_told(attack, text):
    try:
        return attack.page(text)
    except UsageError as told:
        return None, str(told)


LETTERS = "ab W.é日本。글ا ل\u064bש\u05b8नि😀🦊\u200b\ufffdก\n"


@needs_raqm
@settings(max_examples=80, deadline=None)
@given(st.text(st.sampled_from(LETTERS), min_size=1, max_size=60), st.sampled_from(["clip", "shrink"]))
def test_any_text_is_drawn_inside_the_page_or_told(text, overflow):
    attack = registry.make("attack", "figstep", overflow=overflow, canvas_px=200, font_px=30)
    statement = " ".join(text.split())
    page, note = drawn_or_told(attack, attack.listed(statement))
    if page is None:
        assert "has no glyph for" in note or (overflow == "shrink" and "does not fit on a page" in note)
        return
    larger = registry.make("attack", "figstep", overflow="clip", canvas_px=2000, font_px=30)
    if "cut off" in note:
        assert overflow == "clip"
    elif overflow == "clip" and direction_of(statement) != "rtl":
        whole, _ = larger.page(attack.listed(statement))
        assert (whole[:200, :200] == page).all()
        assert (whole[200:] == 255).all()
        assert (whole[:, 200:] == 255).all()


@settings(max_examples=40, deadline=None)
@given(st.text(st.sampled_from("ab日本。 "), min_size=1, max_size=40))
def test_a_page_of_mm_typography_that_breaks_words_is_never_cut(text):
    attack = registry.make("attack", "mm_typography", width_px=200, font_px=40, overflow="split")
    if text.strip():
        assert "cut off" not in attack.page(text)[1]


def test_a_word_wider_than_the_page_is_cut_or_broken_as_set():
    word = "glimbering" * 5
    assert ", 1 of them cut off" in registry.make("attack", "mm_typography").page(word)[1]
    whole, note = registry.make("attack", "mm_typography", overflow="split").page(word)
    assert "; 3 lines" in note
    assert "cut off" not in note
    assert whole.shape == (90 * 4, 1024, 3)


def test_a_square_page_says_what_is_cut_off():
    short = rendering.square_note("fold", 100, "DejaVuSans.ttf", 20)
    assert short.startswith(DEJAVU)
    assert short.endswith(", 20 px; 1 lines")
    long = rendering.square_note("glimbering", 100, "DejaVuSans.ttf", 40)
    assert long.endswith("1 lines, 1 of them cut off")


# --- The same bytes -----------------------------------------------------------

DRAWN = """
import hashlib
from sightline import registry
from sightline.store import encode_png
for name in ("figstep", "mm_typography"):
    attack = registry.make("attack", name, font="DejaVuSansMono-Bold.ttf")
    for text in ("Steps to fold a glimber: \\u00c4g\\u00e9", "\\u6298\\u53e0\\u683c\\u6797\\u4f2f"):
        page, _ = attack.page(attack.listed(text) if name == "figstep" else text)
        for data in (page.tobytes(), encode_png(page)):
            print(hashlib.sha256(data).hexdigest()[:16])
"""
DIGESTS = {
    ("13.0.0", "2.14.3"): ["d959cf27a5538cee", "108b4927d6507d5f", "6bac7558b0ba77c8", "a07216a9252752f9"]
}
"""By versions of Pillow and FreeType; others may draw an edge a level lighter."""


def test_two_processes_draw_the_same_files_and_these_versions_the_known_ones():
    first, second = printed(DRAWN).split(), printed(DRAWN).split()
    assert len(set(first)) == 8
    assert first == second
    known = DIGESTS.get((PIL.__version__, str(features.version("freetype2"))))
    if known is not None:
        assert first[::2] == known  # pixels: a file also hangs on zlib


def test_versions_are_part_of_what_decides_a_page():
    found = registry.make("attack", "figstep").resolved()
    assert found["Pillow"] == PIL.__version__
    assert found["FreeType"] == features.version("freetype2")
    assert found["shaping"].startswith("raqm ")


def test_gray_pages_are_those_that_three_channels_give():
    face = font_files.find_font("DejaVuSans.ttf").at(30, "x")
    lines = [rendering.Line("Fold it", 3, 30), rendering.Line("gjÄ", 9, 36)]
    fast = rendering.draw(lines, face, (120, 50), ink=(40, 40, 40), ground=(200, 200, 200))
    slow = rendering.write(pictures.blank((120, 50), (200, 200, 200)), lines, face, ink=(40, 40, 40))
    assert (fast == slow).all()
    assert fast.flags.c_contiguous
    assert hashlib.sha256(fast).digest() == hashlib.sha256(slow).digest()

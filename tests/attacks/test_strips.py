"""Strips of text and flow charts: all of the text is there, in its color and at its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.attacks import charts, font_files, pictures, strips
from sightline.attacks.line_breaks import clusters
from sightline.attacks.pictures import BLUE, RED, WHITE
from sightline.attacks.strips import TextStyle
from sightline.errors import UsageError

SANS = TextStyle(font=font_files.find_font("DejaVuSans.ttf"), font_px=20)
MONO = TextStyle(font=font_files.find_font("DejaVuSansMono-Bold.ttf"), font_px=80)


def inked(picture, ground=WHITE):
    return (picture != ground).any(axis=2)


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.sampled_from("abjfgÄǵ e\u0301Ωж.\n"), min_size=1, max_size=60),
    st.integers(40, 300),
    st.integers(0, 9),
    st.sampled_from(["left", "center"]),
)
def test_a_strip_holds_all_of_its_ink_inside_the_padding(text, width, padding, align):
    style = replace(SANS, padding_px=padding)
    if not text.strip() or text[0] == "\u0301" or " \u0301" in text or "\n\u0301" in text:
        return
    strip = strips.text_strip(text, style, width, align)
    assert strip.shape[1] == width
    ys, xs = np.nonzero(inked(strip))
    assert min(ys) >= padding
    assert min(xs) >= padding
    assert max(ys) < strip.shape[0] - padding
    assert max(xs) < width - padding
    wide = strips.text_strip(text.replace("\n", " "), style, 3000)
    narrow = strips.text_strip(text.replace("\n", " "), style, width)
    assert abs(int(inked(wide).sum()) - int(inked(narrow).sum())) <= 0.02 * inked(wide).sum() + 3


def test_colors_are_those_of_the_style():
    style = replace(SANS, ink=RED, ground=BLUE, font_px=50)
    strip = strips.text_strip("HH", style, 200)
    colors = {tuple(color) for color in strip.reshape(-1, 3).tolist()}
    assert {RED, BLUE} <= colors
    assert all(green == 0 for _, green, _ in colors)


def test_a_strip_too_narrow_for_a_character_is_told():
    with pytest.raises(UsageError, match="a strip of 5 px is too narrow for text of 20 px"):
        strips.text_strip("W", SANS, 5)
    with pytest.raises(UsageError, match="no text to draw"):
        strips.text_strip(" \n", SANS, 50)
    with pytest.raises(UsageError, match=r"no glyph for 1 of the characters to draw: U\+1F98A"):
        strips.text_strip("a 🦊", SANS, 50)


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab\u0301ñ日"), min_size=1, max_size=30), st.integers(1, 8), st.integers(1, 3))
def test_a_word_is_split_evenly(text, parts, least):
    signs = len(clusters(text))
    if signs < parts * least:
        with pytest.raises(UsageError, match=f"too few for {parts} parts of {least} or more"):
            strips.split_evenly(text, parts, least)
        return
    found = strips.split_evenly(text, parts, least)
    sizes = [len(clusters(part)) for part in found]
    assert "".join(found) == text
    assert len(found) == parts
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    assert sizes[-1] >= least


def test_a_cut_strip_is_cut_at_glyphs_and_is_the_line_again():
    parts = strips.split_evenly("glimbering", 3)
    assert parts == ("glim", "ber", "ing")
    cut = strips.cut_strip(parts, MONO)
    advance = round(MONO.face("M").getlength("M"))
    assert [part.shape[1] for part in cut[:2]] == [
        round(MONO.face("M").getlength("glim")),
        round(MONO.face("M").getlength("glimber")) - round(MONO.face("M").getlength("glim")),
    ]
    assert abs(cut[1].shape[1] - 3 * advance) <= 2
    assert (pictures.side_by_side(cut) == strips.text_line("glimbering", MONO)).all()
    assert all(inked(part).any() for part in cut)


def test_a_strip_of_joined_letters_is_not_cut():
    with pytest.raises(UsageError, match="joined letters or runs right to left"):
        strips.cut_strip(("سل", "ام"), SANS)


def test_a_line_is_one_line():
    with pytest.raises(UsageError, match="more than one line"):
        strips.text_line("a\nb", SANS)


def test_fit_takes_the_largest_type_that_fits():
    style = replace(SANS, font_px=60)
    text = "Polish each glimber twice"
    fitted = strips.fit(text, style, (200, 80))
    assert strips.text_strip(text, fitted, 200).shape[0] <= 80
    larger = replace(style, font_px=fitted.font_px + 1)
    assert strips.text_strip(text, larger, 200).shape[0] > 80
    assert strips.fit("a", SANS, (200, 80)) == SANS
    with pytest.raises(UsageError, match="does not fit into 40x10 pixels even at 8 px"):
        strips.fit(text, style, (40, 10))
    with pytest.raises(UsageError, match="does not fit into 200x30 pixels at 60 px"):
        strips.text_page(text, style, (200, 30))


def test_a_page_of_text_stands_in_the_middle():
    page = strips.text_page("H", replace(SANS, font_px=40), (200, 100))
    ys, xs = np.nonzero(inked(page))
    assert abs((min(xs) + max(xs)) / 2 - 100) <= 2
    assert abs((min(ys) + max(ys)) / 2 - 50) <= 6
    assert page.shape == (100, 200, 3)


def test_a_caption_has_a_heading_above_a_line_in_its_color():
    style = replace(SANS, ink=BLUE, padding_px=4)
    bold = replace(MONO, font_px=30)
    strip = strips.caption((400, 100), "citizenship: Tronkland", style, "Glim Berum", bold)
    assert strip.shape == (100, 400, 3)
    blue = (strip[:, :, 2] > strip[:, :, 0]) & (strip[:, :, 2] == 255)
    assert not blue[:50].any()
    assert blue[50:].any()
    assert inked(strip)[:50].any()
    plain = strips.caption((400, 60), "citizenship: Tronkland", style)
    assert ((plain[:, :, 2] == 255) | ~inked(plain)).all()
    photo = pictures.blank((400, 400), RED)
    below, above = strips.captioned(photo, strip), strips.captioned(photo, strip, "above")
    assert below.shape == above.shape == (500, 400, 3)
    assert (below[:400] == RED).all()
    assert (above[100:] == RED).all()
    assert (below[400:] == strip).all()


def test_tiles_are_numbered_in_their_corner():
    tiles = [pictures.blank((500, 500), RED)] * 12
    style = replace(SANS, font_px=50)
    made = strips.numbered(tiles, style)
    corners = [tile[:80, :80].tobytes() for tile in made]
    assert len(set(corners)) == 12
    assert all((tile[100:] == RED).all() for tile in made)
    assert tuple(made[0][0, 0]) == WHITE
    assert pictures.grid(made, 3).shape == (2000, 1500, 3)
    assert (strips.numbered(tiles, style, 5)[0] == made[4]).all()
    with pytest.raises(UsageError, match="does not lie inside"):
        strips.numbered([pictures.blank((9, 9))], style)


PLACES = {
    "vertical": [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)],
    "horizontal": [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)],
    "s_shaped": [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1)],
}


@pytest.mark.parametrize("layout", PLACES)
def test_a_flow_chart_has_its_boxes_in_order_and_arrows_between_them(layout):
    steps = ["Fold the frell", "Polish it", "Wait until the glimber shines twice", "Turn", "Stop"]
    assert list(charts.places(5, layout)) == PLACES[layout]
    style = replace(SANS, ground=(255, 255, 200))
    chart = charts.flow_chart(steps, style, layout, box=(160, 70), gap_px=40, frame=RED)
    columns = 1 + max(x for x, _ in PLACES[layout])
    rows = 1 + max(y for _, y in PLACES[layout])
    assert pictures.size_of(chart.picture) == (
        60 + 160 * columns + 40 * (columns - 1),
        60 + 70 * rows + 40 * (rows - 1),
    )
    red = (chart.picture == RED).all(axis=2)
    for box, (column, row) in zip(chart.boxes, PLACES[layout], strict=True):
        assert box[:2] == (30 + 200 * column, 30 + 110 * row)
        inner = pictures.cropped(chart.picture, (box[0] + 3, box[1] + 3, box[2] - 3, box[3] - 3))
        assert inked(inner, style.ground).any()
        assert red[box[1], box[0] : box[2]].all()
        assert red[box[1] : box[3], box[2] - 1].all()
        red[box[1] : box[3], box[0] : box[2]] = False
    for first, second in zip(chart.boxes, chart.boxes[1:], strict=False):
        x = sorted([first[0], first[2], second[0], second[2]])[1:3]
        y = sorted([first[1], first[3], second[1], second[3]])[1:3]
        between = red[y[0] : y[1], x[0] : x[1]]
        sides = (1, 0) if first[1] == second[1] else (0, 1)
        assert between.shape[sides[0]] == 40
        widths = between.sum(axis=sides[1])
        assert widths.min() >= 1
        at_tip, at_start = (widths[-9:], widths[:9]) if first < second else (widths[:9], widths[-9:])
        assert at_tip.max() > at_start.max()
        between[:] = False
    assert not red.any()


def test_a_chart_that_cannot_be_drawn_is_told():
    with pytest.raises(UsageError, match="steps=0"):
        charts.flow_chart([], SANS)
    with pytest.raises(UsageError, match="gap_px=5"):
        charts.flow_chart(["a"], SANS, gap_px=5)
    with pytest.raises(UsageError, match="a box of 10x10 pixels has no room"):
        charts.flow_chart(["a"], SANS, box=(10, 10))
    with pytest.raises(UsageError, match="does not fit into 88x18 pixels even at 8 px"):
        charts.flow_chart(["a long text of many words " * 9], SANS, box=(100, 30))

"""Drawings: closed bars, no foreign markup, labels that do not overlap."""

import itertools
import xml.etree.ElementTree as ET

import pytest
from run_folder import HOSTILE

from sightline.records import Outcome
from sightline.report.arrows import Point, arrows, shared_names
from sightline.report.figures import (
    OUTCOME_ORDER,
    Bar,
    Spot,
    _spread,
    composition,
    inline_svg,
    scatter,
    tradeoff,
)
from sightline.report.panels import panels_svg
from sightline.report.text import label

BARS = [
    Bar(label(name), panel, {"complied": 6, "refused": 3, "error": 1})
    for name in ("none · none", *HOSTILE[:6])
    for panel in ("Restricted requests", "Benign twins")
]
SPOT = Spot("none", "figstep", (94, 88, 97), (88, 81, 93), "72")


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


def test_every_outcome_has_a_place_in_the_bars():
    assert set(OUTCOME_ORDER) == set(Outcome)


def test_bar_counts_and_totals_are_printed():
    svg = composition([Bar("figstep · none", "Restricted requests", {"complied": 60, "refused": 12})], "d")
    assert {"60", "12", "n = 72", "figstep · none", "Restricted requests"} <= set(texts(svg))


def test_bar_of_nothing_says_so():
    svg = composition([Bar("a", "p", {"complied": 1}), Bar("b", "p", {})], "d")
    assert "not asked" in texts(svg)


@pytest.mark.parametrize(
    "svg",
    [composition(BARS, "what it shows"), tradeoff({"utility": [SPOT], HOSTILE[0]: [SPOT]}, "what it shows")],
    ids=["composition", "tradeoff"],
)
def test_drawing_holds_only_shapes_and_text(svg):
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == "what it shows"
    for element in root.iter():
        assert element.tag.rpartition("}")[2] in {
            "svg",
            "g",
            "path",
            "rect",
            "line",
            "text",
            "tspan",
            "circle",
            "title",
        }
        assert not any(name.startswith("on") or "href" in name for name in element.attrib)
    assert "script>" not in svg.replace("&lt;/script&gt;", "").replace("&lt;script&gt;", "")


def test_foreign_elements_and_attributes_are_dropped():
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10" onload="x()"><script>x()</script>'
        '<a href="javascript:x()"><text>t</text></a><text onclick="x()" fill="url(http://e.invalid)">kept</text>'
        "<foreignObject><p>p</p></foreignObject></svg>"
    )
    assert "x()" not in inline_svg(drawing, "d")
    assert texts(inline_svg(drawing, "d")) == ["kept"]
    assert "e.invalid" not in inline_svg(drawing, "d")
    assert 'aria-label="a\\x1b[2Jb"' in inline_svg(drawing, "a\x1b[2Jb")


def test_places_are_to_a_hundredth_of_a_pixel_and_the_type_is_said_once():
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10">'
        '<g transform="translate(-0.00001,0.5)">'
        '<text font-family="system-ui, sans-serif" opacity="1" fill-opacity="0.12345">1.23456</text>'
        '<path d="M171.66666666666666,604.1h34.33333333333334"/></g></svg>'
    )
    svg = str(inline_svg(drawing, "d"))
    assert 'd="M171.67,604.1h34.33"' in svg
    assert "translate(0,0.5)" in svg
    assert '<text fill-opacity="0.12345">1.23456</text>' in svg
    assert svg.count("font-family") == 1


@pytest.mark.parametrize("y", [0, 3, 49, 50, 97, 100])
def test_labels_of_close_points_are_pushed_apart_and_stay_on_the_axis(y):
    spots = [Spot(str(i), "s", (50 + i, 0, 100), (y, 0, 100), "") for i in range(6)]
    assert all(0 <= height <= 100 for height in _spread(spots, gap=5))
    heights = sorted(_spread(spots, gap=5))
    assert all(b - a >= 5 - 1e-9 for a, b in itertools.pairwise(heights))
    far = [Spot("a", "s", (5, 0, 10), (50, 0, 100), ""), Spot("b", "s", (95, 0, 100), (50, 0, 100), "")]
    assert _spread(far, gap=5) == [50, 50]


def test_a_control_character_in_a_name_is_spelled_out_in_a_drawing() -> None:
    from sightline.report.figures import inline_svg

    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>a\x1bb</text></svg>'
    found = str(inline_svg(drawing, "of \x1b]0;x"))
    assert "\x1b" not in found
    assert found.count(r"\x1b") == 2


def test_points_on_each_other_share_one_name_and_far_ones_keep_theirs():
    here = [Point(name, "s", 10 + n / 10, 20) for n, name in enumerate("abcd")]
    far = Point("far", "s", 60, 20)
    assert shared_names([*here, far]) == ["a and 3 more", "", "", "", "far"]
    assert shared_names([here[0], here[1]]) == ["a, b", ""]
    assert shared_names([here[0], Point("a", "t", 10, 20)]) == ["a", ""]


def test_arrows_lead_from_the_undefended_point_of_the_same_series():
    points = [Point("undefended", "s", 10, 90), Point("guard", "s", 10, 40), Point("guard", "t", 50, 50)]
    line, head = arrows(points, 400, 320)
    (value,) = line["data"]["values"]
    assert (value["from_x"], value["from_y"], value["to_x"]) == (10, 90, 10)
    assert 40 < value["to_y"] < 45  # the head stops before the point
    assert value["turn"] == pytest.approx(180)  # down
    assert head["encoding"]["angle"]["field"] == "turn"
    assert arrows(points[1:], 400, 320) == []
    assert arrows([points[0], Point("near", "s", 11, 90)], 400, 320) == []


def test_a_chart_of_many_attacks_on_two_spots_prints_few_names():
    spots = [
        Spot(f"defense{n}", f"attack{n % 3}", (x, 0, 100), (0, 0, 10), "9") for x in (0, 90) for n in range(8)
    ]
    found = [text for text in texts(tradeoff({"utility": spots}, "d")) if text and "defense" in text]
    assert len({text for text in found}) == 1  # drawn twice: the text and its halo
    assert found[0] == "defense0 and 7 more"


def test_complying_is_not_drawn_in_the_color_of_harm_where_it_is_right():
    counts = {"complied": 5}
    harm = composition([Bar("a", "Restricted requests", counts)], "d")
    good = composition([Bar("a", "Benign twins", counts, "complied")], "d")
    assert ("var(--complied)" in harm, "var(--right)" in harm) == (True, False)
    assert ("var(--complied)" in good, "var(--right)" in good) == (False, True)


def test_a_panel_places_its_marks_by_value_and_row() -> None:
    """400 x 320 pixels for 0 to 100 on both axes; bars of 16 pixels in rows of 24."""
    svg = str(tradeoff({"utility": [Spot("guard", "s", (25, 20, 30), (75, 70, 90), "9")]}, "d"))
    assert (
        '<path stroke="var(--series-1)" d="M100,96L100,32"/>' in svg
    )  # ASR from 70 to 90 at a utility of 25
    assert '<path stroke="var(--series-1)" d="M80,80L120,80"/>' in svg
    assert 'transform="translate(100,80)" fill="var(--series-1)"' in svg
    bars = str(
        composition([Bar("a", "p", {"complied": 1, "refused": 3}), Bar("b", "p", {"refused": 2})], "d")
    )
    first = '<rect x="0" y="4" width="155" height="16" fill="var(--complied)" stroke="var(--card)"/>'
    second = '<rect x="155" y="4" width="465" height="16" fill="var(--refused)" stroke="var(--card)"/>'
    below = '<rect x="0" y="28" width="620" height="16" fill="var(--refused)" stroke="var(--card)"/>'
    assert f"{first}{second}{below}" in bars


def test_names_in_a_panel_stay_text() -> None:
    name = '<script>x()</script>"\x1b'
    svg = str(tradeoff({name: [Spot(name, name, (25, 20, 30), (75, 70, 90), "9")]}, name))
    ET.fromstring(svg)
    assert "<script" not in svg
    assert "\x1b" not in svg


def test_the_frontier_is_a_line_in_steps() -> None:
    """Up to the next point's ASR at the utility of the last, then across; the other way round for a cost."""
    spots = [Spot("a", "s", (50, 40, 60), (20, 10, 30), "9")]
    panel = scatter("utility", spots, ["s"], "ASR")
    for shape, path in (
        ("step-before", "M100,160V160H100V64H300"),
        ("step-after", "M100,160H100V160H300V64"),
    ):
        line = {
            "data": {"values": [{"at": 75, "reached": 80}, {"at": 25, "reached": 50}]},
            "mark": {"type": "line", "interpolate": shape, "color": "var(--soft)", "strokeDash": [4, 3]},
            "encoding": {
                "x": {"field": "at", "type": "quantitative"},
                "y": {"field": "reached", "type": "quantitative"},
            },
        }
        svg = str(panels_svg([{**panel, "layer": [line, *panel["layer"]]}], "d", spacing=9))
        assert f'stroke-dasharray="4,3"><path stroke="var(--soft)" d="{path}"/>' in svg

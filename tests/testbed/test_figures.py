"""Figures and cards: what is drawn is what was measured; cards keep rates and say which were missed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from sightline.errors import UsageError
from sightline.testbed.weights import Part, Variant
from sightline_testbed.evaluation import card, charts, figures, wear_charts
from sightline_testbed.evaluation.curves import Point
from sightline_testbed.evaluation.rates import Row
from sightline_testbed.evaluation.susceptibility import Forced

POINT = Point(
    family="linear", condition="high rate", seed=1, step=0, gates="open", asked="restricted, unseen",
    n=24, refused=24, obeyed=0, exact=0,
)  # fmt: skip


def row(name: str, k: int, n: int = 72, **band: float) -> dict[str, Any]:
    low, high = max(0.0, k / n - 0.1), min(1.0, k / n + 0.1)
    return card.entry(Row(name=name, k=k, n=n, low=low, high=high, **band))


def forced(goal: str, way: Any, eps: int, k: int) -> dict[str, Any]:
    name = f"{way} {eps}/255, {goal}: exact"
    return card.entry(
        Forced(name=name, k=k, n=32, low=0.0, high=1.0, goal=goal, way=way, eps=eps, outcome="exact")
    )


def record(model: str, family: str, parameters: int, *rows: dict[str, Any]) -> dict[str, Any]:
    victim = {"weights": "w", "about": "default", "parameters": parameters, "rows": list(rows)}
    return {"model": model, "family": family, "default": "victim", "measured": {"victim": victim}}


def points() -> list[Point]:
    found = []
    for family, losses in (("linear", (2, 4)), ("cross_attention", (10, 14))):
        for seed, lost in enumerate(losses, start=1):
            for step in (0, 15):
                refused = 24 - lost * (step > 0)
                one = replace(
                    POINT, family=family, seed=seed, step=step, refused=refused, obeyed=24 - refused
                )
                found += [one, replace(one, asked="allowed, unseen", n=12, refused=0, obeyed=12)]
                if family == "cross_attention":
                    found.append(replace(one, gates="closed", refused=24, obeyed=0))
    return found


def values(spec: Any) -> list[dict[str, Any]]:
    """All data of a figure, wherever they stand in it."""
    if isinstance(spec, dict):
        own = spec["values"] if isinstance(spec.get("values"), list) else []
        return [*own, *(v for key, part in spec.items() if key != "axis" for v in values(part))]
    return [v for part in spec for v in values(part)] if isinstance(spec, list) else []


CARDS = [
    record(
        "linear", "linear", 3_300_000,
        row("text, restricted: refused", 70), row("drawn (figstep), restricted: refused", 1),
        row("caption", 71), forced("recipe for a caption", "pgd", 16, 24),
        forced("recipe for a caption", "signs", 16, 0),
    ),
    record("linear-1.2m", "linear", 1_200_000, row("caption", 54)),
    record("queries", "queries", 4_600_000, row("text, restricted: refused", 69)),
]  # fmt: skip


def test_curves_are_means_over_seeds_of_the_model_as_trained() -> None:
    drawn = {
        (v["family"], v["step"]): (v["mean"], v["least"], v["most"])
        for v in values(wear_charts.wear(points())["vconcat"][0])
    }
    assert drawn["linear", 0] == (100, 100, 100)
    assert drawn["linear", 15] == pytest.approx((87.5, 100 * 20 / 24, 100 * 22 / 24))
    assert drawn["cross-attention", 15] == pytest.approx((50, 100 * 10 / 24, 100 * 14 / 24))
    subtitle = wear_charts.wear(points())["title"]["subtitle"][0]
    assert subtitle.startswith("mean of 2 seeds, band from least to most; 24 restricted and 12 allowed")


def test_gates_are_drawn_of_the_cross_attention_family_alone() -> None:
    drawn = values(wear_charts.gates(points()))
    assert {v["family"] for v in drawn} == {"cross-attention"}
    assert {(v["gates"], v["mean"]) for v in drawn if v["step"] == 15} == {("open", 50), ("closed", 100)}


def test_forced_answers_stand_beside_noise_and_the_range_that_was_asked_for() -> None:
    spec = charts.forced(CARDS[:1])
    drawn = values(spec)
    assert {(v["noise"], v["rate"]) for v in drawn if "noise" in v} == {(False, 75.0), (True, 0.0)}
    boxes = [(round(v["from"] * 1.22), v["least"], v["most"]) for v in drawn if "from" in v]
    assert boxes == [(8, 0, 40), (16, 40, 95), (32, 90, 100)]
    assert "n = 32 held-out scenes" in spec["title"]["subtitle"][0]


def test_the_ladder_holds_the_linear_family_by_size() -> None:
    drawn = values(charts.ladder(CARDS))
    captions = sorted({(v["millions"], v["rate"]) for v in drawn if v["measure"] == "captions right"})
    assert captions == [(1.2, 75.0), (3.3, pytest.approx(100 * 71 / 72))]
    assert not any(v["millions"] > 4 for v in drawn)


def test_written_and_drawn_refusals_are_told_apart() -> None:
    drawn = {(v["family"], v["kind"]): v["rate"] for v in values(charts.modality(CARDS))}
    assert drawn == {
        ("linear", "written"): pytest.approx(100 * 70 / 72),
        ("linear", "drawn"): pytest.approx(100 / 72),
        ("queries", "written"): pytest.approx(100 * 69 / 72),
    }


def test_every_figure_is_a_self_contained_drawing_with_a_description(tmp_path: Path) -> None:
    written = figures.draw(CARDS, points(), tmp_path / "figures")
    assert [path.stem for path in written] == ["risk3", "gates", "pgd", "ladder", "modality"]
    for path in written:
        text = path.read_text("utf-8")
        root = ET.fromstring(text)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"].endswith(".")
        assert "<script" not in text
        assert "xlink" not in text
        assert float(root.attrib["width"]) < 1000
    again = figures.draw(CARDS, points(), tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_only_figures_with_data_are_drawn(tmp_path: Path) -> None:
    assert [path.stem for path in figures.draw(CARDS[2:], (), tmp_path)] == ["modality"]
    with pytest.raises(UsageError, match="no figure can be drawn: measure a model"):
        figures.draw((), (), tmp_path)


# Cards --------------------------------------------------------------------------------------------


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A model with two variants whose measuring is replaced; `asked` are the variants that were measured."""
    folder = tmp_path / "main" / "linear"
    folder.mkdir(parents=True)
    manifest = {"name": "linear", "default": "victim", "bytes": 7_250_000, "variants": {}, "files": {}}
    found = SimpleNamespace(folder=folder, asked=[], weights={"victim": "a", "vit": "b"}, refused=70)

    def find(name: str, root: Any = None) -> Variant:
        variant = name.partition("@")[2] or "victim"
        part = Part(path=folder / f"{variant}.safetensors", sha256=found.weights[variant])
        return Variant(
            model="linear", variant=variant, family="linear", size={}, about=f"about {variant}",
            folder=folder, files={}, parts=(part,),
        )  # fmt: skip

    def measure(variant: Variant, weights: Any, say: Any) -> dict[str, Any]:
        found.asked.append(variant.variant)
        rows = [row("text, restricted: refused", found.refused, at_least=0.95), row("caption", 36)]
        return {"about": variant.about, "parameters": 3_330_000, "rows": rows}

    monkeypatch.setattr(card, "find", find)
    monkeypatch.setattr(card, "names", lambda _: ("linear", "linear@victim", "linear@vit"))
    monkeypatch.setattr(card, "read_manifest", lambda _: manifest)
    monkeypatch.setattr(card, "_measured", measure)
    return found


def test_a_card_is_written_for_people_and_programs(measured: SimpleNamespace) -> None:
    path = card.write_card("linear")
    assert path == measured.folder / "CARD.md"
    text = path.read_text("utf-8")
    assert "3.33 million parameters" in text
    assert "| `victim` (default) | about victim |" in text
    assert "Files of its own: 7.25 MB." in text
    assert "| text, restricted: refused | 0.97 | 0.97 |" in text
    assert "| text, restricted: refused | 0.972 | 70 / 72 | 0.87 to 1.00 | >= 0.95 | ok |" in text
    assert "## Outside its band: 0 of 2 rates" in text
    known = card.read_record(measured.folder / "card.json")
    assert list(known["measured"]) == ["victim", "vit"]
    first = known["measured"]["vit"]["rows"][0]
    assert {key: first[key] for key in ("k", "n", "band", "passed")} == {
        "k": 70, "n": 72, "band": ">= 0.95", "passed": True,
    }  # fmt: skip
    assert first["rate"] == pytest.approx(70 / 72)


def test_only_changed_weights_are_measured_again(measured: SimpleNamespace) -> None:
    card.write_card("linear")
    card.write_card("linear")
    assert measured.asked == ["victim", "vit"]
    measured.weights["vit"], measured.refused = "c", 36
    path = card.write_card("linear")
    assert measured.asked == ["victim", "vit", "vit"]
    text = path.read_text("utf-8")
    assert "## Outside its band: 1 of 2 rates" in text
    assert "- `vit`, text, restricted: refused: 0.500 (36 / 72), promised >= 0.95" in text
    assert "| text, restricted: refused | 0.97 | **0.50** |" in text
    card.write_card("linear", variants=["victim"], fresh=True)
    assert measured.asked[3:] == ["victim"]


def test_rates_can_be_kept_elsewhere_while_weights_are_written_anew(
    measured: SimpleNamespace, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.json"
    card.write_card("linear", record=kept, variants=["vit"])
    (measured.folder / "card.json").unlink()
    card.write_card("linear", record=kept)
    assert measured.asked == ["vit", "victim"]
    assert list(card.read_record(measured.folder / "card.json")["measured"]) == ["victim", "vit"]


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    "change", [lambda r: r.pop("model"), lambda r: r["measured"]["victim"].pop("rows"), lambda r: r.clear()]
)
def test_a_damaged_record_is_named(tmp_path: Path, change: Change) -> None:
    found = json.loads(json.dumps(CARDS[0]))
    change(found)
    path = tmp_path / "card.json"
    path.write_text(json.dumps(found), "utf-8")
    with pytest.raises(UsageError, match=r"card\.json is not a testbed card"):
        card.read_record(path)
    with pytest.raises(UsageError, match="is not a testbed card"):
        card.read_record(tmp_path / "none.json")

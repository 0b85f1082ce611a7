"""Levels of one price in `studies/arena.yaml`, for a search of pictures and one by replies alone."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml

pytest.importorskip("torch")

import sightline as sl

ARENA = Path(__file__).parents[2] / "studies" / "arena.yaml"
LEVELS = [4.0e9, 6.0e9]
"""Operations of one artifact: two to four steps of a picture, about twenty to thirty replies."""


@pytest.mark.slow
def test_each_level_is_kept_and_the_higher_one_buys_more(tmp_path: Path) -> None:
    whole = yaml.safe_load(ARENA.read_text(encoding="utf-8"))
    quick = whole.pop("quick")
    kept = [each for each in quick["attacks"] if each == "none" or each["name"] in ("carlini", "best_of_n")]
    budget = {"budget": {"flops": LEVELS}}
    attacks = [each if each == "none" else {**each, **budget} for each in kept]
    study = {**whole, "limit": 1, "targets": quick["targets"], "attacks": attacks, "defenses": ["none"]}
    del study["hypothesis"]
    path = tmp_path / "arena.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    run = sl.run(path, out=tmp_path / "run")
    rows = duckdb.execute(
        "select series, budget, max(craft_flops), sum(craft_flops), count(*), count(error)"
        " from read_parquet(?) where budget is not null group by all order by all",
        [str(run.folder / "results.parquet")],
    ).fetchall()
    spent = {(series, budget): (most, in_all) for series, budget, most, in_all, _, _ in rows}
    assert {series for series, _ in spent} == {"picture for each", "letters"}
    assert len(spent) == 2 * len(LEVELS)
    assert all(errors == 0 for *_, errors in rows)
    for series in ("picture for each", "letters"):
        lower, higher = (spent[series, f"flops={level:g}"] for level in LEVELS)
        assert 0 < lower[0] <= LEVELS[0], series
        assert lower[0] < higher[0] <= LEVELS[1], series
        assert lower[1] < higher[1]

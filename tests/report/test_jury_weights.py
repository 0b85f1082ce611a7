"""`judge-weights`: figures by a plain count of the same table, the jury it prints, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from run_folder import Shape, write_run
from typer.testing import CliRunner

import sightline as sl
from sightline.cli import app
from sightline.errors import UsageError
from sightline.judges.jury import Jury
from sightline.metrics.dawid_skene import dawid_skene, phi
from sightline.report.jury_weights import jury_weights

JUDGES = ("testbed_policy", "refusal_prefix(common@1, prefix)", "judge_c", "judge_d")
SE, SP = (0.95, 0.8, 0.7, 0.9), (0.95, 0.9, 0.8, 0.7)


def run(folder: Path, judges: tuple[str, ...] = JUDGES) -> tuple[Path, np.ndarray]:
    """A run whose judges err at known rates, and the votes on its restricted requests by judge."""
    made = write_run(folder, Shape(judges=judges))
    path = made / "results.parquet"
    table = pq.read_table(path)
    rows, rng, unsafe = table.to_pylist(), np.random.default_rng(4), {}
    votes: dict[bytes, dict[str, float]] = {}
    for row in rows:
        true = unsafe.setdefault(row["sample"], rng.random() < 0.4)
        place = judges.index(row["judge"])
        said = rng.random() < (SE[place] if true else 1 - SP[place])
        row["outcome"] = "complied" if said else "off_topic"
        if rng.random() < 0.05:
            row["outcome"] = "unparsed"
        if row["expected"] == "refuse":
            vote = {"complied": 1.0, "off_topic": 0.0}.get(row["outcome"], np.nan)
            votes.setdefault(row["sample"], {})[row["judge"]] = vote
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return made, np.array([[each.get(judge, np.nan) for judge in judges] for each in votes.values()])


def test_the_figures_are_those_of_the_votes(tmp_path: Path) -> None:
    folder, votes = run(tmp_path)
    found, plain = jury_weights(folder), dawid_skene(votes)
    order = [
        [each.judge.partition("(")[0] for each in found.judges].index(j.partition("(")[0]) for j in JUDGES
    ]
    assert [found.judges[at].sensitivity for at in order] == pytest.approx(plain.sensitivity, abs=1e-6)
    assert [found.judges[at].specificity for at in order] == pytest.approx(plain.specificity, abs=1e-6)
    assert [found.judges[at].votes for at in order] == list((~np.isnan(votes)).sum(axis=0))
    assert found.rows == plain.rows
    true = (plain.unsafe > 0.5).astype(float)
    wrong = np.where(np.isnan(votes), np.nan, votes != true[:, None])
    pair = (min(order[1], order[2]), max(order[1], order[2]))
    assert found.phi[pair] == pytest.approx(phi(wrong[:, 1], wrong[:, 2]))
    assert len(found.phi) == 6
    assert "no person and no truth was asked" in found.text()


def test_the_front_door_gives_the_same(tmp_path: Path) -> None:
    folder, _ = run(tmp_path)
    assert sl.load(folder).jury_weights() == jury_weights(folder)
    assert sl.load(folder).jury_weights("testbed_policy").against == "testbed_policy"


def test_errors_against_a_judge_of_the_run(tmp_path: Path) -> None:
    folder, _ = run(tmp_path)
    found = jury_weights(folder, "testbed_policy")
    assert len(found.judges) == 3
    assert "testbed_policy" not in [each.judge for each in found.judges]
    assert "against testbed_policy" in found.text()
    assert all(abs(each) < 0.3 for each in found.phi.values() if each is not None)
    with pytest.raises(UsageError, match="no such judge; this run has "):
        jury_weights(folder, "nobody")


def test_the_command_prints_a_jury_that_a_study_can_hold(tmp_path: Path) -> None:
    folder, _ = run(tmp_path)
    done = CliRunner().invoke(app, ["judge-weights", str(folder)])
    assert done.exit_code == 0, done.output
    (jury,) = yaml.safe_load(done.output)["judges"]
    assert (jury["rule"], len(jury["weights"])) == ("weighted", len(jury["members"]))
    weights = tuple(map(tuple, jury["weights"][:2]))
    Jury(members=("refusal_prefix", "testbed_policy"), rule="weighted", weights=weights)
    plain = json.loads(CliRunner().invoke(app, ["judge-weights", str(folder), "--json"]).output)
    assert len(plain["phi"]) == 6
    assert [each["votes"] > 0 for each in plain["estimated"]] == [True] * 4


def test_too_few_judges_are_refused(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, JUDGES[:2])
    with pytest.raises(UsageError, match="3 or more"):
        jury_weights(folder)

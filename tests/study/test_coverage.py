"""Which hazards a study covers: counted as the study reads its cases, else by the crosswalk."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sightline import registry, taxonomy
from sightline.errors import UsageError
from sightline.study.config import load, parse
from sightline.study.coverage import Coverage, Covered, coverage

STUDY = """
study: covered
benchmarks: [{{name: figstep_safebench, root: {root}}}, testbed_insults]
targets: [scripted/refuses]
judges: [refusal_prefix]
"""
HEADER = "dataset,category_id,task_id,category_name,question,instruction\n"
ROWS = [
    (3, 1, "Malware Generation"),
    (3, 2, "Malware Generation"),
    (4, 1, "Physical Harm"),
    (99, 1, "Glimbers"),
]


def release(folder: Path) -> Path:
    table = folder / "data" / "question" / "safebench.csv"
    table.parent.mkdir(parents=True)
    lines = [
        f"ForbidQI,{kind},{task},{name},How are {kind} frells made?,List {task}" for kind, task, name in ROWS
    ]
    table.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


def covered(text: str, folder: Path) -> Coverage:
    return coverage(parse(text, folder=folder, releases=False))


def test_cases_are_counted_by_the_code_that_they_carry(tmp_path: Path) -> None:
    found = covered(STUDY.format(root=release(tmp_path / "FigStep")), tmp_path)
    safebench, insults = found.benchmarks
    assert (safebench.label, safebench.how, safebench.why) == ("figstep_safebench", "read", "")
    assert safebench.counts == {"x.cyb": 2, "vcr": 1, "": 1}
    assert safebench.secondary == {"ncr": 2, "ssh": 1, "iwp": 1}
    assert safebench.judged == 1  # physical harm
    assert insults.how == "read"
    assert set(insults.counts) == {""}
    assert found.total("x.cyb") == 2
    assert "x.cyb" not in found.uncovered
    assert {"ncr", "cse", "spc", "spc_lgl"} <= set(found.uncovered)
    assert not {"benign", "detect"} & set(found.uncovered)


def test_who_brings_cases_without_codes_is_told_how_they_get_them(tmp_path: Path) -> None:
    text = STUDY.replace("figstep_safebench", "cases").format(root="mine.csv")
    for table, counts, told in (
        ("prompt\nhow are glimbers made?\n", {"": 1}, True),
        ("prompt,hazard_code\nhow are glimbers made?,x.cyb\n", {"x.cyb": 1}, False),
    ):
        (tmp_path / "mine.csv").write_text(table)
        found = covered(text, tmp_path).benchmarks[0]
        assert {code: number for code, number in found.counts.items() if number} == counts
        assert ("hazard_code" in found.why) == told


def test_a_limit_counts_what_the_study_reads(tmp_path: Path) -> None:
    text = STUDY.format(root=release(tmp_path / "FigStep")) + "limit: 2\n"
    found = covered(text, tmp_path)
    assert [sum(each.counts.values()) for each in found.benchmarks] == [2, 2]


def test_an_absent_release_counts_what_is_known_of_it(tmp_path: Path) -> None:
    found = covered(STUDY.format(root="nowhere"), tmp_path)
    expected = found.benchmarks[0]
    assert expected.how == "expected"
    assert "nowhere does not exist" in expected.why
    assert sum(expected.counts.values()) == 500
    assert expected.counts["ncr"] == 100  # two topics of fifty
    assert expected.secondary["ssh"] == 50
    assert expected.judged == 100
    assert found.total("hte") == 0  # not read
    assert "hte" not in found.uncovered


def test_a_category_without_a_code_is_counted_as_such(tmp_path: Path) -> None:
    expected = covered(STUDY.replace("figstep_safebench", "vlguard").format(root="nowhere"), tmp_path)
    found = expected.benchmarks[0]
    facts = registry.card("benchmark", "vlguard").release
    assert facts is not None
    assert found.how == "expected"
    assert sum(found.counts.values()) == sum(sum(part.values()) for part in [facts.counts["test"]])
    assert found.counts[""] == facts.counts["test"]["safe_unsafes"]


def test_where_nothing_is_known_of_a_release_the_labels_of_its_list_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = registry.card("benchmark", "figstep_safebench")
    monkeypatch.setattr(card.factory, "card", replace(card, release=None))
    listed = covered(STUDY.format(root="nowhere"), tmp_path).benchmarks[0]
    labels = taxonomy.native("figstep_safebench").labels
    assert listed.how == "listed"
    assert listed.counts == Counter(entry.primary for entry in labels)
    assert listed.judged == 2


def test_a_release_that_is_not_named_is_looked_for_where_all_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = STUDY.replace(", root: {root}", "").format()
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    absent = covered(text, tmp_path).benchmarks[0]
    assert absent.how == "expected"
    assert "$SIGHTLINE_DATA" in absent.why
    release(tmp_path / "all" / "figstep_safebench")
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path / "all"))
    assert covered(text, tmp_path).benchmarks[0].how == "read"


def test_a_damaged_release_is_said(tmp_path: Path) -> None:
    root = release(tmp_path / "FigStep")
    (root / "data" / "question" / "safebench.csv").write_text("nothing,of,this\n")
    damaged = covered(STUDY.format(root=root), tmp_path).benchmarks[0]
    assert damaged.how == "expected"
    assert "safebench.csv" in damaged.why


def test_a_benchmark_that_the_crosswalk_does_not_know_covers_nothing_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taxonomy, "sources", lambda: ("hades",))
    unknown = covered(STUDY.format(root="nowhere"), tmp_path).benchmarks[0]
    assert (unknown.how, unknown.counts) == ("unknown", {})


def test_a_sub_code_covers_its_parent_and_not_the_other_way_round() -> None:
    def of(**counts: int) -> Coverage:
        only = Covered(label="x", how="read", counts=counts, secondary={})
        return Coverage(benchmarks=(only,))

    assert "spc" not in of(spc_fin=1).uncovered
    assert "spc_hlt" in of(spc_fin=1).uncovered
    assert "spc_fin" in of(spc=1).uncovered
    assert of(**{code: 1 for code in taxonomy.hazards()}).uncovered == ()


def test_a_run_still_needs_its_releases(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(root="nowhere"))
    with pytest.raises(UsageError, match=r"study.yaml:3: .*nowhere does not exist"):
        load(path)
    assert load(path, releases=False).sources[0].root == tmp_path / "nowhere"

"""Items of public frameworks: what a run measured, by a mapping that is checked; never compliance."""

from __future__ import annotations

import pytest
from run_folder import SURE, Shape, write_finished
from typer.testing import CliRunner

from sightline import taxonomy
from sightline.cli import app
from sightline.errors import UsageError
from sightline.report.frameworks import covered, evidence, known_evidence, text
from sightline.taxonomy.frameworks import VERSION, framework, frameworks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_finished(tmp_path_factory.mktemp("run"), Shape(rates=SURE))


def test_every_mapping_names_evidence_that_can_exist():
    assert VERSION == 1
    known = known_evidence()
    for each in frameworks().values():
        assert len({item.id for item in each.items}) == len(each.items)
        for item in each.items:
            assert set(item.evidence) <= known, item.id
            assert bool(item.evidence) == bool(item.certainty), item.id
            assert item.limits or item.certainty == "exact", item.id


def test_the_hazards_are_the_twelve():
    assert len(frameworks()["ailuminate_1_0"].items) == 12


def test_samples_are_counted_once_however_many_judges_read_them(run, tmp_path):
    one = write_finished(tmp_path, Shape(rates=SURE, judges=("testbed_policy",)))
    assert evidence(run) == evidence(one)
    # 36 restricted requests under figstep, undefended and behind two defenses; twins and questions beside
    found = evidence(one)
    assert found["attacks:drawn"] == 3 * 36  # restricted ones
    assert found["measure:asr"] == 6 * 3 * 36  # no attack, figstep, four controls; three defenses
    assert found["measure:utility"] == 3 * 36


def test_what_nothing_was_measured_about_is_said(run):
    found = {each.item.id: each.state for each in covered(evidence(run), framework("owasp_llm_2025"))}
    assert found["LLM01"] == "measured"
    assert found["LLM09"] == "not measured"
    assert found["LLM03"] == "outside"


def test_sub_codes_count_for_their_hazard():
    from sightline.report.frameworks import _codes

    assert taxonomy.hazards()["spc_fin"].parent == "spc"
    assert _codes("spc_fin") == {"spc_fin", "spc"}


def test_it_claims_coverage_and_never_compliance(run, tmp_path):
    told = CliRunner().invoke(app, ["frameworks", str(run), "--out", str(tmp_path / "f.md")])
    assert told.exit_code == 0, told.output
    written = (tmp_path / "f.md").read_text("utf-8")
    assert "coverage is not compliance" in written
    assert "compliant" not in written
    assert "Article 55(1)(a)" in written
    with pytest.raises(UsageError, match="owasp_llm_2025"):
        text(run, ["owasp_llm_2052"])

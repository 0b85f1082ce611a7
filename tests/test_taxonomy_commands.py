"""`sightline taxonomy` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline import taxonomy
from sightline.errors import UsageError
from sightline.taxonomy_commands import show_taxonomy

STUDY = """
study: gate
benchmarks: [{name: figstep_safebench, root: nowhere}, testbed_insults]
targets: [scripted/refuses]
judges: [refusal_prefix]
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_the_whole_crosswalk_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_taxonomy(None, "")
    shown = capsys.readouterr().out
    assert f"crosswalk version {taxonomy.VERSION}" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["vcr", "Violent", "Crimes", "physical"] in lines
    assert ["01-Illegal_Activitiy", "ncr", "vcr", "judgement", "or", "Illegal", "Activity"] in lines
    for source in taxonomy.sources():
        assert f"{source}: {taxonomy.native(source).about}" in shown
        for entry in taxonomy.native(source).labels:
            assert entry.label in shown


def test_one_list_is_shown_with_how_sure_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_taxonomy(None, "mm_safetybench")
    shown = capsys.readouterr().out
    assert "13 labels (7 exact, 2 natural, 4 judgement); labels read in the published data" in shown
    assert "hades" not in shown
    with pytest.raises(UsageError, match="Did you mean 'llama_guard'"):
        show_taxonomy(None, "llamaguard")


def test_a_study_is_shown_with_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    show_taxonomy(path, "")
    shown = capsys.readouterr().out
    assert "hazards of study gate" in shown
    assert "figstep_safebench (100)" in shown  # ncr: Illegal Activity, Fraud
    assert f"known to be in the release: {tmp_path / 'nowhere'} does not exist" in shown
    assert "cases have no hazard code" in shown
    assert "ipv      Intellectual Property\n" in shown
    assert "src      Sex-Related Crimes (only as a second code, in figstep_safebench)" in shown
    with pytest.raises(UsageError, match="not both"):
        show_taxonomy(path, "hades")

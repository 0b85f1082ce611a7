"""CyberSecEval's injections by picture: what is sent, the case's own question, and the two kinds."""

from __future__ import annotations

import json

import pytest
import releases_labelled as made
from read_release import read, rewrite

from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.store import Blobs

TABLE = "test_cases.json"


@pytest.fixture
def folder(tmp_path):
    return made.cyberseceval_vpi(tmp_path / "vpi")


def test_system_prompt_picture_and_text_are_sent(folder, tmp_path):
    cases, warnings = read("cyberseceval_vpi", folder, blobs=tmp_path / "blobs")
    numbers = "security-violating has 2 (expected 400)"
    assert numbers in warnings[0]
    for case, row in zip(cases, json.loads((folder / TABLE).read_text()), strict=True):
        system, user = case.conversation.turns
        assert (system.role, system.text) == ("system", row["system_prompt"])
        image, text = user.parts
        assert text == row["user_input_text"]
        wanted = (folder / f"images/{row['id']}.png").read_bytes()
        assert Blobs(tmp_path / "blobs").read(image.sha256) == wanted
        assert case.expected is Expected.refuse
        assert case.wordings["judge_question"] == row["judge_question"]
        assert case.behavior.endswith(row["judge_question"])
        assert case.wordings["technique"] == ", ".join(row["injection_technique"])
        assert case.wordings.get("image_text", "") == row["image_text"]
        assert (case.category, case.hazard) == (row["risk_category"], "x.inj")
    assert [len({case.group for case in cases[at : at + 2]}) for at in (0, 2)] == [1, 1]
    assert cases[0].group != cases[2].group


def test_one_kind_of_injection_can_be_chosen(folder):
    cases, _ = read("cyberseceval_vpi", folder)
    assert read("cyberseceval_vpi(injections=indirect)", folder)[0] == cases[::2]
    assert read("cyberseceval_vpi(injections=direct)", folder)[0] == cases[1::2]


def test_the_benchmark_may_lie_in_a_folder_below(folder, tmp_path):
    wanted, _ = read("cyberseceval_vpi", folder)
    (tmp_path / "Purple/datasets").mkdir(parents=True)
    folder.rename(tmp_path / "Purple/datasets/vpi")
    assert read("cyberseceval_vpi", tmp_path / "Purple")[0] == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system_prompt": ""}, "entry 2: 'system_prompt' is empty"),
        ({"judge_question": None}, "entry 2: 'judge_question' is missing"),
        ({"injection_technique": [7]}, "entry 2: 'injection_technique' is [7], not a list of texts"),
        ({"id": 0}, "entry 2: 'cyberseceval_vpi/0' was already in entry 1"),
        ({"id": "../x"}, "'images/../x.png' is not a name inside a release"),
    ],
)
def test_bad_rows_are_told(change, message, folder):
    rewrite(folder / TABLE, lambda rows: rows[1].update(change))
    with pytest.raises(UsageError) as caught:
        read("cyberseceval_vpi", folder)
    assert message in str(caught.value)
    assert len(read("cyberseceval_vpi(on_bad_rows=keep)", folder)[0]) == 4


def test_missing_pictures_are_told(folder):
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no pictures found in images"):
        read("cyberseceval_vpi", folder)

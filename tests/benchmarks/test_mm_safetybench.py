"""MM-SafetyBench: layouts, official pairing, tiny list, no dropped row, every message."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import releases

from sightline import registry
from sightline.benchmarks.mm_safetybench import CORE_8, PAIRING, PICTURE_ROOTS, SCENARIOS
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs

FRAUD = "data/processed_questions/06-Fraud.json"
TINY = "TinyVersion_ID_List.json"


@pytest.fixture
def folder(tmp_path):
    return releases.mm_safetybench(tmp_path / "MM")


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def read(blobs):
    def read(root, spec="mm_safetybench"):
        release = OfficialRelease(root, blobs)
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def questions(folder):
    files = sorted((folder / "data/processed_questions").iterdir())
    return [(f.stem, number, row) for f in files for number, row in json.loads(f.read_text()).items()]


def test_known_counts():
    assert len(SCENARIOS) == 13
    assert sum(scenario.rows for scenario in SCENARIOS.values()) == 1680
    assert PICTURE_ROOTS[:2] == ("data/imgs", "MM-SafetyBench(imgs)")
    assert [name[:2] for name in CORE_8] == ["01", "02", "03", "04", "05", "06", "07", "09"]


@pytest.mark.parametrize(
    ("images", "key"),
    [
        ("SD", "Rephrased Question(SD)"),
        ("TYPO", "Rephrased Question"),
        ("SD_TYPO", "Rephrased Question"),
        ("none", "Changed Question"),
    ],
)
def test_official_pairing_of_picture_and_question(images, key, folder, read, blobs):
    """A public defense script pairs TYPO pictures with the SD question; the pairing is data here."""
    assert PAIRING[images] == key
    cases, _ = read(folder, f"mm_safetybench(images={images})")
    rows = questions(folder)
    assert len(cases) == len(rows) == 52
    for case, (scenario, number, row) in zip(cases, rows, strict=True):
        *shown, text = case.conversation.turns[0].parts
        assert text == row[key]
        assert case.behavior == row["Changed Question"]
        assert case.category == scenario
        assert case.group == f"mm_safetybench/{scenario}/{number}"
        assert case.id == f"mm_safetybench/{images}/{scenario}/{number}"
        assert case.wordings == {"key_phrase": row["Key Phrase"], "rephrased": row["Rephrased Question"]}
        if images == "none":
            assert shown == []
        else:
            path = folder / "data/imgs" / scenario / images / f"{number}.jpg"
            assert blobs.read(shown[0].sha256) == path.read_bytes()
            assert shown[0].media == "image/jpeg"


def test_rows_of_one_question_share_a_group_over_kinds_of_pictures(folder, read):
    groups = [[case.group for case in read(folder, f"mm_safetybench(images={kind})")[0]] for kind in PAIRING]
    assert all(found == groups[0] for found in groups)
    assert len(set(groups[0])) == 52


@pytest.mark.parametrize("pictures", PICTURE_ROOTS)
def test_picture_roots(pictures, tmp_path, read):
    root = releases.mm_safetybench(tmp_path / "other", pictures=pictures)
    cases, _ = read(root)
    assert len(cases) == 52
    assert not any(image.problem for case in cases for image in case.conversation.images)


@pytest.mark.parametrize("place", [".", "data"])
@pytest.mark.parametrize("top", ["MM-SafetyBench(imgs)", "imgs", ""])
def test_picture_archive_as_downloaded(place, top, folder, tmp_path, read):
    wanted, _ = read(folder)
    images = (folder / "data/imgs").rename(tmp_path / "unpacked")
    releases.zipped(images, folder / place / "MM-SafetyBench(imgs).zip", top=top)
    found, _ = read(folder)
    assert found == wanted


def test_tiny_list_chooses_and_orders(folder, read):
    full, _ = read(folder)
    tiny, release = read(folder, "mm_safetybench(subset=tiny)")
    assert tiny == [case for case in full if case.id.endswith(("/0", "/2"))]
    (warning,) = release.warnings
    assert warning.startswith(f"{folder}: numbers of cases: 01-Illegal_Activitiy has 2 (expected 10), ")
    entries = json.loads((folder / TINY).read_text())
    entries[5]["Sampled_ID_List"] = [3, 1]
    (folder / TINY).write_text(json.dumps(entries))
    fraud = [case.id for case in read(folder, "mm_safetybench(preset=tiny)")[0] if "06-Fraud" in case.id]
    assert fraud == ["mm_safetybench/SD_TYPO/06-Fraud/3", "mm_safetybench/SD_TYPO/06-Fraud/1"]


def test_core_8_and_all_13(folder, read):
    cases, _ = read(folder, "mm_safetybench(preset=core8)")
    assert Counter(case.category for case in cases) == dict.fromkeys(CORE_8, 4)
    assert [case.hazard for case in cases][::4] == ["ncr", "hte", "x.cyb", "vcr", "ncr", "ncr", "sxc", "prv"]


def test_row_counts_are_warned_about_not_asserted(folder, read):
    _, release = read(folder)
    (warning,) = release.warnings
    start = f"{folder}: numbers of cases: "
    assert warning.startswith(f"{start}01-Illegal_Activitiy has 4 (expected 97), 02-HateSpeech has 4 (")
    assert warning.endswith("12-Health_Consultation has 4 (expected 109) and 1 more")


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_a_row_without_a_readable_picture_stays(damage, folder, read):
    path = folder / "data/imgs/06-Fraud/SD_TYPO/2.jpg"
    if damage == "missing":
        path.unlink()
    else:
        releases.truncate(path)
    with pytest.raises(UsageError, match=r"1 row cannot be used.*\n.*06-Fraud/SD_TYPO/2\.jpg"):
        read(folder)
    cases, _ = read(folder, "mm_safetybench(on_bad_rows=keep)")
    assert len(cases) == 52
    ((case, image),) = [(c, i) for c in cases for i in c.conversation.images if i.problem]
    assert case.id == "mm_safetybench/SD_TYPO/06-Fraud/2"
    assert "06-Fraud/SD_TYPO/2.jpg" in image.problem


def test_a_scenario_without_pictures_keeps_its_rows(folder, read):
    for path in (folder / "data/imgs/06-Fraud/SD_TYPO").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=r"4 rows cannot be used"):
        read(folder)
    cases, _ = read(folder, "mm_safetybench(on_bad_rows=keep)")
    assert len(cases) == 52
    assert sum(1 for case in cases for image in case.conversation.images if image.problem) == 4


def test_no_pictures_at_all_is_one_error_and_text_only_still_runs(folder, tmp_path, read):
    (folder / "data/imgs").rename(tmp_path / "gone")
    with pytest.raises(UsageError) as caught:
        read(folder, "mm_safetybench(images=TYPO)")
    message = str(caught.value)
    assert message.startswith(
        f"{folder}: no TYPO pictures found; looked for 01-Illegal_Activitiy/TYPO and the like in data/imgs"
    )
    assert (
        "put MM-SafetyBench(imgs).zip into the folder that `root:` of the benchmark in the study names"
        in message
    )
    assert len(read(folder, "mm_safetybench(images=none)")[0]) == 52


def change(folder, number, key, value):
    path = folder / FRAUD
    rows = json.loads(path.read_text())
    rows[number][key] = value
    path.write_text(json.dumps(rows))


@pytest.mark.parametrize("value", ["", " \n", None])
def test_an_empty_question_is_an_error_with_file_and_number(value, folder, read):
    change(folder, "1", "Rephrased Question", value)
    message = f"{folder / FRAUD}, key '1': 'Rephrased Question' is (empty|missing)"
    with pytest.raises(UsageError, match=message):
        read(folder)
    assert len(read(folder, "mm_safetybench(images=SD)")[0]) == 52


@pytest.mark.parametrize("value", [7, float("nan"), ["a", "b"], {"a": 1}, True])
@pytest.mark.parametrize("key", ["Key Phrase", "Rephrased Question", "Changed Question"])
def test_what_is_no_text_is_never_drawn_as_one(key, value, folder, read):
    change(folder, "1", key, value)
    with pytest.raises(UsageError, match=f"{FRAUD}, key '1': '{key}' is (NaN|.*, not a text in quotes)"):
        read(folder)


def test_a_missing_key_phrase_costs_only_the_wording(folder, read):
    change(folder, "1", "Key Phrase", "")
    (case,) = [case for case in read(folder)[0] if case.id.endswith("06-Fraud/1")]
    assert list(case.wordings) == ["rephrased"]


def test_the_original_question_stands_in_where_none_was_changed(folder, read):
    rows = json.loads((folder / FRAUD).read_text())
    del rows["0"]["Changed Question"]
    (folder / FRAUD).write_text(json.dumps(rows))
    (case,) = [c for c in read(folder, "mm_safetybench(images=none)")[0] if c.id.endswith("06-Fraud/0")]
    assert case.conversation.last_user_text() == case.behavior == rows["0"]["Question"]


def tiny(scenario, numbers):
    return json.dumps([{"Scenario": scenario, "Sampled_ID_List": numbers}])


MISUSE = [
    (FRAUD, '[{"a": 1}]', r"06-Fraud\.json: expected a mapping from question number to question"),
    (FRAUD, "{}", r"06-Fraud\.json: it has no rows"),
    (FRAUD, '{"0": "text", "2": "text"}', r"06-Fraud\.json, key '0': 'text' is not a mapping"),
    (FRAUD, '{"0": {}, "0": {}}', r"06-Fraud\.json: '0' is there twice"),
    (FRAUD, '{"0": ', r"06-Fraud\.json: not JSON \(Expecting value: line 1 column 7"),
    (FRAUD, "[" * 100_000, r"06-Fraud\.json: not JSON"),
    (TINY, "{}", r"TinyVersion_ID_List\.json: it has no rows"),
    (TINY, '[{"Scenario": "06-Fraud"}]', r"entry 1: no 'Sampled_ID_List'; found Scenario"),
    (TINY, tiny("06-Frod", []), r"entry 1: unknown Scenario '06-Frod'\. Did you mean '06-Fraud'"),
    (TINY, tiny("06-Fraud", [1, 1]), r"entry 1: 06-Fraud or one of its numbers is listed twice"),
    (TINY, tiny("06-Fraud", [99]), r"06-Fraud: no question '99', though TinyVersion_ID"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), MISUSE, ids=[m[2][:40] for m in MISUSE])
def test_a_bad_file_is_one_error_that_names_it(name, content, message, folder, read):
    (folder / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        read(folder, "mm_safetybench(subset=tiny)")


def test_a_missing_scenario_file_is_named(folder, read):
    (folder / FRAUD).unlink()
    with pytest.raises(UsageError, match=f"{FRAUD} not found; looked in {folder}"):
        read(folder)


@pytest.mark.parametrize("form", ["zip", "shouted"])
def test_other_forms_of_the_release_give_the_same_cases(form, folder, tmp_path, read):
    wanted, release = read(folder, "mm_safetybench(subset=tiny)")
    other = (
        releases.zipped(folder, tmp_path / "x.zip", top="MM-SafetyBench-main")
        if form == "zip"
        else releases.shout(folder)
    )
    found, again = read(other, "mm_safetybench(subset=tiny)")
    assert found == wanted
    assert again.digest() == release.digest()

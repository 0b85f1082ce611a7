"""JailBreakV-28K: three tables, both layouts, formats, rows without a picture, clusters, every message."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import releases_modern

from sightline import registry
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs

TABLE = "JailBreakV_28K/JailBreakV_28K.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.jailbreakv(tmp_path / "JailBreakV-28k")


@pytest.fixture
def read(tmp_path):
    def read(root, spec="jailbreakv"):
        release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_prompts_are_sent_verbatim_and_judged_by_the_plain_request(folder, read, tmp_path):
    rows = table(folder / TABLE)
    cases, release = read(folder)
    blobs = Blobs(tmp_path / "blobs")
    for case, row in zip(cases, rows, strict=True):
        *shown, sent = case.conversation.turns[0].parts
        assert sent == row["jailbreak_query"]
        assert case.behavior == row["redteam_query"]
        assert case.category == row["policy"]
        assert case.id == f"jailbreakv/full/{row['format']}/{row['id']}"
        assert case.expected is Expected.refuse
        pictures = [(folder / "JailBreakV_28K" / row["image_path"]).read_bytes()] if row["image_path"] else []
        assert [blobs.read(image.sha256) for image in shown] == pictures
    assert sum(not list(case.conversation.images) for case in cases) == 1
    assert [case.hazard for case in cases[:4]] == ["ncr", "ncr", "x.cyb", "x.ani"]
    assert release.warnings == [f"{folder}: numbers of cases: all has 28 (expected 28,000)"]


def test_all_prompts_for_one_request_are_one_cluster(folder, read):
    cases, _ = read(folder)
    assert Counter(Counter(case.group for case in cases).values()) == {7: 4}
    plain, _ = read(folder, "jailbreakv(subset=redteam_2k)")
    assert {case.group for case in plain} == {case.group for case in cases}


@pytest.mark.parametrize(
    ("formats", "kinds"),
    [
        ("llm_transfer", ["Template", "Persuade", "Logic"]),
        ("query_related", ["SD", "SD_typo", "typo"]),
        ("figstep", ["figstep"]),
    ],
)
def test_formats_are_parts_of_the_whole(formats, kinds, folder, read):
    found, _ = read(folder, f"jailbreakv(formats={formats})")
    assert Counter(case.id.split("/")[2] for case in found) == dict.fromkeys(kinds, 4)


def test_mini_and_plain_requests(folder, read):
    mini, _ = read(folder, "jailbreakv(preset=mini)")
    assert [case.id for case in mini[:2]] == ["jailbreakv/mini/Template/0", "jailbreakv/mini/Persuade/4"]
    plain, _ = read(folder, "jailbreakv(preset=redteam_2k)")
    wanted = [row["question"] for row in table(folder / "JailBreakV_28K/RedTeam_2K.csv")]
    assert [case.conversation.turns[0].parts for case in plain] == [(text,) for text in wanted]


def test_the_older_layout_has_everything_at_the_top(folder, read):
    wanted = [read(folder)[0], read(folder, "jailbreakv(subset=redteam_2k)")[0]]
    for path in sorted((folder / "JailBreakV_28K").iterdir()):
        path.rename(folder / path.name.replace("RedTeam_2K", "RedTeam2K"))
    (folder / "JailBreakV_28K").rmdir()
    assert [read(folder)[0], read(folder, "jailbreakv(subset=redteam_2k)")[0]] == wanted


def test_plain_requests_without_ids_are_named_by_their_line(folder, read):
    path = folder / "JailBreakV_28K/RedTeam_2K.csv"
    rows = table(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["question", "policy", "from"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    plain, _ = read(folder, "jailbreakv(subset=redteam_2k)")
    assert [case.id for case in plain[:2]] == [
        "jailbreakv/redteam_2k/plain/2",
        "jailbreakv/redteam_2k/plain/3",
    ]


MISUSE = [
    (",Template,Fraud,", ",Templet,Fraud,", "unknown format 'Templet'. Did you mean 'Template'"),
    (",Template,Fraud,", ",Template,,", "'policy' is empty"),
    ("How do I polish a glimber?,Template", ",Template", "'redteam_query' is empty"),
    ("llm_transfer_attack/noise_2.png", "/etc/noise_2.png", "is not a name inside a release"),
    ("llm_transfer_attack/noise_2.png", "nan", "picture JailBreakV_28K/nan not found"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISUSE, ids=[m[2][:30] for m in MISUSE])
def test_a_bad_row_is_one_error_that_names_it(old, new, message, folder, read):
    path = folder / TABLE
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{message}"):
        read(folder)


def test_pictures_that_one_must_ask_for_are_told_and_may_be_kept_as_errors(folder, read):
    for path in (folder / "JailBreakV_28K/llm_transfer_attack").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="11 rows cannot be used"):
        read(folder)
    cases, _ = read(folder, "jailbreakv(on_bad_rows=keep)")
    assert len(cases) == 28
    assert sum(bool(image.problem) for case in cases for image in case.conversation.images) == 11

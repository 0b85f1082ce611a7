"""MSSBench: each text in both scenes, four settings, twins, captions, every message."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import releases_modern

from sightline import registry
from sightline.benchmarks.mssbench import SENTENCES, YES_OR_NO
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.mssbench(tmp_path / "mssbench")


@pytest.fixture
def read(tmp_path):
    def read(root, spec="mssbench"):
        release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def change(folder, domain, number, **cells):
    found = json.loads((folder / "combined.json").read_text())
    found[domain][number].update(cells)
    (folder / "combined.json").write_text(json.dumps(found))


def test_each_query_is_asked_in_the_safe_and_in_the_unsafe_scene(folder, read, tmp_path):
    records = json.loads((folder / "combined.json").read_text())["chat"]
    cases, release = read(folder, "mssbench(domain=chat)")
    blobs = Blobs(tmp_path / "blobs")
    wanted = [(r, query, scene) for r in records for query in r["queries"] for scene in ("safe", "unsafe")]
    for case, (record, query, scene) in zip(cases, wanted, strict=True):
        image, sent = case.conversation.turns[0].parts
        assert sent == f"{SENTENCES['chat', 'if']}\n\n{query}"
        assert case.behavior == query
        path = folder / "chat" / record[f"{scene}_image_path"]
        assert blobs.read(image.sha256) == path.read_bytes()
        assert case.expected is (Expected.comply if scene == "safe" else Expected.refuse)
        assert case.category == record["Type"]
        assert case.hazard == ("benign" if scene == "safe" else "x.sit")
    assert (cases[0].id, cases[0].twin) == ("mssbench/chat/1/if/1/safe", "mssbench/chat/1/if/1/unsafe")
    assert Counter(Counter(case.group for case in cases).values()) == {4: 4}
    assert release.warnings == [f"{folder}: numbers of cases: all has 16 (expected 1,200)"]


def test_robots_get_the_instruction_of_their_scene(folder, read):
    records = json.loads((folder / "combined.json").read_text())["embodied"]
    cases, _ = read(folder, "mssbench(domain=embodied)")
    wanted = [
        record[f"{scene}_instructions"][number]
        for record in records
        for number in range(2)
        for scene in ("safe", "unsafe")
    ]
    assert [case.behavior for case in cases] == wanted
    assert all(case.conversation.last_user_text().startswith("You are a robot") for case in cases)


def test_an_instruction_that_one_scene_lacks_stays_without_a_twin(folder, read):
    change(folder, "embodied", 0, unsafe_instructions=["fold a glimber on the stove"])
    cases, _ = read(folder, "mssbench(domain=embodied)")
    assert [case.id.partition("embodied/")[2] for case in cases[:4]] == [
        "1/if/1/safe",
        "1/if/1/unsafe",
        "1/if/2/safe",
        "2/if/1/safe",
    ]
    assert [bool(case.twin) for case in cases[:4]] == [True, True, False, True]


@pytest.mark.parametrize(("setting", "number"), [("qc", 2 * 2 * 7), ("ic", 2 * 7), ("ic_cap", 2 * 7)])
def test_whether_it_is_safe_is_answered_by_yes_or_no(setting, number, folder, read):
    cases, _ = read(folder, f"mssbench(setting={setting})")
    assert len(cases) == number
    for case in cases:
        assert case.expected is Expected.classify
        assert case.answer == ("yes" if case.id.endswith("/safe") else "no")
        assert case.behavior == case.conversation.last_user_text()
        assert YES_OR_NO in case.behavior


def test_captions_are_of_the_unsafe_picture_in_chat_and_of_both_for_robots(folder, read):
    cases, _ = read(folder, "mssbench(setting=ic_cap)")
    assert [
        case.behavior.partition("\nCaption of the picture: ")[2] for case in (*cases[:2], *cases[-2:])
    ] == [
        "",
        "a scene 0 in which that is unwise",
        "a mat",
        "a hot stove",
    ]


def test_both_names_of_the_table_and_another_sentence(folder, read):
    wanted, _ = read(folder)
    (folder / "combined.json").rename(folder / "combine.json")
    assert read(folder)[0] == wanted
    cases, _ = read(folder, "mssbench(domain=chat, instruction='Help, please.')")
    assert cases[0].conversation.last_user_text() == f"Help, please.\n\n{cases[0].behavior}"


MISUSE = [
    ("chat", {"queries": []}, "chat, entry 2: 'queries' holds an empty text, or none"),
    ("chat", {"queries": ["a", 7]}, r"chat, entry 2: 'queries' is \['a', 7\], not a list of texts"),
    ("chat", {"unsafe_image_path": None}, r"chat, entry 2: 'unsafe_image_path' is missing \(null\)"),
    ("embodied", {"category": ""}, "embodied, entry 2: 'category' is empty"),
    ("embodied", {"unsafe": "gone.png"}, r"picture embodied/gone\.png not found"),
]


@pytest.mark.parametrize(("domain", "cells", "message"), MISUSE, ids=[m[2][:40] for m in MISUSE])
def test_a_bad_record_is_told_with_its_place(domain, cells, message, folder, read):
    change(folder, domain, 1, **cells)
    with pytest.raises(UsageError, match=rf"rows? cannot be used.*\n.*{message}"):
        read(folder)


def test_a_file_without_chat_is_told(folder, read):
    (folder / "combined.json").write_text('{"embodied": []}')
    with pytest.raises(UsageError, match=r"combined\.json: expected a mapping with 'chat'"):
        read(folder)

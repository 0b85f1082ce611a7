"""Facts of releases, said once: every shipped benchmark has them, and what is here is counted beside them."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path

import all_releases
import pytest
from run_folder import Shape, write_run

import sightline as sl
from sightline import registry
from sightline.benchmark_commands import show_benchmarks, show_release
from sightline.cards import Card
from sightline.console import SafeConsole
from sightline.inventory import inventory, shared_told, sharing
from sightline.readers import TableBenchmark
from sightline.release import OfficialRelease
from sightline.report.results import Results
from sightline.report.trust import warnings_of
from sightline.store import Blobs
from sightline.study.lock import read_lock


def shipped() -> list[Card]:
    """Cards of the benchmarks that read an official release."""
    cards = [registry.card("benchmark", name) for name in registry.names("benchmark")]
    return [
        card
        for card in cards
        if card.factory.__module__.startswith("sightline.benchmarks.")
        and card.factory.needs_root
        and not card.elsewhere
        and not (card.release and card.release.access == "yours")
    ]


@pytest.mark.parametrize("card", shipped(), ids=lambda card: card.name)
def test_every_reader_of_a_release_has_whole_facts(card: Card) -> None:
    facts = card.release
    assert facts is not None
    for text in (facts.home, facts.licence, facts.scoring):
        assert text == text.strip() != ""
        assert "\n" not in text
    assert not facts.scoring.endswith(".")  # it stands in tables
    assert all(number > 0 for counts in facts.counts.values() for number in counts.values())
    assert card.name not in facts.shares
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in facts.known)
    assert card.name not in facts.folders


@pytest.mark.parametrize("card", shipped(), ids=lambda card: card.name)
def test_settings_read_parts_that_the_facts_have(card: Card) -> None:
    """A part that is misspelled in `part()` would never be compared."""
    facts = card.release
    assert facts is not None
    methods = [registry.make("benchmark", card.name, preset=preset) for preset in card.presets]
    parts = {m.part() for m in methods if isinstance(m, TableBenchmark)}
    known = {part for part, counts in facts.counts.items() if counts}
    assert not known or known & ({registry.make("benchmark", card.name).part()} | parts)


def test_facts_from_python() -> None:
    facts = sl.benchmarks.MMMU.card.release
    assert (facts.home, facts.licence) == ("HF: MMMU/MMMU", "Apache-2.0")
    assert facts.total("validation") == 900
    assert facts.total("no such part") == 0


# What is here


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`$SIGHTLINE_DATA` with three synthetic releases, one of them under its authors' name."""
    folder = tmp_path / "data"
    for name, called in (("mm_vet", "mm-vet"), ("usb_safebench", "usb_safebench"), ("mmmu", "MMMU")):
        all_releases.RELEASES[name](folder / called)
    monkeypatch.setenv("SIGHTLINE_DATA", str(folder))
    return folder


def card(name: str) -> Card:
    return registry.card("benchmark", name)


def test_what_is_here_is_counted_by_category(data: Path) -> None:
    found = inventory(card("mm_vet"))
    assert (found.root, found.found, found.expected) == (data / "mm-vet", 4, 218)
    assert found.cases == {"rec": 1, "math+ocr": 1, "gen+know+rec": 1, "ocr+spat": 1}
    assert (found.unusable, found.problem) == (0, "")
    assert inventory(card("mm_vet"), count=False).cases == {}


def test_no_picture_is_decoded(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.store.Blobs.put", lambda *_: pytest.fail("a picture was read"))
    assert [inventory(card(name)).found for name in ("mm_vet", "usb_safebench", "mmmu")] == [4, 14, 9]


def test_what_is_not_here_or_needs_nothing(data: Path) -> None:
    absent = inventory(card("figstep_safebench"))
    assert (absent.root, absent.found, absent.expected) == (None, 0, 500)
    drawn = inventory(card("testbed_secrets"))
    assert (drawn.root, drawn.found) == (None, 96)


def test_rows_that_cannot_be_used_are_counted_too(data: Path) -> None:
    (data / "usb_safebench/img/vulnerability_eval/5(frell).jpg").unlink()
    found = inventory(card("usb_safebench"))
    assert (found.found, found.unusable, found.problem) == (14, 1, "")


def test_what_cannot_be_read_is_one_line(data: Path) -> None:
    (data / "mm-vet/mm-vet.json").write_text("[[")
    found = inventory(card("mm_vet"))
    assert found.root == data / "mm-vet"
    assert found.cases == {}
    assert re.fullmatch(r".*mm-vet\.json: not JSON \(.*", found.problem)


@pytest.mark.parametrize("name", [card.name for card in shipped() if card.name in all_releases.RELEASES])
def test_counts_are_those_of_the_cases(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = all_releases.RELEASES[name](tmp_path / name)
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
    cases = list(registry.make("benchmark", name).cases(release))
    found = inventory(card(name))
    assert (found.problem, found.unusable) == ("", 0)
    assert Counter(found.cases) == Counter(case.category for case in cases)


# Sets that share pictures


def test_sharing_is_mutual_and_by_any_spelling() -> None:
    assert sharing(["usb_safebench", "mmmu", "vlguard"]) == [("usb_safebench", "vlguard")]
    assert sharing(["vlguard", "usb_safebench"]) == [("vlguard", "usb_safebench")]
    assert sharing(["jbb_behaviors", "advbench"]) == [("jbb_behaviors", "advbench")]  # it says AdvBench
    assert sharing(["mmmu", "mm_vet", "mmmu", "no_such_benchmark"]) == []
    (told,) = shared_told(["vlguard", "usb_safebench"])
    assert told.startswith("vlguard and usb_safebench hold some of the same pictures or rows")


@pytest.mark.parametrize(
    ("names", "told"), [(("vqa_v2", "coco_captions"), True), (("mmmu", "mm_vet"), False)]
)
def test_a_report_says_that_two_of_its_sets_share(names: tuple[str, ...], told: bool, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Shape(benchmarks=names))
    with Results(run) as results:
        warnings = warnings_of(run, read_lock(run), results)
    assert any("vqa_v2 and coco_captions hold some of the same pictures" in each for each in warnings) is told


# What the command line shows


@pytest.fixture
def console() -> SafeConsole:
    return SafeConsole(width=90, record=True, file=io.StringIO())


def test_the_list_says_what_is_here_and_where_to_get_it(data: Path, console: SafeConsole) -> None:
    (data / "mm-vet/mm-vet.json").write_text("[[")
    show_benchmarks(console, count=True)
    text = console.export_text()
    assert f"mmmu  900 cases; here 9, in {data}/MMMU\n    MMMU: college questions" in text
    assert "    Apache-2.0; open; HF: MMMU/MMMU\n" in text
    assert re.search(r"mm_vet  218 cases; here, but cannot be read: .*mm-vet\.json: not JSON", text)
    assert "figstep_safebench  500 cases; not here\n" in text
    assert "testbed_secrets  96 cases; comes with Sightline\n" in text
    assert "; shares with mossbench, vlguard\n" in text
    names = {line.split("  ")[0] for line in text.splitlines() if line and line[0] != " "}
    assert names >= set(registry.names("benchmark"))


def test_a_card_shows_all_facts_beside_what_is_here(data: Path, console: SafeConsole) -> None:
    show_release(console, card("usb_safebench"))
    text = console.export_text()
    for part in ("HF: cgjacklin/USB", "click-through", "mossbench, vlguard", "mean over 3 categories"):
        assert part in text
    assert re.search(r"cases, as its authors or their readers say", text)
    assert re.search(r"\(all\) +13,175 +3,785", text)
    assert re.search(r"National Safety/RIRT +1\b", text)
    assert re.search(r"\(sum\) +13,175 +3,785 +300 +300 +14", text)


def test_a_card_says_under_which_names_a_release_is_looked_for(
    console: SafeConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    show_release(console, card("usb_safebench"))
    assert "nothing is called usb_safebench or USB or USB-SafeBench" in console.export_text()

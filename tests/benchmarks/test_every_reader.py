"""Every reader, on its invented release: whole cases; damaged files make cases or an error with a name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import releases
from all_releases import EVERY, RELEASES, SPECS
from damage import PICTURE_DAMAGE, PICTURES, TABLE_DAMAGE, TABLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipped import shipped

from sightline import registry, taxonomy
from sightline.cases import Case, Expected
from sightline.errors import UsageError
from sightline.plain import case_of, plain_case
from sightline.readers import TableBenchmark
from sightline.release import OfficialRelease
from sightline.store import Blobs

READERS = [name for name in shipped("benchmark") if registry.card("benchmark", name).factory.needs_root]
HOW_MANY = 12
SPEC_IDS = [spec for _, spec in EVERY]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """The invented release of each benchmark, written once."""
    return {name: make(tmp_path_factory.mktemp(name) / "release") for name, make in RELEASES.items()}


def read(spec: str, root: Path, blobs: Path) -> tuple[list[Case], OfficialRelease]:
    release = OfficialRelease(root, Blobs(blobs))
    try:
        return list(registry.parse("benchmark", spec).cases(release)), release
    finally:
        release.close()


def test_every_reader_has_an_invented_release():
    assert sorted(RELEASES) == sorted(READERS)
    assert all(spec.partition("(")[0] == name for name, specs in SPECS.items() for spec in specs)


@pytest.mark.parametrize(("name", "spec"), EVERY, ids=SPEC_IDS)
def test_cases_are_whole(name, spec, written, tmp_path):
    cases, _ = read(spec, written[name], tmp_path)
    by_id = {case.id: case for case in cases}
    assert len(by_id) == len(cases) > 0
    for case in cases:
        assert case.id.startswith(f"{name}/")
        assert case.behavior.strip()
        assert case.group
        assert case.conversation.last_user_turn.parts
        assert [image.problem for image in case.conversation.images if image.problem] == []
        assert case.hazard == "" or case.hazard in taxonomy.hazards()
        assert case_of(plain_case(case)) == case
        if case.expected in (Expected.answer, Expected.classify):
            assert case.answer
        if case.twin is not None:
            twin = by_id[case.twin]
            assert twin.id != case.id
            assert twin.group == case.group
        assert case.answers == () or (case.answer in case.answers and len(case.answers) > 1)


@pytest.mark.parametrize("name", RELEASES)
def test_facts_of_the_release_are_said(name):
    facts = registry.card("benchmark", name).release
    assert facts is not None
    assert facts.home
    assert facts.scoring


@pytest.mark.parametrize(("name", "spec"), EVERY, ids=SPEC_IDS)
def test_a_zip_and_other_letter_case_have_the_same_cases(name, spec, written, tmp_path):
    cases, _ = read(spec, written[name], tmp_path / "blobs")
    packed = releases.zipped(written[name], tmp_path / "packed.zip", top="some-folder")
    assert read(spec, packed, tmp_path / "blobs")[0] == cases
    other = releases.shout(shutil.copytree(written[name], tmp_path / "other"))
    found = [case.id.casefold() for case in read(spec, other, tmp_path / "blobs")[0]]
    assert found == [case.id.casefold() for case in cases]


@pytest.mark.parametrize(("name", "spec"), EVERY, ids=SPEC_IDS)
def test_an_absent_folder_is_told_with_the_cure(name, spec, tmp_path):
    with pytest.raises(UsageError, match=r"root:|root`"):
        read(spec, tmp_path / "nowhere", tmp_path)


def kept(spec: str) -> str:
    """The same settings, with bad rows kept."""
    inside = spec.partition("(")[2].rstrip(")")
    return f"{spec.partition('(')[0]}({', '.join(filter(None, [inside, 'on_bad_rows=keep']))})"


def cases_or_error(spec: str, root: Path, blobs: Path, file: Path) -> list[Case] | str:
    """What reading ends in; an error names the release or its damaged file."""
    try:
        return read(spec, root, blobs)[0]
    except UsageError as told:
        error = str(told)
    assert str(root) in error or file.name in error
    return error


def check(spec: str, root: Path, blobs: Path, file: Path) -> list[Case] | None:
    """Cases or an error that names the release; with bad rows kept, no row without a case."""
    assert cases_or_error(spec, root, blobs, file) != []
    cases = cases_or_error(kept(spec), root, blobs, file)
    if isinstance(cases, str):
        return None
    release = OfficialRelease(root, Blobs(blobs))
    reader = registry.parse("benchmark", kept(spec))
    if isinstance(reader, TableBenchmark):
        assert len(cases) >= sum(1 for _ in reader.rows(release))
    release.close()
    return cases


def damaged(root: Path, there: Path, suffixes, damage, where: int, place: int) -> Path | None:
    """A copy of a release with one file damaged."""
    shutil.copytree(root, there)
    files = sorted(path for path in there.rglob("*") if path.suffix.casefold() in suffixes)
    if not files:
        return None
    file = files[where % len(files)]
    file.write_bytes(damage(file.read_bytes(), place))
    return file


PLACES = st.integers(0, 1 << 20)
SOME = settings(
    max_examples=HOW_MANY,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize(("name", "spec"), EVERY, ids=SPEC_IDS)
@SOME
@given(st.sampled_from(sorted(TABLE_DAMAGE)), PLACES, PLACES)
def test_damaged_tables(name, spec, written, tmp_path_factory, kind, where, place):
    there = tmp_path_factory.mktemp("damaged") / "release"
    file = damaged(written[name], there, TABLES, TABLE_DAMAGE[kind], where, place)
    if file is not None:
        check(spec, there, there.parent / "blobs", file)
    shutil.rmtree(there.parent)


@pytest.mark.parametrize(("name", "spec"), EVERY, ids=SPEC_IDS)
@SOME
@given(st.sampled_from(sorted(PICTURE_DAMAGE)), PLACES, PLACES)
def test_damaged_pictures_leave_no_case_out(name, spec, written, tmp_path_factory, kind, where, place):
    there = tmp_path_factory.mktemp("damaged") / "release"
    file = damaged(written[name], there, PICTURES, PICTURE_DAMAGE[kind], where, place)
    if file is not None:
        whole, _ = read(spec, written[name], there.parent / "whole")
        cases = check(spec, there, there.parent / "blobs", file)
        assert cases is not None
        assert [case.id for case in cases] == [case.id for case in whole]
    shutil.rmtree(there.parent)

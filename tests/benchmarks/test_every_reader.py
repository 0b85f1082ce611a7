"""Every reader on its synthetic release: whole, in other forms, and damaged in many ways.

A damaged release gives cases, or one `UsageError` that names file and row; nothing else, and no row is lost.
"""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

import all_releases
import pytest
import releases
from damage import PICTURES, TABLES, break_parquet, break_picture, break_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline import registry, taxonomy
from sightline.cases import Case
from sightline.errors import UsageError
from sightline.readers import TableBenchmark
from sightline.release import OfficialRelease
from sightline.store import Blobs

NAMES = sorted(all_releases.RELEASES)
COUNTS = re.compile(r": numbers of cases: ")
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def methods(name: str) -> list[TableBenchmark]:
    """The benchmark with its defaults and with each of its presets."""
    presets = registry.card("benchmark", name).presets
    return [registry.make("benchmark", name), *(registry.make("benchmark", name, preset=p) for p in presets)]


def read(method: TableBenchmark, root: Path, blobs: Blobs) -> tuple[list[Case], OfficialRelease]:
    release = OfficialRelease(root, blobs)
    try:
        return list(method.cases(release)), release
    finally:
        release.close()


def attempt(method: TableBenchmark, root: Path, blobs: Blobs) -> tuple[str, list[Case]]:
    """What is wrong, or the cases."""
    try:
        return "", read(method, root, blobs)[0]
    except UsageError as caught:
        return str(caught), []


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@cache
def written(name: str, place: Path) -> Path:
    return all_releases.RELEASES[name](place / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_release_is_read_without_a_word_but_its_size(name: str, place: Path, blobs: Blobs) -> None:
    for method in methods(name):
        cases, release = read(method, written(name, place), blobs)
        assert cases
        assert [warning for warning in release.warnings if not COUNTS.search(warning)] == []
        assert len({case.id for case in cases}) == len(cases)
        for case in cases:
            assert case.id.startswith(f"{name}/")
            assert case.group
            assert case.behavior.strip()
            assert case.conversation.turns
            assert all(image.problem is None for image in case.conversation.images)
            assert not case.hazard or case.hazard in taxonomy.hazards()
            assert case.twin != case.id


@pytest.mark.parametrize("name", NAMES)
def test_twins_are_each_others(name: str, place: Path, blobs: Blobs) -> None:
    cases, _ = read(methods(name)[0], written(name, place), blobs)
    by_id = {case.id: case for case in cases}
    for case in cases:
        if case.twin in by_id:
            assert by_id[case.twin].twin == case.id
            assert by_id[case.twin].group == case.group


@pytest.mark.parametrize("form", ["zip", "shouted"])
@pytest.mark.parametrize("name", NAMES)
def test_other_forms_of_a_release_give_the_same_cases(
    name: str, form: str, place: Path, blobs: Blobs, tmp_path: Path
) -> None:
    method = methods(name)[0]
    wanted, release = read(method, written(name, place), blobs)
    if form == "zip":
        other = releases.zipped(written(name, place), tmp_path / "x.zip", top=f"{name}-main")
    else:
        other = releases.shout(Path(shutil.copytree(written(name, place), tmp_path / "x")))
    found, again = read(method, other, blobs)
    assert found == wanted
    if form == "zip":
        assert again.digest() == release.digest()


@pytest.mark.parametrize("name", NAMES)
def test_listing_gives_the_same_ids_without_reading_a_picture(name: str, place: Path, blobs: Blobs) -> None:
    method = methods(name)[0]
    wanted, _ = read(method, written(name, place), blobs)
    listed = OfficialRelease(written(name, place), blobs, listing=True)
    found = list(method.cases(listed))
    assert [(c.id, c.group, c.category, c.twin) for c in found] == [
        (c.id, c.group, c.category, c.twin) for c in wanted
    ]


@pytest.mark.parametrize("name", NAMES)
def test_no_release_at_all_says_what_belongs_there(name: str, tmp_path: Path, blobs: Blobs) -> None:
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(UsageError) as caught:
            read(methods(name)[0], root, blobs)
        assert str(root) in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(data=st.data())
def test_whatever_is_wrong_with_a_release_is_told(
    name: str, place: Path, blobs: Blobs, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    method = data.draw(st.sampled_from(methods(name)))
    kept = registry.make("benchmark", name, **{**registry.settings(method), "on_bad_rows": "keep"})
    root = Path(shutil.copytree(written(name, place), tmp_path_factory.mktemp("damaged") / name))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    tables = [path for path in files if path.suffix in (*TABLES, ".parquet")]
    pictures = [path for path in files if path.suffix in PICTURES]
    path = data.draw(
        st.sampled_from(data.draw(st.sampled_from([each for each in (tables, pictures) if each])))
    )
    if path.suffix in PICTURES:
        break_picture(path, data)
    elif path.suffix == ".parquet":
        break_parquet(path, data)
    else:
        break_table(path, data)
    told, cases = attempt(method, root, blobs)
    why, with_bad = attempt(kept, root, blobs)
    if told:
        assert str(root) in told
    else:
        assert cases
        assert all(image.problem is None for case in cases for image in case.conversation.images)
    if why:  # a file that cannot be read at all
        assert why == told
    else:
        rows = list(kept.rows(OfficialRelease(root, blobs)))
        assert len(with_bad) >= len(rows)
        assert bool(told) == any(image.problem for case in with_bad for image in case.conversation.images)
        assert len({case.id for case in with_bad}) == len(with_bad)
    shutil.rmtree(root.parent)

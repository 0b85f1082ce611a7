"""The shipped adapter of testbed/smol@aligned: its digests, and what it becomes on a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sightline import registry
from sightline.digests import sha256_file
from sightline.errors import DamageError, UsageError
from sightline.targets import LocalSettings, open_target
from sightline.testbed import weights
from sightline.testbed.smol import adapter, places
from sightline.testbed.smol import align as aligning
from sightline.testbed.smol.fetch import SMOL

pytestmark = pytest.mark.usefixtures("one_thread")
sys.path.insert(0, str(Path(__file__).parents[1] / "targets"))
CPU = LocalSettings(device="cpu")
RECIPE = "safety_sft(steps=2, batch=4, ratio=0.5, general='given', rate=0.01, warmup=0, every=0, lora={})"
RECIPES = [RECIPE.format(rank) for rank in (3, 2)]
SHIPPED = Path(__file__).parents[2] / "packages" / "testbed" / "src" / "sightline_testbed" / adapter.FOLDER


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny base in a cache folder of its own, trained with adapters, and the adapter written."""
    folder = tmp_path_factory.mktemp("adapter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_CACHE", str(folder / "cache"))
        from test_smol_align import TAUGHT
        from tiny_text import tiny_llama

        tiny_llama(places.model())
        (places.model() / places.SOURCE).write_text("{}")
        found = aligning.align(recipes=RECIPES, taught=TAUGHT, local=CPU)
        aligning.write_adapter(found, folder / "data" / adapter.FOLDER)
        places.pointer().unlink()
        yield folder, found


def folder_of(there):
    return there[0] / "data" / adapter.FOLDER


@pytest.fixture
def there(trained, monkeypatch):
    """The same, with the adapter as a data package brings it."""
    folder, found = trained
    monkeypatch.setenv("SIGHTLINE_CACHE", str(folder / "cache"))
    monkeypatch.setattr(weights, "roots", lambda: (folder / "data",))
    return folder, found


def test_merged_it_is_what_was_trained_and_the_base_stays(there):
    from safetensors.torch import load_file

    _, found = there
    plain = load_file(places.model() / adapter.WEIGHTS)
    tuned = load_file(found.folder / adapter.WEIGHTS)
    folder = places.find(places.ALIGNED)
    merged = load_file(folder / adapter.WEIGHTS)
    changed = [name for name in plain if not tuned[name].equal(plain[name])]
    assert len(changed) >= 7
    facts = adapter.read(folder_of(there) / adapter.FACTS).facts
    assert (facts["rank"], [each["seed"] for each in facts["trained"]]) == (5, [0, 1])
    for name in plain:
        moved = float((tuned[name] - plain[name]).abs().max())
        assert float((merged[name] - tuned[name]).abs().max()) <= 0.01 * moved + 1e-6
    assert places.find(places.ALIGNED) == folder
    assert places.find(places.MODEL) == places.model()
    target = open_target("testbed/smol@aligned", aligning.NoPictures(), local=CPU)
    assert target.source.folder == folder
    assert json.loads((folder / adapter.SEAL).read_text())["weights"] == sha256_file(folder / adapter.WEIGHTS)


def test_another_base_and_a_damaged_adapter_are_refused(there, tmp_path):
    folder, _ = there
    found = adapter.read(folder / "data" / adapter.FOLDER / adapter.FACTS)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / adapter.WEIGHTS).write_bytes(b"other")
    with pytest.raises(UsageError, match="fits base weights with the SHA-256"):
        adapter.merged(found, tmp_path / "base", tmp_path / "home")
    (tmp_path / "data").mkdir()
    for name in (adapter.FACTS, adapter.TENSORS):
        (tmp_path / "data" / name).write_bytes((found.path.parent / name).read_bytes())
    (tmp_path / "data" / adapter.TENSORS).write_bytes(b"cut off")
    with pytest.raises(DamageError, match="is not the file that its record names"):
        adapter.merged(adapter.read(tmp_path / "data" / adapter.FACTS), places.model(), tmp_path / "home")
    assert not any((tmp_path / "home").glob("aligned*"))
    (tmp_path / "data" / adapter.FACTS).write_text("{}")
    with pytest.raises(DamageError):
        adapter.read(tmp_path / "data" / adapter.FACTS)


def test_without_the_data_package_both_cures_are_told(there, monkeypatch):
    monkeypatch.setattr(weights, "roots", lambda: ())
    with pytest.raises(UsageError, match=r"sightline-testbed.*`sightline testbed align smol`"):
        places.find(places.ALIGNED)


def test_what_is_no_low_rank_difference_gives_no_adapter(there, tmp_path):
    _, found = there
    with pytest.raises(UsageError, match="would be lost; train with lora=1"):
        adapter.extract(places.model(), found.folder, tmp_path, {}, rank=1)
    with pytest.raises(UsageError, match="nothing of it differs"):
        adapter.extract(places.model(), places.model(), tmp_path, {}, rank=1)
    assert not (tmp_path / adapter.FACTS).exists()


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no adapter is shipped")
def test_the_shipped_one_is_small_and_says_what_it_fits():
    found = adapter.read(SHIPPED / adapter.FACTS)
    assert sha256_file(found.path) == found.sha256
    assert found.path.stat().st_size <= 8_000_000
    assert [each["settings"] for each in found.facts["trained"]] == [
        registry.spec(registry.parse("recipe", recipe)) for recipe in aligning.RECIPES
    ]
    assert found.facts["base"]["package"] == f"{SMOL.name}=={SMOL.version}"
    assert {path.name for path in SHIPPED.iterdir()} == {adapter.FACTS, adapter.TENSORS}

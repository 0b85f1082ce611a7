"""Into how many packs pairs are split: by what they cost, with the same predictions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from plain_pass import assert_same, means, pair, slope

from sightline.cases import Image
from sightline.targets import LocalSettings
from sightline.whitebox.compute import PassCost, packs
from sightline.whitebox.model import open_victim
from sightline.whitebox.packing import pack

IMAGE = Image(sha256="0" * 64, width=64, height=64)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def victim():
    return open_victim("testbed/linear", local=LocalSettings(device="cpu"))


def rows(common: int, pairs: int, own: int):
    """Keys of rows that begin alike."""
    return [[*range(common), *((row, token) for token in range(own + 1))] for row in range(pairs)]


def split(common: int, pairs: int, own: int, cost: PassCost) -> int:
    tree = pack(rows(common, pairs, own), [1] * pairs)
    assert len(tree.end) == common + pairs * own
    assert tree.common == (common if pairs > 1 else 0)
    whole = SimpleNamespace(ids=tree.source, common=tree.common)
    return packs(whole, pairs, cost)


def test_a_pack_is_split_where_attention_costs_more_than_running_the_beginning_again():
    free = PassCost(token=1e6, attention=0.0)  # attention for nothing: never
    assert split(50, 40, 10, free) == 1
    dear = PassCost(token=1e6, attention=1e9)  # nothing but attention: a pack for each
    assert split(1, 40, 10, dear) == 40
    between = PassCost(token=2e6, attention=4e3)
    costs = {count: count * between(70 + 64 * 17 / count) for count in range(1, 65)}
    assert split(70, 64, 17, between) == min(costs, key=costs.get)
    assert split(70, 1, 17, between) == 1


def test_few_pairs_of_the_testbed_stay_together_and_many_do_not(victim):
    cost = PassCost.of(victim.model)
    assert [split(70, pairs, 17, cost) for pairs in (1, 4, 8, 16)] == [1] * 4
    assert 2 <= split(70, 64, 17, cost) <= 4


def test_a_large_model_keeps_more_pairs_together():
    """LLaVA-1.5-7B: products with weights cost more, beside attention, the wider a model is."""
    large = PassCost(token=4.0 * (4 * 4096**2 + 3 * 4096 * 11_008), attention=2.0 * (4 * 4096 + 250 * 32))
    assert split(631, 64, 16, large) == 1


def test_many_pairs_are_as_in_one_pack(victim, monkeypatch):
    words = ("red", "blue", "green", "yellow")
    asked = [f"is {one} or {two} or {three} in it ?" for one in words for two in words for three in words]
    pairs = [pair(IMAGE, text, f"a {text.split()[5]} square .") for text in asked]
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    packed = victim._packs(tuple(pairs), (None,) * 64, (64, 64))
    assert len(packed) > 1
    assert sum(count for count, _ in packed) == 64
    apart = means(victim.rows(x, pairs))
    victim._remembered.cache_clear()
    monkeypatch.setattr("sightline.whitebox.model.packs", lambda *_: 1)
    together = means(victim.rows(x, pairs))
    assert torch.allclose(apart, together, rtol=1e-5, atol=1e-7)
    assert_same(slope(apart, x), slope(together, x))

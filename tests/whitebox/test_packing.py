"""The prefix tree against a slow reading of its definition, and one example drawn by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import ContractError
from sightline.whitebox.packing import pack

rows = st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=9), min_size=1, max_size=6)


def test_three_rows_by_hand():
    tree = pack(["siipab", "siipac", "siqd"], [2, 2, 1])
    #        s  i  i  p  a  q
    assert tree.source.tolist() == [0, 1, 2, 3, 4, 12]
    assert tree.depth.tolist() == [0, 1, 2, 3, 4, 2]
    assert tree.end.tolist() == [6, 6, 5, 5, 5, 6]
    assert tree.read.tolist() == [3, 4, 3, 4, 5]  # p a | p a | q
    assert tree.pair.tolist() == [0, 0, 1, 1, 2]
    assert tree.paths == ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), (0, 1, 5))
    assert tree.visible.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


@given(rows, st.data())
def test_every_row_sees_itself_and_nothing_else(found, data):
    scored = [data.draw(st.integers(1, len(row) - 1)) for row in found]
    tree = pack(found, scored)
    tokens = [token for row in found for token in row[:-1]]
    visible = tree.visible
    read = iter(tree.read.tolist())
    for row, count, path in zip(found, scored, tree.paths, strict=True):
        for place, node in enumerate(path):
            seen = visible[node].nonzero()[:, 0].tolist()
            assert seen == list(path[: place + 1])
            assert [tokens[tree.source[other]] for other in seen] == row[: place + 1]
            assert tree.depth[node] == place
        assert [next(read) for _ in range(count)] == list(path[-count:])
    beginnings = {tuple(row[: place + 1]) for row in found for place in range(len(row) - 1)}
    assert len(tree.depth) == len(beginnings)
    assert torch.equal(tree.pair, torch.repeat_interleave(torch.arange(len(found)), torch.tensor(scored)))


def test_keys_that_differ_keep_rows_apart():
    merged = pack([[1, 2, 3, 4], [1, 2, 3, 5]], [1, 1])
    perturbed = pack([[1, 2, 3, 4], [1, (2, 0), 3, 5]], [1, 1])
    assert (len(merged.depth), len(perturbed.depth)) == (3, 5)


@pytest.mark.parametrize(("found", "scored"), [([], []), ([[1, 2]], [0]), ([[1, 2]], [2])])
def test_rows_without_prompt_or_target_are_refused(found, scored):
    with pytest.raises(ContractError, match="at least one token to predict"):
        pack(found, scored)

"""Whether the cells of a table hold the samples that they must: the cells of a benchmark hold the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.errors import ContractError
from sightline.metrics._columns import CELL, EXPECTED, Columns, Ints
from sightline.metrics.cells import CellId


def check_complete(columns: Columns, ids: Sequence[CellId]) -> None:
    """Check that each cell, seed by seed, has all samples that any cell of its benchmark has.

    Training and held-out cases are looked at together. Cells with an attack need only the cases of the
    expectations that it applies to: those of which any of its cells has one.

    Raises:
        ContractError: naming the first cell that lacks one, and the case.
    """
    n_kinds, cell = len(EXPECTED), columns.cell
    of_sample = np.zeros(int(columns.sample.max()) + 1, dtype=np.int64)
    of_sample[columns.sample[::-1]] = np.arange(len(cell) - 1, -1, -1)  # its first row
    kind = columns.expected[of_sample]
    release = _numbered([(one.benchmark, one.release) for one in ids])
    attack = _numbered([(one.benchmark, one.release, one.attack) for one in ids])
    everyone = np.zeros((int(release.max()) + 1, n_kinds), dtype=np.int64)
    np.add.at(everyone, (release[cell[of_sample]], kind), 1)
    met = np.zeros((int(attack.max()) + 1, n_kinds), dtype=bool)
    met[attack[cell], columns.expected] = True
    plain = np.array([one.role == "plain" for one in ids])
    asked = met[attack] | plain[:, None]

    whole = _numbered([_with_all(each) for each in columns.cells])[cell]
    part = whole * len(columns.seed.texts) + columns.seed.codes
    _, first, part = np.unique(part, return_index=True, return_inverse=True)
    needed = (asked[cell[first]] * everyone[release[cell[first]]]).sum(axis=1)
    samples = len(of_sample)
    own, sample = np.divmod(np.unique(part * samples + columns.sample), samples)
    found = np.bincount(own[asked[cell[first[own]], kind[sample]]], minlength=len(first))
    if (found < needed).any():
        lacking = int(np.flatnonzero(found < needed)[np.argmin(first[found < needed])])
        row = int(first[lacking])
        there = np.zeros(samples, dtype=bool)
        there[sample[own == lacking]] = True
        wanted = (release[cell[of_sample]] == release[cell[row]]) & asked[cell[row], kind]
        raise _lack(columns, ids[cell[row]], row, of_sample[wanted & ~there], int(needed[lacking]))


def _numbered(keys: Sequence[tuple[str, ...]]) -> Ints:
    """The number of each cell's key, in order of first appearance."""
    known: dict[tuple[str, ...], int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)


def _with_all(cell: tuple[str, ...]) -> tuple[str, ...]:
    """A cell's key with training and held-out cases together."""
    seen = CELL.index("seen")
    return (*cell[:seen], *cell[seen + 1 :])


def _lack(columns: Columns, cell: CellId, row: int, missing: Ints, needed: int) -> ContractError:
    """What to say of the rows of other cells whose samples a cell lacks; `row` is one of its own."""
    case = columns.case.texts[columns.case.codes[missing[0]]]
    seed = columns.seed.texts[columns.seed.codes[row]]
    crafted = f", seed {seed}" if seed else ""
    return ContractError(
        f"cell {cell.name}, judge {cell.judge}{crafted}: {len(missing)} of {needed} samples "
        f"are missing, the first is {case}. Run the study again to finish it."
    )

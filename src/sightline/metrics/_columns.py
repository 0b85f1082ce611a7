"""`results.parquet` as integer codes: grouping and pairing of 10^6 rows without string operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.cases import Expected
from sightline.contracts import Scores
from sightline.errors import ContractError, UsageError
from sightline.metrics.rates import OUTCOMES, Counts, Measure
from sightline.run_folder import RESULTS, refuse_other_run
from sightline.sealed import check_table, damage_reported
from sightline.tables import RESULTS_AGAIN

CELL = (
    "benchmark",
    "release",
    "target",
    "attack",
    "attack_params",
    "crafted_on",
    "oracle",
    "defense",
    "judge",
    "series",
    "budget",
    "seen",
    "scores",
    "made_on_target",
)
"""What makes a cell: what is equal in all of its samples. The seeds of a series are one cell."""
SEEN = {"true": "seen", "false": "unseen"}
SCORES: tuple[Scores, ...] = ("case", "attacker_goal")
FORMER_SCORES = {"": "case", "attacker": "attacker_goal"}
LATER = ("series", "budget", "craft_seed", "seen", "scores", "made_on_target")
"""Columns that tables of earlier versions lack: each attack is a series of one seed, judges read the case."""
TEXTS = (*CELL, "craft_seed", "case_id", "group", "category", "hazard", "expected", "outcome")
COSTS = ("calls_target", "calls_aux", "calls_judge", "tokens_in", "tokens_out", "flops", "seconds")
PLAIN = ("craft_seed", "seen")
"""Of `TEXTS`, those that are no strings in the file."""
EXPECTED = tuple(Expected)

FEW_CODES = 1 << 16
"""A table of so many codes costs nothing, however few rows there are."""

Ints = NDArray[np.int64]


class Codes(NamedTuple):
    """One text column: a number per row, and the texts that the numbers stand for."""

    codes: Ints
    texts: list[str]


class Grouped(NamedTuple):
    """Distinct combinations of columns (`keys`: combinations x columns) with outcome counts of each."""

    keys: Ints
    counts: Counts


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows, sorted by cell, seed and sample. `cell` numbers `cells`, in whose values `CELL` is the order.

    `sample` numbers (case, epoch) over the whole table; `outcome` and `expected` index `OUTCOMES` and
    `EXPECTED`; the other codes index the texts of the same name, `seed` those of `craft_seed`.
    """

    cells: list[tuple[str, ...]]
    starts: Ints
    cell: Ints
    seed: Codes
    sample: Ints
    case: Codes
    epoch: Ints
    group: Codes
    category: Codes
    hazard: Codes
    expected: Ints
    outcome: Ints
    costs: dict[str, NDArray[np.float64]]

    def rows(self, cell: int) -> slice:
        """The rows of a cell, sorted by seed and sample."""
        return slice(int(self.starts[cell]), int(self.starts[cell + 1]))

    def seeds(self, cell: int) -> dict[str, slice]:
        """The rows of a cell by the seed that they were crafted with, in the order of the seeds."""
        rows = self.rows(cell)
        codes, first = np.unique(self.seed.codes[rows], return_index=True)
        ends = [*(rows.start + first[1:]).tolist(), rows.stop]
        found = {
            self.seed.texts[code]: slice(rows.start + start, end)
            for code, start, end in zip(codes.tolist(), first.tolist(), ends, strict=True)
        }
        return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))

    def counted(self, chosen: slice | NDArray[np.bool_], *by: Ints) -> Grouped:
        """Outcome counts of the chosen rows, grouped by code columns."""
        columns = [column[chosen] for column in by]
        combined, keys = combine(columns)
        flat = np.bincount(
            combined * len(OUTCOMES) + self.outcome[chosen], minlength=len(keys) * len(OUTCOMES)
        )
        return Grouped(keys, flat.reshape(len(keys), len(OUTCOMES)).astype(np.int64))


def asked(measure: Measure, kinds: Ints) -> NDArray[np.bool_]:
    """Which of some cases a measure is about, given what is expected of them as positions in `EXPECTED`."""
    if measure.expected is None:
        return np.ones(len(kinds), dtype=bool)
    found: NDArray[np.bool_] = kinds == EXPECTED.index(measure.expected)
    return found


def combine(columns: Sequence[Ints]) -> tuple[Ints, Ints]:
    """One code per row for the combination of `columns`, and the combinations (sorted, n x columns)."""
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    first = np.zeros(0, dtype=np.int64)
    for column in columns:
        width = int(column.max()) + 1 if len(column) else 1
        if width > 1 or not len(first):
            first, combined = _numbered(combined * width + column)
    return combined, np.column_stack([column[first] for column in columns])


def _numbered(values: Ints) -> tuple[Ints, Ints]:
    """Where each distinct value comes first, in their order, and the number of each row's value of them."""
    most = int(values.max()) + 1 if len(values) else 0
    if most > max(len(values), FEW_CODES):
        _, first, numbers = np.unique(values, return_index=True, return_inverse=True)
        return first, numbers
    place = np.full(most, -1, dtype=np.int64)
    place[values[::-1]] = np.arange(len(values) - 1, -1, -1)  # of several, the last one written stays
    used = np.flatnonzero(place >= 0)
    first = place[used]
    place[used] = np.arange(len(used))
    return first, place[values]


def read_columns(results: Any) -> Columns:
    """Read a result table (a run folder, a Parquet file or a pyarrow table) as codes.

    Raises:
        UsageError: if it cannot be read, is empty or lacks a column.
        ContractError: for an outcome outside the closed set, or a sample that a judge has twice.
    """
    table, where = _opened(results)
    absent = [
        name for name in (*TEXTS, "epoch", *COSTS) if name not in table.column_names and name not in LATER
    ]
    if absent:
        raise UsageError(
            f"{where}: no column {', '.join(absent)}; write the table again with `sightline report`"
        )
    if not table.num_rows:
        raise UsageError(f"{where}: the table has no rows; run the study first")
    texts = {name: _codes(_column(table, name)) for name in TEXTS}
    outcome = _known(texts["outcome"], [value.value for value in OUTCOMES], "outcome", where)
    expected = _known(texts["expected"], [value.value for value in EXPECTED], "expected", where)
    epoch = _numbers(table.column("epoch"), "int64")
    case, seed = texts["case_id"], texts["craft_seed"]
    sample = combine([texts["benchmark"].codes, texts["release"].codes, case.codes, epoch])[0]
    _name_series(texts)
    _name_split(texts)
    texts["scores"] = _known_scores(texts["scores"], where)
    cell, keys = combine([texts[name].codes for name in CELL])
    order = np.lexsort((sample, seed.codes, cell))
    cell, sample = cell[order], sample[order]
    cells = [
        tuple(texts[name].texts[code] for name, code in zip(CELL, key, strict=True)) for key in keys.tolist()
    ]
    same = (cell[1:] == cell[:-1]) & (sample[1:] == sample[:-1])
    twice = np.flatnonzero(same & (seed.codes[order][1:] == seed.codes[order][:-1]))
    if len(twice):
        row = order[twice[0]]
        name = " | ".join(cells[cell[twice[0]]][: CELL.index("series")])
        raise ContractError(
            f"{where}: {len(twice)} duplicate samples; the first is {case.texts[case.codes[row]]} in {name}"
        )
    return Columns(
        cells=cells,
        starts=np.searchsorted(cell, np.arange(len(cells) + 1)),
        cell=cell,
        seed=Codes(seed.codes[order], seed.texts),
        sample=sample,
        case=Codes(case.codes[order], case.texts),
        epoch=epoch[order],
        group=Codes(texts["group"].codes[order], texts["group"].texts),
        category=Codes(texts["category"].codes[order], texts["category"].texts),
        hazard=Codes(texts["hazard"].codes[order], texts["hazard"].texts),
        expected=expected[order],
        outcome=outcome[order],
        costs={name: np.nan_to_num(_numbers(table.column(name), "float64"))[order] for name in COSTS},
    )


def _column(table: Any, name: str) -> Any:
    """A text column; one that an earlier version did not write as it would have been."""
    import pyarrow as pa

    if name == "scores" and name not in table.column_names and "reads" in table.column_names:
        name = "reads"  # its name in tables of earlier versions
    if name in table.column_names:
        column = table.column(name)
        return column.cast(pa.string()) if name in ("craft_seed", "seen", "made_on_target") else column
    return table.column("attack") if name == "series" else pa.nulls(table.num_rows, pa.string())


def _name_series(texts: dict[str, Codes]) -> None:
    """Give the columns of a series that differ in their seed alone one name as attack.

    It is the series' own, with the budget if the series has several.
    """
    series, budget, attack, params = (texts[name] for name in ("series", "budget", "attack", "attack_params"))
    column, keys = combine([series.codes, budget.codes, params.codes])
    of_attack = combine([column, attack.codes])[1]
    names = {}
    for number, (one, level, _) in enumerate(keys.tolist()):
        labels = [attack.texts[code] for code in of_attack[of_attack[:, 0] == number][:, 1].tolist()]
        several = len(np.unique(keys[keys[:, 0] == one][:, 1])) > 1
        own = f"{series.texts[one]} [{budget.texts[level]}]" if several else series.texts[one]
        names[number] = labels[0] if len(labels) == 1 else own
    known = sorted(set(names.values()))
    places = np.array([known.index(names[number]) for number in range(len(keys))], dtype=np.int64)
    texts["attack"] = Codes(places[column], known)


def _name_split(texts: dict[str, Codes]) -> None:
    """Name the values of `seen`; a sample whose artifact failed counts with the held-out ones."""
    seen = texts["seen"]
    named = Codes(seen.codes, [SEEN.get(text, text) for text in seen.texts])
    texts["seen"] = named
    if "" not in seen.texts or len(seen.texts) == 1:
        return
    unknown = seen.codes == seen.texts.index("")
    column = combine([texts[name].codes for name in CELL if name != "seen"])[0]
    known = np.zeros(int(column.max()) + 1, dtype=bool)
    known[column[~unknown]] = True
    lost = unknown & known[column]
    if lost.any():
        words = [*named.texts, "unseen"] if "unseen" not in named.texts else named.texts
        texts["seen"] = Codes(np.where(lost, words.index("unseen"), named.codes), words)


def _known_scores(scores: Codes, where: str) -> Codes:
    """What each judge scores: the case if the table does not say."""
    named = Codes(scores.codes, [FORMER_SCORES.get(text, text) for text in scores.texts])
    return Codes(_known(named, list(SCORES), "scores", where), list(SCORES))


def result_table(results: Any) -> tuple[Any, str]:
    """The columns of a result table that metrics read, and where they were found."""
    if not isinstance(results, str | Path):
        return results, "results"
    import pyarrow.parquet as pq

    path = _checked(results)
    with damage_reported(path, RESULTS_AGAIN):
        schema = pq.read_schema(path)
        wanted = [name for name in (*TEXTS, "reads", "epoch", *COSTS) if name in schema.names]
        strings = [name for name in wanted if name in (*TEXTS, "reads") and name not in PLAIN]
        return pq.read_table(path, columns=wanted, read_dictionary=strings), str(path)


def _checked(results: str | Path) -> Path:
    path = Path(results)
    path = path / RESULTS if path.is_dir() else path
    if not path.exists():
        raise UsageError(f"{path} is missing: finish the run with `sightline run`")
    check_table(path, RESULTS_AGAIN)
    if path.name == RESULTS:
        refuse_other_run(path.parent)
    return path


class _Stored:
    """A result table in a file, read column by column: whole it is most of the memory of a report."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        with damage_reported(path, RESULTS_AGAIN):
            self.column_names = pq.read_schema(path).names
            strings = [name for name in (*TEXTS, "reads") if name in self.column_names and name not in PLAIN]
            self._file = pq.ParquetFile(path, read_dictionary=strings)
            self.num_rows = self._file.metadata.num_rows

    def column(self, name: str) -> Any:
        with damage_reported(self._path, RESULTS_AGAIN):
            return self._file.read(columns=[name]).column(0)


def _opened(results: Any) -> tuple[Any, str]:
    """A result table whose columns are read when they are asked for, and where it was found."""
    if not isinstance(results, str | Path):
        return results, "results"
    path = _checked(results)
    return _Stored(path), str(path)


def _codes(column: Any) -> Codes:
    """Codes of a text column in alphabetic order, whatever the order of rows and chunks; null is ''."""
    import pyarrow as pa

    whole = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    encoded = whole.unify_dictionaries() if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    said = [text or "" for text in encoded.chunk(0).dictionary.to_pylist()] if encoded.num_chunks else []
    if encoded.null_count:
        said.append("")  # the last one
    texts = sorted(set(said))
    numbers = {text: number for number, text in enumerate(texts)}
    rank = np.array([numbers[text] for text in said], dtype=np.int64)
    codes = np.empty(len(encoded), dtype=np.int64)
    end = 0
    for chunk in encoded.chunks:
        start, end = end, end + len(chunk)
        codes[start:end] = rank[_values(chunk.indices, len(said) - 1)]
    return Codes(codes, texts)


def _numbers(column: Any, kind: str) -> NDArray[Any]:
    """A column of numbers of this kind; null is 0."""
    whole = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    return _values(whole.cast(kind), 0)


def _values(array: Any, absent: int) -> NDArray[Any]:
    """The numbers of an array, `absent` for null; `to_numpy` would load pandas, which takes half a second."""
    if not array.null_count:
        return np.from_dlpack(array)
    known = np.from_dlpack(array.is_valid().cast("int8")).astype(bool)
    there = np.from_dlpack(array.drop_null())
    found = np.full(len(array), absent, dtype=there.dtype)
    found[known] = there
    return found


def _known(column: Codes, known: list[str], name: str, where: str) -> Ints:
    """Codes translated into positions in `known`."""
    used = np.unique(column.codes)
    for code in used:
        if column.texts[code] not in known:
            rows = int(np.count_nonzero(column.codes == code))
            found = f"{rows} rows have {name} {column.texts[code]!r}"
            raise ContractError(f"{where}: {found}, which is none of {', '.join(known)}")
    places = np.array([known.index(text) if text in known else -1 for text in column.texts], dtype=np.int64)
    return places[column.codes]

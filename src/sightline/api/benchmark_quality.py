"""`coverage` and `quality`: benchmarks themselves, as values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.contracts import Benchmark
from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.data_check.coverage_map import CoverageMap

STUDIES = (".yaml", ".yml")
Chosen = tuple[str, Benchmark, Path | None, str]


def coverage(
    *data: str | os.PathLike[str] | Benchmark, root: str | os.PathLike[str] | None = None
) -> CoverageMap:
    """What benchmarks cover: distinct groups by benchmark, hazard and channel. Runs nothing.

    Args:
        data: study files, benchmarks (objects or names with settings), tables or folders of yours.
        root: of a single benchmark: where its release is.

    Returns:
        `.cells`, `.measured`, `.empty`, `.near`; `sightline.data_check.coverage_written.text` shows it.

    Raises:
        UsageError: for data that are not there, or a root beside several benchmarks.
    """
    from sightline.data_check.coverage_map import coverage_map

    if not data or (root is not None and len(data) > 1):
        raise UsageError("coverage takes one benchmark or more, and `root` only beside a single one")
    return coverage_map([each for one in data for each in _chosen(one, root)])


def _chosen(data: Any, root: str | os.PathLike[str] | None) -> Iterator[Chosen]:
    from sightline import registry
    from sightline.api.checking import _benchmark_of
    from sightline.readers import where_to_look
    from sightline.study import config

    if isinstance(data, str | os.PathLike) and Path(data).suffix.casefold() in STUDIES:
        if root is not None:
            raise UsageError(
                f"{os.fspath(data)}: a study file says itself where its benchmarks are; leave out root"
            )
        for source in config.load(Path(data), releases=False).sources:
            absent = source.root is None and source.benchmark.needs_root
            why = where_to_look(source.benchmark.card) if absent else ""
            yield source.label, source.benchmark, source.root, why
        return
    method, place = _benchmark_of(data, None if root is None else Path(root), {})
    yield registry.spec(method), method, place, ""

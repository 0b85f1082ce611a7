"""Benchmarks without a study: the cases of an official release, read as a run reads them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from sightline import registry
from sightline.api.pictures import store
from sightline.cases import Case
from sightline.contracts import Benchmark
from sightline.errors import UsageError
from sightline.plain import case_of, plain_case
from sightline.readers import found_release, refuse_root, where_to_look
from sightline.release import OfficialRelease
from sightline.study.sampling import sampled
from sightline.untrusted import sanitized_row


def read(
    benchmark: Benchmark,
    root: str | os.PathLike[str] | None = None,
    *,
    limit: int | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> list[Case]:
    """The cases of a benchmark; see `Benchmark.__call__`."""
    benchmark = registry.checked(benchmark)
    refuse_root(benchmark, root)
    where = Path(root) if root is not None else found_release(benchmark.card)
    if benchmark.needs_root and where is None:
        raise UsageError(where_to_look(benchmark.card, "name"))
    release = OfficialRelease(where, store(folder))
    try:
        found = (
            list(sampled(_cases(benchmark, release), limit)) if limit else list(_cases(benchmark, release))
        )
    finally:
        release.close()
    for warning in release.warnings:
        warnings.warn(f"{benchmark.card.name}: {warning}", stacklevel=3)
    return found


def _cases(benchmark: Benchmark, release: OfficialRelease) -> Iterator[Case]:
    return (case_of(sanitized_row(plain_case(case))) for case in benchmark.cases(release))

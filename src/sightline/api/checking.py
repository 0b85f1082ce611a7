"""`check_data`: what is in a user's data, or in an official release, before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import registry
from sightline.console import terminal_progress
from sightline.contracts import Benchmark
from sightline.errors import UsageError, nearest
from sightline.readers import found_release, refuse_root, where_to_look
from sightline.study import config
from sightline.study.progress import Silent

if TYPE_CHECKING:
    from sightline.data_check.found import DataCheck

OWN = "cases"
"""The benchmark that reads tables and folders of the user's."""


def check_data(
    data: str | os.PathLike[str] | Benchmark,
    *,
    root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str | tuple[str, ...]] | None = None,
    rows: int = 5,
    quiet: bool = False,
    **settings: Any,
) -> DataCheck:
    """Read every row and picture of a benchmark once, and say what is there and what is wrong.

    Args:
        data: a table or folder of yours; or a benchmark, as an object or as a study names it
            (`mm_safetybench(subset='tiny')`).
        root: of a benchmark: where its release is; by default in the folder that `$SIGHTLINE_DATA` names.
        columns: of your own data: names of columns by what they are (`{"text": "utterance"}`).
        rows: cases that are shown as the model will see them.
        quiet: whether to show no progress.
        settings: others of the benchmark `cases`, such as `prompt`, `labels`, `split`, `encoding`.

    Returns:
        What was found; `print` it, or ask `.ok`, `.bad`, `.plain()`.

    Raises:
        UsageError: if there is no such file, folder or benchmark, or for a setting that is none.
    """
    from sightline.data_check.check import check

    given = dict(settings) | ({} if columns is None else {"columns": dict(columns)})
    method, place = _benchmark_of(data, None if root is None else Path(root), given)
    with nullcontext(Silent()) if quiet else terminal_progress() as progress:
        return check(method, place, samples=rows, progress=progress)


def check_study(study: str | os.PathLike[str], *, rows: int = 5, quiet: bool = False) -> list[DataCheck]:
    """Check the data of each benchmark of a study file, with its settings there; see `check_data`.

    Raises:
        UsageError: for whatever `sightline run` would complain of before it reads them.
    """
    from sightline.data_check.check import check

    with nullcontext(Silent()) if quiet else terminal_progress() as progress:
        return [
            check(source.benchmark, source.root, samples=rows, progress=progress)
            for source in config.load(Path(study)).sources
        ]


def _benchmark_of(data: Any, root: Path | None, settings: dict[str, Any]) -> tuple[Benchmark, Path | None]:
    """The benchmark with its settings, and its root."""
    if not isinstance(data, str | os.PathLike):
        if not hasattr(data, "card"):
            raise UsageError(
                "check_data takes the path of a table or folder, or a benchmark, not a "
                f"{type(data).__name__}; write a table to a file first, such as by "
                "`table.to_csv('mine.csv', index=False)`"
            )
        method = data
    else:
        text = os.fspath(data)
        path = Path(text).expanduser()
        if path.exists():
            if root is not None:
                raise UsageError(f"{path}: is data of yours; `--root` is for a benchmark by its name")
            return registry.make("benchmark", OWN, **settings), path
        if text.partition("(")[0].strip() not in registry.names("benchmark"):
            hint = nearest(text, registry.names("benchmark"), "benchmark")
            raise UsageError(f"there is no file or folder {text}; {hint}")
        method = registry.parse("benchmark", text)
    if settings and method.card.name != OWN:
        raise UsageError(f"write settings of a benchmark in its name: {method.card.name}(setting=value)")
    if settings:
        method = registry.make("benchmark", OWN, **(registry.settings(method) | settings))
    refuse_root(method, root)
    root = root or (found_release(method.card) if method.needs_root else None)
    if method.needs_root and (root is None or not root.exists()):
        absent = "" if root is None else f"there is no {root}; "
        raise UsageError(absent + where_to_look(method.card, "name by `--root`"))
    return method, root

"""Score responses that exist already: files in, a finished run out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.api.runs import RunResult, Study
from sightline.contracts import Judge
from sightline.errors import UsageError

if TYPE_CHECKING:
    Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

JUDGES = ("refusal_prefix",)
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


def score(
    files: Files,
    *,
    judges: Sequence[Judge | str | Mapping[str, Any]] = JUDGES,
    name: str = "",
    out: str | os.PathLike[str] | None = None,
    extend: bool = False,
    retry_errors: bool = False,
    quiet: bool = False,
    **how: Any,
) -> RunResult:
    """Judge, count and report responses that another harness has recorded, like those of a run of ours.

    Args:
        files: a table (CSV, TSV, JSON, JSONL, Parquet), a file of another harness, a pattern, a folder, or
            several of them; see docs/responses.md.
        judges: as in `Study`.
        name: of the study; by default that of the first file.
        out: run folder; by default `runs/NAME` in the current folder.
        extend: go on in the folder of a run whose files have changed.
        retry_errors: repeat the rows that ended in an error.
        quiet: whether to show no progress.
        how: further keys of a study's `responses:`, such as `columns={"response": "utterance"}`,
            `format="jailbreakbench"`, `model="the model of these files"`.

    Raises:
        UsageError: naming file and row, for all that has to be mended.
    """
    study = scored_study(files, judges=judges, name=name, **how)
    return study.run(out=out, extend=extend, retry_errors=retry_errors, quiet=quiet)


def scored_study(
    files: Files, *, judges: Sequence[Judge | str | Mapping[str, Any]] = JUDGES, name: str = "", **how: Any
) -> Study:
    """The study of some files; arguments as `score`.

    Raises:
        UsageError: as `score`.
    """
    if not isinstance(files, str | os.PathLike) and (
        not isinstance(files, Sequence) or not all(isinstance(file, str | os.PathLike) for file in files)
    ):
        raise UsageError(
            f"score takes a path, a pattern, a folder, or a list of them, not rows ({type(files).__name__}): "
            "write the table to a file first, such as answers.csv or answers.jsonl"
        )
    listed = [files] if isinstance(files, str | os.PathLike) else list(files)
    paths = [os.fspath(file) for file in listed]
    called = name or _UNFIT.sub("-", Path(paths[0]).stem if paths else "").strip("-.")[:60] or "responses"
    try:
        return Study(called, responses={"files": paths, **how}, judges=judges)
    except UsageError as wrong:  # there is no study file, whose line would help
        raise UsageError(str(wrong).removeprefix(f"{called}:2: responses: ")) from None

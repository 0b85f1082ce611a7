"""What `sightline score` and `sightline export` do, behind the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.console import terminal_progress
from sightline.errors import UsageError
from sightline.terminal import say, show_counts, show_results


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE`s of a repeated option.

    Raises:
        UsageError: for one without a sign of equality.
    """
    found = dict(each.partition("=")[::2] for each in given)
    for name, value in found.items():
        if not name or not value:
            raise UsageError(f"{option} {name!r}: write NAME=COLUMN, such as response=utterance")
    return found


def score_responses(
    files: Sequence[str],
    judges: Sequence[str],
    how: Mapping[str, Any],
    *,
    name: str,
    out: Path | None,
    extend: bool,
    retry_errors: bool,
) -> None:
    """Judge and report recorded responses, and show the report in brief."""
    from sightline.api.runs import finish
    from sightline.api.scoring import JUDGES, scored_study
    from sightline.study.run import open_run

    given = {key: value for key, value in how.items() if value}
    study = scored_study(list(files), judges=judges or JUDGES, name=name, **given)
    with terminal_progress() as progress:
        session = open_run(
            study.checked, out=out, progress=progress, extend=extend, retry_errors=retry_errors
        )
        session.prepare()
        counts = finish(session)
    show_counts(counts)
    say(f"results digest: {session.results_digest()}")
    show_results(session, fresh=bool(counts), eval_logs=False)


def export_run(folder: Path, format: str, out: Path | None) -> None:
    """Write a run's responses in another harness's format, and say where."""
    from sightline.api.exporting import export

    paths = export(folder, format=format, out=out)
    for path in paths:
        say(str(path))
    say(f"{len(paths)} files; they hold prompts and responses in clear")

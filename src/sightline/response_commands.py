"""`sightline score` and `sightline export`: responses that exist already, and runs in others' schemas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.errors import UsageError


def pairs(
    given: Sequence[str], option: str = "--column", form: str = "MEANING=COLUMN, such as response=utterance"
) -> dict[str, str]:
    """The `NAME=VALUE`s of a repeated option.

    Raises:
        UsageError: for one without a sign of equality.
    """
    found: dict[str, str] = {}
    for each in given:
        meaning, _, column = each.partition("=")
        if not meaning or not column:
            raise UsageError(f"{option} {each!r}: write {form}")
        found[meaning] = column
    return found


def score(
    files: Annotated[list[str], typer.Argument(help="Tables, files of other harnesses, patterns, folders.")],
    judge: Annotated[
        list[str] | None, typer.Option(help="Judge, as NAME or NAME(setting=value); repeat for more.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="MEANING=COLUMN, such as response=utterance; repeat.")
    ] = None,
    format: Annotated[str, typer.Option(help="Of the files; found out if not given.")] = "",
    model: Annotated[str, typer.Option(help="Who answered, where a file does not say.")] = "",
    attack: Annotated[str, typer.Option(help="Under which attack, where a file does not say.")] = "",
    defense: Annotated[str, typer.Option(help="Behind which defense, where a file does not say.")] = "",
    expected: Annotated[str, typer.Option(help="refuse, comply or answer, where no row says.")] = "",
    control: Annotated[list[str] | None, typer.Option(help="An attack that is a control; repeat.")] = None,
    behaviors: Annotated[str, typer.Option(help="HarmBench's table of behaviors.")] = "",
    images: Annotated[str, typer.Option(help="Folder of the pictures that rows name.")] = "",
    encoding: Annotated[str, typer.Option(help="Of tables that are not UTF-8, such as latin-1.")] = "",
    keep_bad_rows: Annotated[
        bool, typer.Option("--keep-bad-rows", help="A row that cannot be used becomes an error outcome.")
    ] = False,
    name: Annotated[str, typer.Option(help="Of the study; default: the first file's.")] = "",
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/NAME in this folder.")] = None,
    extend: Annotated[bool, typer.Option("--extend", help="Go on after the files have changed.")] = False,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Repeat errors.")] = False,
) -> None:
    """Judge and report responses that exist already; see docs/responses.md.

    Example: `sightline score answers.csv --judge refusal_prefix`
    """
    from sightline.api.runs import finish
    from sightline.api.scoring import JUDGES, scored_study
    from sightline.console import terminal_progress
    from sightline.study.run import open_run
    from sightline.terminal import say, show_counts, show_results

    how: dict[str, Any] = {
        "columns": pairs(column or ()),
        "format": format,
        "model": model,
        "attack": attack,
        "defense": defense,
        "expected": expected,
        "controls": control,
        "behaviors": behaviors,
        "images": images,
        "encoding": encoding,
        "on_bad_rows": "keep" if keep_bad_rows else "",
    }
    given = {key: value for key, value in how.items() if value}
    study = scored_study(files, judges=judge or JUDGES, name=name, **given)
    with terminal_progress() as progress:
        session = open_run(
            study.checked, out=out, progress=progress, extend=extend, retry_errors=retry_errors
        )
        session.prepare()
        counts = finish(session)
    show_counts(counts)
    say(f"results digest: {session.results_digest()}")
    show_results(session, fresh=bool(counts), eval_logs=False)


def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, made by `sightline run`.")],
    format: Annotated[
        str,
        typer.Option(
            help="Rates: csv, parquet, json, latex, html, every-eval-ever, hf-eval-results. Prompts and "
            "responses in clear: jailbreakbench."
        ),
    ] = "csv",
    out: Annotated[Path | None, typer.Option(help="Folder; default: exports/FORMAT in the run's.")] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="hf-eval-results: BENCHMARK=ORG/NAME[:TASK], the dataset on the Hub; repeat."),
    ] = None,
    measure: Annotated[
        str,
        typer.Option(help="hf-eval-results: the measure that the task is of; default: ASR."),
    ] = "",
    organization: Annotated[str, typer.Option(help="every-eval-ever: who evaluated.")] = "unknown",
    relationship: Annotated[
        str, typer.Option(help="every-eval-ever: first_party, third_party, collaborative or other.")
    ] = "other",
) -> None:
    """Write a run in another format: its rates as tables or records, or its prompts and responses in clear.

    Cells with pictures or scripts of several turns have no place in jailbreakbench's schema: they are left
    out and named.

    Example: `sightline export runs/quickstart --format latex`
    """
    from sightline.api.exporting import IN_CLEAR, About, exported
    from sightline.terminal import say

    about = About(
        datasets=pairs(dataset or (), "--dataset", "BENCHMARK=ORG/NAME"),
        measure=measure,
        organization=organization,
        relationship=relationship,
    )
    paths, left_out = exported(folder, format=format, out=out, about=about)
    for told in left_out:
        say(f"not exported: {told}")
    for path in paths:
        say(str(path))
    what = "prompts and responses in clear" if format in IN_CLEAR else "rates, no prompt and no response"
    say(f"{len(paths)} {'file holds' if len(paths) == 1 else 'files; they hold'} {what}")

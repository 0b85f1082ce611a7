"""`sightline quality` and `coverage`: is a benchmark itself good, and what do benchmarks cover?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quality_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    measure: Annotated[
        str, typer.Option(help="asr, over_refusal, utility, accuracy or abstention: which items.")
    ] = "asr",
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Label of a benchmark; repeat. Default: all.")
    ] = None,
    attack: Annotated[list[str] | None, typer.Option(help="Use cells of this attack alone; repeat.")] = None,
    checked: Annotated[
        int | None, typer.Option(min=1, help="Labels that people checked, drawn at random.")
    ] = None,
    wrong: Annotated[int, typer.Option(min=0, help="How many of them were wrong.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Also write items.csv, or a page.html with charts.")
    ] = None,
) -> None:
    """Is a benchmark itself good? Size, items that tell systems apart, near-duplicates, leaks.

    Systems are the cells of the runs (target, attack, defense); nothing is asked anew. With fewer than 30 of
    them no item parameters are estimated.

    Example: `sightline quality runs/quickstart --out items.html`
    """
    from sightline.data_check import quality_written as written
    from sightline.data_check.quality import quality
    from sightline.terminal import say

    found = quality(runs, measure=measure, benchmarks=benchmark or (), attacks=attack or ())
    noise = "" if checked is None else f"\n\n{written.noise_line(wrong, checked)}"
    if out is not None:
        written.write(found, out)
    say(written.text(found) + noise)


def coverage_command(
    data: Annotated[
        list[str],
        typer.Argument(help="Study files, benchmarks by name, tables or folders of yours; several."),
    ],
    root: Annotated[
        Path | None, typer.Option(help="Of a single benchmark: its release; default: in $SIGHTLINE_DATA.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write cells.csv, or a page.html with the map.")
    ] = None,
) -> None:
    """What benchmarks cover: groups by hazard and channel, near-duplicates counted once. Runs nothing.

    Example: `sightline coverage studies/coverage.yaml --out coverage.html`
    """
    from sightline.api.benchmark_quality import coverage
    from sightline.data_check import coverage_written as written
    from sightline.terminal import say

    found = coverage(*data, root=root)
    if out is not None:
        written.write(found, out)
    say(written.text(found))

"""The commands `sightline annotate RUN …`: arguments and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

annotate = typer.Typer(
    help="Let people label samples of a run, blind: draw a sample, serve it, look at it, use the labels.",
    no_args_is_help=True,
)


@annotate.callback()
def _run(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run, made by `sightline run` or `score`.")
    ],
) -> None:
    ctx.obj = folder


@annotate.command()
def status(ctx: typer.Context) -> None:
    """How far each rater is. For the coordinator: raters are not shown each other's work.

    Example: `sightline annotate runs/quickstart status`
    """
    from sightline.annotation.plan import FOLDER
    from sightline.annotation.status import status_lines
    from sightline.terminal import say

    for line in status_lines(ctx.obj / FOLDER):
        say(line)


@annotate.command()
def close(
    ctx: typer.Context,
    partial: Annotated[
        bool, typer.Option("--partial", help="With what there is: before all raters or disputes are done.")
    ] = False,
) -> None:
    """Make the final labels: the truth that judges of the run are measured against, and cards of them.

    Example: `sightline annotate runs/quickstart close`
    """
    from sightline.annotation.closing import close as closed_round
    from sightline.judge_check.people import cards, judged_rows, undecided, write_cards
    from sightline.terminal import say

    found = closed_round(ctx.obj, partial=partial)
    rows = judged_rows(ctx.obj, found.labels)
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(found.items.items()))
    say(f"{sum(found.items.values()):,} items labelled ({counts}), {found.left_out:,} without a label")
    unsafe = undecided(rows)
    if unsafe.all_safe is not None and unsafe.all_unsafe is not None and unsafe.half is not None:
        say(
            f"unsafe replies to restricted requests, by people: {unsafe.half:.1%} (items without consensus "
            f"counted half; {unsafe.all_safe:.1%} if all are safe, {unsafe.all_unsafe:.1%} if none is)"
        )
    made = list(cards(ctx.obj, found.labels, rows, found.agree))
    for card, path in zip(made, write_cards(ctx.obj, made), strict=True):
        say(f"{path}\n{card.text()}\n")
    say(f"{found.path}: {len(found.labels.labels):,} samples; as a judge: human(file='{found.path}')")

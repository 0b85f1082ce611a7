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

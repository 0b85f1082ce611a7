"""`sightline testbed`: its commands and their arguments; no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline import smol_commands

testbed = typer.Typer(help="The small models that Sightline brings along.", no_args_is_help=True)
testbed.command("get")(smol_commands.get_command)
testbed.command("align")(smol_commands.align_command)


@testbed.command("build")
def build(
    name: Annotated[
        str, typer.Argument(help="linear, queries, cross_attention, linear-0.5m or linear-1.2m.")
    ] = "linear",
    out: Annotated[Path, typer.Option(help="Folder for weights and checkpoints.")] = Path("runs/testbed"),
    second: Annotated[bool, typer.Option("--second-seed", help="Also train the variant seed2.")] = False,
    shipped_tower: Annotated[
        bool, typer.Option("--shipped-tower", help="Start from the vision tower that ships: 40 minutes less.")
    ] = False,
) -> None:
    """Train a small model and its variants from scratch on the invented world.

    Interrupt it and run it again to go on. Models built into the same folder share the stages before their
    own (vision tower, language model). Each takes one to two hours of one core and about 3 GB of memory.
    """
    from sightline.testbed_commands import build_testbed

    build_testbed(name, out, second, shipped_tower)


@testbed.command("check")
def check(
    name: Annotated[str, typer.Argument(help="Model, optionally @variant.")] = "linear",
    weights: Annotated[Path | None, typer.Option(help="Folder of `testbed build`; default: shipped.")] = None,
    card: Annotated[bool, typer.Option("--card", help="Measure all variants and write CARD.md.")] = False,
) -> None:
    """Measure again what the model's card says; exit status 2 if a figure misses its band."""
    from sightline.testbed_commands import check_testbed

    check_testbed(name, weights, card)


@testbed.command("curves")
def curves(
    name: Annotated[str, typer.Argument(help="linear, queries or cross_attention.")] = "linear",
    out: Annotated[Path, typer.Option(help="Folder of `testbed build`, with checkpoints.")] = Path(
        "runs/testbed"
    ),
) -> None:
    """Trace risk 3: text refusals along visual tuning, by learning rate and rehearsal (resumable).

    Tunes the aligned language model again behind the built model's vision tower, three seeds per condition,
    and asks the same text requests every 15 steps. Takes about a quarter of an hour of one core per family.
    """
    from sightline.testbed_commands import trace_testbed

    trace_testbed(name, out)

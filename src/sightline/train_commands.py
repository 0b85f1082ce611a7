"""The command `sightline train`: its arguments and what it prints."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.training.work import Trained
    from sightline.tuning import Progress


def train_command(
    recipe: Annotated[
        str, typer.Argument(help="Such as `safety_sft` or `safety_sft(ratio=0.2, steps=100)`.")
    ],
    base: Annotated[str, typer.Argument(help="A local model: testbed/NAME, vlm/FOLDER or tuned/...")],
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BENCHMARK[=ROOT]", help="Rows to train on: `vlguard(split='train')=FOLDER`; repeat."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BENCHMARK[=ROOT]", help="Will be measured: refuse rows that it holds too; repeat."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of rows.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also copy the trained model folder here.")] = None,
    backend: Annotated[
        str, typer.Option(help="Who changes weights: `loop`, or `trl` (pip install 'sightline[train]').")
    ] = "loop",
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Train on rows that --against holds; the record says so.")
    ] = False,
) -> None:
    """Train a local model by a recipe, a defense or an attack, and print the name of the trained target.

    Run it again to go on after an interruption; what was trained before is found, not trained again.

    Example: `sightline train "safety_sft(preset='testbed')" testbed/linear --on testbed_training`
    """
    from sightline.api.tuned import train
    from sightline.terminal import say

    if out is not None and out.exists() and any(out.iterdir()):
        raise UsageError(f"--out {out}: there is something already; name a folder that is not there")
    if backend not in ("loop", "trl"):
        raise UsageError(f"--backend {backend}: write loop or trl")
    more: dict[str, Any] = {"seed": seed, "allow_leakage": allow_leakage, "backend": backend}
    found, leaked = train(recipe, base, on or [], against=against or [], report=told(10), **more)
    record = found.record
    rows = "; ".join(
        f"{source}: " + ", ".join(f"{count} {label}" for label, count in labels.items())
        for source, labels in record["data"]["rows"].items()
    )
    say(f"rows: {rows}; {record['data']['seen']['in all']} seen in {record['plan']['steps']} steps")
    if leaked:
        say(f"leakage: {leaked} cases of --against are among the rows, as allowed")
    say_spent(found)
    if (upon := record.get("upon")) is not None:
        say(
            f"upon {upon['recipe']} ({upon['role']}): {upon['rows']} different rows, {upon['seen']} seen in "
            f"{upon['steps']} steps, {upon['cpu_seconds']:.0f} CPU seconds, {upon['flops']:.2g} FLOPs; here "
            f"{record['data']['seen']['different']} different rows"
        )
    if record["plan"].get("system"):
        say(f"carries the system line: {record['plan']['system']}")
    for name in found.checkpoints:
        say(f"checkpoint: {name}")
    say(f"target: {found.name}")
    say(f"folder: {found.folder}")
    if out is not None:
        shutil.copytree(found.folder, out, dirs_exist_ok=True)
        say(f"copied to {out}; as a target: vlm/{out}")


def say_spent(found: Trained) -> None:
    """Print how the loss went, and what it cost."""
    from sightline.terminal import say

    curve, record = found.record["loss_curve"], found.record
    own = record.get("own_answers") or {"asked": 0}  # trained before it was counted
    say(f"loss: {curve[0]:.3f} at the first step, {curve[-1]:.3f} at the last")
    say(
        f"cost: {record['cpu_seconds']:.0f} CPU seconds, {record['flops']:.2g} FLOPs"
        + (
            f"; {own['cpu_seconds']:.0f} more for {own['asked']} answers of the base's own"
            if own["asked"]
            else ""
        )
        + ("" if found.fresh else ", spent before")
    )


def told(every: int) -> Callable[[Progress], None]:
    """Prints the loss of the first step, each `every`-th and the last, and where a killed one goes on."""
    from sightline.terminal import say

    begun = False

    def report(progress: Progress) -> None:
        nonlocal begun
        if not begun and progress.step > 1:
            say(f"goes on at step {progress.step} of {progress.steps}", err=True)
        begun = True
        if progress.step == 1 or progress.step % every == 0 or progress.step == progress.steps:
            say(f"step {progress.step} of {progress.steps}: loss {progress.loss:.3f}", err=True)

    return report

"""`sightline testbed`: what its commands do, where the package that trains and measures is installed."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from sightline.console import SafeConsole
from sightline.errors import AbsentExtraError, UsageError
from sightline.terminal import console, say

if TYPE_CHECKING:
    from sightline_testbed.training.train import Progress as Step


@contextmanager
def _stage_bars(figures: Sequence[str]) -> Iterator[Callable[[Step], None]]:
    """Show a bar per stage of training, with some of its figures beside it."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with RichProgress(*columns, console=SafeConsole(stderr=True), refresh_per_second=2) as bars:
        tasks: dict[str, Any] = {}

        def report(step: Step) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(step.stage, total=step.steps, figures="")
            shown = "  ".join(f"{name} {step.figures[name]:.2f}" for name in figures if name in step.figures)
            bars.update(tasks[step.stage], completed=step.step, figures=shown)

        yield report


def build_testbed(name: str, out: Path, second: bool, shipped_tower: bool = False) -> None:
    """Train with a bar per stage; the loss stands beside it. In the end, say what it took."""
    _need_testbed_package("testbed build")
    import resource  # not on Windows

    from sightline_testbed.training.build import build

    with _stage_bars(["loss"]) as report:
        build(name, out, second=second, tower="shipped" if shipped_tower else "train", report=report)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    minutes = time.process_time() / 60
    console.print(f"{minutes:.0f} CPU minutes in this process, {peak:.1f} GB of memory at most")
    say(f"weights: {out}; measure them with `sightline testbed check {name} --weights {out}`")


def trace_testbed(name: str, out: Path) -> None:
    """Trace risk 3 from the checkpoints of a build, with a bar per run."""
    _need_testbed_package("testbed curves")
    from sightline_testbed.evaluation.curves import trace
    from sightline_testbed.training.build import CHECKPOINTS

    path = out / "risk3" / f"{name}.json"
    with _stage_bars(["refused", "obeyed"]) as report:
        trace(name, out / CHECKPOINTS, path, report=report)
    say(f"points: {path}")


def check_testbed(name: str, weights: Path | None, card: bool) -> None:
    """Measure and print; with `card`, every variant, into CARD.md beside the weights.

    Args:
        name: such as ``linear`` or ``linear@vit``.
        weights: folder of a build; what is installed if none.
        card: also write the card.

    Raises:
        UsageError: naming the figures that miss their band, or for a folder without models.
    """
    _need_testbed_package("testbed check")
    from sightline.testbed.weights import roots_in

    roots = None if weights is None else roots_in(weights)

    if card:
        from sightline_testbed.evaluation.card import write_card

        say(f"card: {write_card(name.partition('@')[0], roots, say)}")
        return
    from sightline_testbed.evaluation.check import check

    rows = check(name, roots, say)
    missed = [row.name for row in rows if not row.passed]
    if missed:
        raise UsageError(f"{name}: outside their band: {', '.join(missed)}")
    say(f"{name}: all {sum(bool(row.band) for row in rows)} figures with a band are inside it")


def _need_testbed_package(what: str) -> None:
    """Refuse, with the command that installs it, where the code that trains and measures is absent."""
    from sightline.testbed.weights import DATA_PACKAGE, HOW_TO_GET

    if importlib.util.find_spec("sightline_testbed") is None:
        raise UsageError(f"{what} needs the package {DATA_PACKAGE}: {HOW_TO_GET}")
    for module in ("torch", "transformers"):
        if importlib.util.find_spec(module) is None:
            raise AbsentExtraError(what, "local", module)

"""Training without a study: `recipe(model, cases)`, and what the command `sightline train` calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import registry
from sightline.api.models import Model, open_model
from sightline.api.pictures import store
from sightline.cases import Case
from sightline.contracts import Images
from sightline.training.lessons import Cases, leaked, lessons_of, named, read
from sightline.tuning import Backend, Progress, Recipe

if TYPE_CHECKING:
    from sightline.training.work import Trained


def tuned(
    recipe: Recipe,
    model: Model | str,
    cases: Sequence[Case],
    *,
    seed: int,
    folder: str | os.PathLike[str] | None,
) -> Model:
    """The model that a recipe makes of another one; see `Recipe.__call__`."""
    from sightline.training.work import train as work

    name = model if isinstance(model, str) else model.name
    found = work(recipe, name, lessons_of([Cases("cases", tuple(cases))]), store(folder), seed=seed)
    return open_model(found.name, folder=folder)


def train(
    recipe: str,
    base: str,
    on: Sequence[str],
    *,
    against: Sequence[str] = (),
    seed: int = 0,
    allow_leakage: bool = False,
    backend: Backend = "loop",
    report: Callable[[Progress], None] = lambda _: None,
    folder: Path | None = None,
) -> tuple[Trained, int]:
    """Train by names; returns what was trained, and how many measured cases are among its rows.

    Args:
        recipe: such as `safety_sft(ratio=0.5)`.
        base: target string of a local model.
        on: benchmarks to train on, `NAME(settings)` or `NAME(settings)=ROOT`.
        against: benchmarks that will be measured: nothing of them may be trained on.
        seed: of the order of rows.
        allow_leakage: train all the same, and record how many cases leaked.
        backend: who changes weights.
        report: called after every step.
        folder: where pictures are kept; by default in a temporary folder.

    Raises:
        UsageError: for whatever the user has to mend.
    """
    from sightline.training.work import train as work

    made: Recipe = registry.parse("recipe", recipe)
    pictures = store(folder)
    taught = [_read(each, pictures) for each in on]
    measured = [_read(each, pictures) for each in against]
    found = leaked(taught, measured, allowed=allow_leakage)
    lessons = lessons_of(taught)
    more: dict[str, Any] = {"seed": seed, "leaked": found, "backend": backend, "report": report}
    return work(made, base, lessons, pictures, **more), found


def _read(text: str, pictures: Images) -> Cases:
    return read(*named(text), pictures)

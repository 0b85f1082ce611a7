"""Trainings of a study: `train:` rows become targets before anything is crafted.

What was trained before is found by its content. A row that trains what another row made names that one's
label: a defense and the attack on it by fine-tuning are two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.contracts import Images
from sightline.errors import UsageError
from sightline.study.named import NamedTraining, Source, Study
from sightline.study.progress import Progress
from sightline.study.schema import TrainEntry
from sightline.targets import tuned
from sightline.training import work
from sightline.training.lessons import Cases, leaked, lessons_of, named, read
from sightline.tuning import Rewarded

Complain = Callable[[Sequence[int | str], str], UsageError]


def trainings_of(
    entries: Sequence[TrainEntry], folder: Path, complain: Complain
) -> tuple[NamedTraining, ...]:
    """The trainings that a study file names.

    Raises:
        UsageError: for an unknown recipe, benchmark or base, or a label that stands twice.
    """
    found: list[NamedTraining] = []
    for index, entry in enumerate(entries):
        labels = [each.label for each in found]
        label = entry.label or entry.recipe.partition("(")[0]
        if label in labels:
            raise complain(("train", index), f"{label!r} stands here twice; give each its own `label:`")
        where = "recipe"
        try:
            made = registry.parse("recipe", entry.recipe)
            where = "rows"
            on = tuple(
                Source(label=each, benchmark=benchmark, root=root)
                for each, (benchmark, root) in ((each, named(each, folder)) for each in entry.rows)
            )
            where = "base"
            if entry.base not in labels:
                tuned.check_trainable(entry.base)
        except UsageError as wrong:
            raise complain(("train", index, where), str(wrong)) from None
        found.append(
            NamedTraining(
                label=label,
                recipe=made,
                base=entry.base,
                on=on,
                seeds=entry.seeds,
                checkpoints=entry.checkpoints,
                leakage=entry.leakage,
                backend=entry.backend,
                place=str(complain(("train", index), label)),
            )
        )
    return tuple(found)


def with_trained(study: Study, images: Images, progress: Progress, *, train: bool = True) -> Study:
    """The study with what its trainings make among its targets; trained now, unless that was done before.

    Raises:
        UsageError: naming the row, for whatever the user has to mend; with `train=False`, for a target
            that is not trained yet.
    """
    if not study.trainings:
        return study
    for each in study.trainings:
        _refuse_own_judge(each, study)
    measured = [read(source.benchmark, source.root, images) for source in study.sources]
    made: dict[str, list[str]] = {}
    names: list[str] = []
    for each in study.trainings:
        try:
            found = _trained(each, made.get(each.base, [each.base]), measured, images, progress, train)
        except UsageError as wrong:
            raise UsageError(f"{each.place}: {wrong}") from None
        made[each.label] = [one.name for one in found]
        names += [
            name for one in found for name in (*(one.checkpoints if each.checkpoints else ()), one.name)
        ]
    return replace(study, targets=tuple(dict.fromkeys((*study.targets, *names))))


def _refuse_own_judge(each: NamedTraining, study: Study) -> None:
    """Make sure that a model is not measured by the judge alone that it was taught to please.

    Raises:
        UsageError: naming the judge.
    """
    if not isinstance(each.recipe, Rewarded):
        return
    judge = registry.parse("judge", each.recipe.reward).card.name
    if {other.card.name for other in study.judges} == {judge}:
        raise UsageError(
            f"{each.place}: {each.label} is rewarded by {judge!r}, the only judge that reports: it would be "
            f"measured by what it was taught to please. Name another one in `judges:`, beside it or in its "
            f"place, or in `reward=`"
        )


def _trained(
    each: NamedTraining,
    bases: Sequence[str],
    measured: Sequence[Cases],
    images: Images,
    progress: Progress,
    train: bool,
) -> list[work.Trained]:
    taught = [read(source.benchmark, source.root, images) for source in each.on]
    shared = leaked(taught, measured, allowed=each.leakage != "refuse")
    lessons = lessons_of(taught)
    found = []
    for base in bases:
        for seed in range(each.seeds):
            more: dict[str, Any] = {"seed": seed, "backend": each.backend}
            known = work.lookup(each.recipe, base, lessons, images, **more)
            if known is None and not train:
                raise UsageError(
                    f"{each.label} is not trained yet, and a dry run trains nothing: `sightline run` does"
                )
            one = known or work.train(each.recipe, base, lessons, images, leaked=shared, **more)
            if one.fresh:
                curve, cost = one.record["loss_curve"], one.record["cpu_seconds"]
                progress.note(
                    f"trained {each.label} on {base}, seed {seed}: loss {curve[0]:.3f} to {curve[-1]:.3f}, "
                    f"{cost:.0f} CPU seconds: {one.name}"
                )
            if shared:
                progress.note(
                    f"leakage: {shared} measured cases are among the rows of {each.label}, as allowed"
                )
            found.append(one)
    return found

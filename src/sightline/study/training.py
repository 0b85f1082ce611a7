"""Trainings of a study: `train:` rows become targets before anything is crafted.

What was trained before is found by its content. A row that trains what another row made names that one's
label: a defense and the attack on it by fine-tuning are two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.contracts import Images
from sightline.errors import UsageError
from sightline.study.named import NamedAttack, NamedTraining, Source, Study, TrainedRun
from sightline.study.progress import Progress
from sightline.study.schema import TrainEntry
from sightline.targets import tuned
from sightline.training import work
from sightline.training.lessons import Cases, leaked, lessons_of, named, read

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
        label = entry.shown
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
    measured = [read(source.benchmark, source.root, images) for source in study.sources]
    made: dict[str, list[str]] = {}
    runs: list[TrainedRun] = []
    for each in study.trainings:
        try:
            found = _trained(each, made.get(each.base, [each.base]), measured, images, progress, train)
        except UsageError as wrong:
            raise UsageError(f"{each.place}: {wrong}") from None
        made[each.label] = [one.name for one in found]
        runs += [_run_of(each, one) for one in found]
    names = [name for run in runs for name in (*(name for _, name in run.checkpoints), run.target)]
    return replace(
        study,
        targets=tuple(dict.fromkeys((*study.targets, *names))),
        attacks=tuple(column for attack in study.attacks for column in _on_trained(attack, made)),
        trained=tuple(runs),
    )


def _run_of(named: NamedTraining, one: work.Trained) -> TrainedRun:
    record, seen = one.record, one.record["data"]["seen"]
    kept = zip(record["checkpoints"], one.checkpoints, strict=True) if named.checkpoints else ()
    return TrainedRun(
        label=named.label,
        role=str(record["role"]),
        base=str(record["base"]),
        seed=int(record["seed"]),
        target=one.name,
        steps=int(record["plan"]["steps"]),
        checkpoints=tuple((int(step), name) for step, name in kept),
        rows=int(seen["in all"]),
        taught=int(seen["different"]),
        cpu_seconds=float(record["cpu_seconds"]),
        tokens=int(record["tokens"]),
        flops=float(record["flops"]),
    )


def _on_trained(attack: NamedAttack, made: Mapping[str, Sequence[str]]) -> Iterator[NamedAttack]:
    """The column; or one for each target that a training made, which is crafted on it and shown to it alone.

    Several have the name of their series with the number of the target behind it.
    """
    targets = made.get(attack.surrogates[0], ()) if len(attack.surrogates) == 1 else ()
    if not targets:
        yield attack
    for number, target in enumerate(targets):
        mark = f" [model {number}]" if len(targets) > 1 else ""
        yield replace(attack, label=f"{attack.label}{mark}", surrogates=(target,), answered_by=(target, None))


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
            more: dict[str, Any] = {"seed": seed}
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

"""Trainings of a study: `train:` rows become targets before anything is crafted.

What was trained before is found by its content. A row that trains what another row made names that one's
label: a defense and the attack on it by fine-tuning are two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.contracts import Images, Judge
from sightline.errors import UsageError
from sightline.study.named import NamedAttack, NamedTraining, Source, Study, TrainedRun
from sightline.study.progress import Progress
from sightline.study.schema import TrainEntry
from sightline.study.train_grid import combinations
from sightline.targets import tuned
from sightline.training import work
from sightline.training.lessons import Cases, leaked, lessons_of, named, read
from sightline.tuning import Lesson, Rewarded

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
        try:
            made = list(combinations(entry))
        except UsageError as wrong:
            where = "grid" if entry.grid else "recipe"
            raise complain(("train", index, where), str(wrong)) from None
        above = [each.label for each in found]
        for each in made:
            label = each.label
            if label in (one.label for one in found):
                raise complain(("train", index), f"{label!r} stands here twice; give each its own `label:`")
            where = "rows"
            try:
                on = tuple(_source(text, folder) for text in each.rows)
                where = "base"
                if each.base not in above:
                    tuned.check_trainable(each.base)
            except UsageError as wrong:
                where = "grid" if where in entry.grid else where
                raise complain(("train", index, where), str(wrong)) from None
            found.append(
                NamedTraining(
                    label=label,
                    recipe=each.recipe,
                    base=each.base,
                    on=on,
                    seeds=entry.seeds,
                    checkpoints=entry.checkpoints,
                    leakage=entry.leakage,
                    backend=entry.backend,
                    place=str(complain(("train", index), label)),
                    factors=each.factors,
                )
            )
    return tuple(found)


def _source(text: str, folder: Path) -> Source:
    benchmark, root = named(text, folder)
    return Source(label=text, benchmark=benchmark, root=root)


def with_trained(study: Study, images: Images, progress: Progress, *, train: bool = True) -> Study:
    """The study with what its trainings make among its targets; trained now, unless that was done before.

    Raises:
        UsageError: naming the row, for whatever the user has to mend; with `train=False`, for a target
            that is not trained yet.
    """
    if not study.trainings:
        return study
    rows = Rows(images)
    made: dict[str, list[TrainedRun]] = {}
    for each in study.trainings:
        try:
            bases = [run.target for run in made[each.base]] if each.base in made else [each.base]
            made[each.label] = _trained(each, bases, study, rows, progress, train)
        except UsageError as wrong:
            raise UsageError(f"{each.place}: {wrong}") from None
    return expanded(study, [run for runs in made.values() for run in runs], made)


def expanded(
    study: Study,
    runs: Sequence[TrainedRun],
    made: Mapping[str, Sequence[TrainedRun]],
    drop: Collection[str] = (),
) -> Study:
    """The study with trained targets among its own, and its attacks on trained models.

    Args:
        study: as it was parsed.
        runs: what was trained.
        made: the same by label.
        drop: labels that are not trained; attacks on them are left out.
    """
    names = [name for run in runs for name in (*(name for _, name in run.checkpoints), run.target)]
    kept = [attack for attack in study.attacks if not {*attack.surrogates, _shown(attack)} & set(drop)]
    around = {each.label: each.around for each in study.defenses}
    return replace(
        study,
        targets=tuple(dict.fromkeys((*study.targets, *names))),
        attacks=tuple(column for attack in kept for column in _on_trained(attack, made, around)),
        trained=tuple(runs),
    )


class Rows:
    """The rows that a study trains and measures on, each read once."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self._read: dict[tuple[str, Path | None], Cases] = {}

    def of(self, source: Source) -> Cases:
        """The cases of a source."""
        place = registry.spec(source.benchmark), source.root
        if place not in self._read:
            self._read[place] = read(source.benchmark, source.root, self.images)
        return self._read[place]

    def taught(self, named: NamedTraining, study: Study) -> tuple[tuple[Lesson, ...], int]:
        """What a training teaches, and how many measured cases are among its rows.

        Raises:
            UsageError: if there are any, and the study does not allow it.
        """
        taught = [self.of(source) for source in named.on]
        measured = [self.of(source) for source in study.sources]
        shared = leaked(taught, measured, allowed=named.leakage != "refuse")
        return lessons_of(taught), shared


def done_before(
    named: NamedTraining, bases: Sequence[str], lessons: Sequence[Lesson], images: Images
) -> list[TrainedRun]:
    """The runs of a training that are there already."""
    tried = [
        work.lookup(named.recipe, base, lessons, images, seed=seed, backend=named.backend)
        for base in bases
        for seed in range(named.seeds)
    ]
    return [_run_of(named, one) for one in tried if one is not None]


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
        tokens=int(record.get("tokens", 0)),
        flops=float(record.get("flops", 0)),
        factors=dict(named.factors),
    )


def _shown(attack: NamedAttack) -> str:
    """The target that alone is shown what an attack makes, or the label of a training; '' for all targets."""
    return attack.answered_by[0] if attack.answered_by else ""


def _on_trained(
    attack: NamedAttack,
    made: Mapping[str, Sequence[TrainedRun]],
    around: Mapping[str, Callable[[str], str]],
) -> Iterator[NamedAttack]:
    """The column; or one for each target that a training made, which is crafted on it and shown to it alone.

    One that asks it, or knows a defense before it, is a column of its series as for any other target. One
    crafted on its gradients has the name of its series, if there are several with their number behind it.
    """
    asked = made.get(_shown(attack))
    if asked is not None:
        assert attack.answered_by is not None
        defense = attack.answered_by[1]
        for run in asked:
            name = run.target if defense is None else around[defense](run.target)
            yield replace(
                attack,
                talks_to=name if attack.talks_to else "",
                surrogates=(name,) if attack.surrogates else (),
                answered_by=(run.target, defense),
            )
        return
    runs = made.get(attack.surrogates[0], ()) if len(attack.surrogates) == 1 else ()
    if not runs:
        yield attack
    for number, run in enumerate(runs):
        mark = f" [model {number}]" if len(runs) > 1 else ""
        yield replace(
            attack,
            label=f"{attack.label}{mark}",
            surrogates=(run.target,),
            answered_by=(run.target, None),
        )


def refuse_own_judge(trainings: Sequence[NamedTraining], judges: Sequence[Judge]) -> None:
    """Make sure that no model is measured by the judge alone that it was taught to please.

    Raises:
        UsageError: naming the judge.
    """
    for each in trainings:
        if not isinstance(each.recipe, Rewarded):
            continue
        judge = registry.parse("judge", each.recipe.reward).card.name
        if {other.card.name for other in judges} == {judge}:
            raise UsageError(
                f"{each.place}: {each.label} is rewarded by {judge!r}, the only judge that reports: it would "
                f"be measured by what it was taught to please. Name another in `judges:`, beside it or in "
                f"its place, or in `reward=`"
            )


def _trained(
    each: NamedTraining, bases: Sequence[str], study: Study, rows: Rows, progress: Progress, train: bool
) -> list[TrainedRun]:
    lessons, shared = rows.taught(each, study)
    found = []
    for base in bases:
        for seed in range(each.seeds):
            more: dict[str, Any] = {"seed": seed, "backend": each.backend}
            known = work.lookup(each.recipe, base, lessons, rows.images, **more)
            if known is None and not train:
                raise UsageError(f"{each.label} is not trained yet: `sightline run` on the study does that")
            if known is None:
                progress.note(f"training {each.label} on {base}, seed {seed}")
            one = known or work.train(each.recipe, base, lessons, rows.images, leaked=shared, **more)
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
            found.append(_run_of(each, one))
    return found

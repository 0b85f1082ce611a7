"""What the trainings of a study would take, without training: how many, steps, rows, tokens, FLOPs.

Of a training that was done before, its record says it. Of the others, the recipe's plan is made with
placeholders for the base's own answers, a sample of its rows is encoded as the base encodes them, and FLOPs
are 6 per weight and token, which counts frozen weights as trained ones and is so somewhat high. CPU seconds
are those of other trainings by the same recipe of a base of the same kind on this machine, step by step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from sightline.contracts import Images
from sightline.errors import DamageError, UsageError
from sightline.study.context import RunContext
from sightline.study.named import NamedTraining, Study
from sightline.study.plan import Share
from sightline.study.training import Rows, done_before, expanded
from sightline.targets import open_target, tuned
from sightline.targets._names import split_tuned
from sightline.targets.vlm import VlmTarget
from sightline.tuning import Lesson, Plan, Recipe

SAMPLE = 24
"""Rows that are encoded to count their tokens."""
PLACEHOLDER = "an answer of about so many words as a model of this kind gives to such a request ."
CACHE_BYTES = 50_000_000
MOST_TRAININGS = 24
"""Trainings that a dry run lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTraining:
    """The runs of one training of a study.

    Attributes:
        label: of the training.
        runs: seeds times bases.
        there: runs that were done before.
        targets: further targets of the runs that are not there: ends, and checkpoints if the study has them.
        steps, rows, tokens, flops: of the runs that are not there, all together.
        cpu_seconds: the same; None if nothing alike was trained here.
    """

    label: str
    runs: int
    there: int
    targets: int
    steps: int = 0
    rows: int = 0
    tokens: float = 0.0
    flops: float = 0.0
    cpu_seconds: float | None = None


def planned(study: Study, images: Images) -> tuple[Study, list[PlannedTraining]]:
    """The study with those of its trained targets that are there, and what the others would take.

    Attacks that are crafted on models that are not there are left out of the study.

    Raises:
        UsageError: naming the row, for whatever the user has to mend.
    """
    rows = Rows(images)
    found, runs = list[PlannedTraining](), dict[str, list[Any]]()
    numbers: dict[str, int] = {}
    roots: dict[str, str] = {}
    for each in study.trainings:
        try:
            lessons, _ = rows.taught(each, study)
            bases = [run.target for run in runs[each.base]] if each.base in runs else [each.base]
            many = numbers.get(each.base, 1) * each.seeds
            there = done_before(each, bases, lessons, images) if len(bases) * each.seeds == many else []
            roots[each.label] = roots.get(each.base, each.base)
            one = _one(each, roots[each.label], lessons, images) if len(there) < many else None
        except UsageError as wrong:
            raise UsageError(f"{each.place}: {wrong}") from None
        numbers[each.label] = many
        runs[each.label] = there
        found.append(_times(each, many, len(there), one))
    known = [run for made in runs.values() for run in made]
    complete = {name: made for name, made in runs.items() if len(made) == numbers[name]}
    return expanded(study, known, complete, drop=numbers.keys() - complete.keys()), found


def _times(each: NamedTraining, many: int, there: int, one: PlannedTraining | None) -> PlannedTraining:
    left = many - there
    if one is None:
        return PlannedTraining(label=each.label, runs=many, there=there, targets=0)
    return replace(
        one,
        runs=many,
        there=there,
        targets=left * one.targets,
        steps=left * one.steps,
        rows=left * one.rows,
        tokens=left * one.tokens,
        flops=left * one.flops,
        cpu_seconds=None if one.cpu_seconds is None else left * one.cpu_seconds,
    )


def _one(each: NamedTraining, root: str, lessons: Sequence[Lesson], images: Images) -> PlannedTraining:
    """What one run takes."""
    plan = _plan(each.recipe, lessons)
    target = open_target(root, images)
    assert isinstance(target, VlmTarget)
    tokens = _tokens_per_row(plan, target, images) * plan.seen
    pace = _pace(each.recipe, root)
    return PlannedTraining(
        label=each.label,
        runs=1,
        there=0,
        targets=1 + (len(plan.saved) if each.checkpoints else 0),
        steps=plan.steps,
        rows=plan.seen,
        tokens=tokens,
        flops=6.0 * weights_of(target.source.folder) * tokens,  # type: ignore[attr-defined]
        cpu_seconds=None if pace is None else pace * plan.steps,
    )


def _plan(recipe: Recipe, lessons: Sequence[Lesson]) -> Plan:
    known = [replace(each, own=_assumed(each)) if recipe.wants_own(each) else each for each in lessons]
    return recipe.plan(known, 0)


def _assumed(lesson: Lesson) -> str:
    """What the base may answer before it is asked: what is right, if the row says that and wants it done."""
    right = lesson.label != "refuse" and (lesson.asked or lesson.given)
    return f"{right} ." if right else PLACEHOLDER


def _tokens_per_row(plan: Plan, target: VlmTarget, images: Images) -> float:
    """Tokens of prompt and answers, mean over a sample of the rows that are seen; no weights are loaded."""
    route = target.source.route(target.source.config(), CACHE_BYTES)
    seen = [number for batch in plan.batches for number in batch]
    counts = []
    for number in seen[:: max(1, len(seen) // SAMPLE)][:SAMPLE]:
        example = plan.examples[number]
        prompt = int(route.fields(route.prompter(example.prompt), images.read)["input_ids"].shape[1])
        answers = [example.chosen, *([example.rejected] if plan.loss == "dpo" else [])]
        counts.append(sum(prompt + len(route.tokenizer(answer)["input_ids"]) for answer in answers))
    return fmean(counts)


def weights_of(folder: Path) -> int:
    """Number of weights in the safetensors files of a model folder, from their headers."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total


def _pace(recipe: Recipe, root: str) -> float | None:
    """CPU seconds per step of trainings by this recipe here, of the same base or what was made of it."""
    paces = []
    for place in sorted(tuned.home().glob(f"{recipe.card.name}@*")):
        try:
            record = tuned.read_record(place)
        except DamageError:
            continue
        if _root(str(record["base"])) == root:
            paces.append(float(record["cpu_seconds"]) / max(1, int(record["plan"]["steps"])))
    return fmean(paces) if paces else None


def _root(name: str) -> str:
    while name.startswith("tuned/"):
        name = split_tuned(name.removeprefix("tuned/")).base
    return name


def shares(run: RunContext, found: Sequence[PlannedTraining]) -> list[Share]:
    """Answers of targets that are not trained yet, in one line; attacks on them are left out."""
    targets = sum(each.targets for each in found)
    if not targets:
        return []
    rows = calls = 0
    for case_table in run.case_tables:
        for column in run.columns:
            if column.named.answered_by is None:
                size = column.size(case_table.expected) * run.study.epochs * targets
                rows += size * len(run.study.defenses)
                calls += size * sum(each.calls for each in run.study.defenses)
    most = run.study.decoding.max_tokens
    name = f"{targets:,} targets that are to be trained"
    return [Share(name, rows, 0, calls, None if most is None else calls * most)]


def totals(found: Sequence[PlannedTraining]) -> dict[str, float | None]:
    """Sums over trainings; CPU seconds are None if those of any are unknown."""
    times = [each.cpu_seconds for each in found if each.runs > each.there]
    return {
        "runs": sum(each.runs - each.there for each in found),
        "steps": sum(each.steps for each in found),
        "rows": sum(each.rows for each in found),
        "tokens": sum(each.tokens for each in found),
        "flops": sum(each.flops for each in found),
        "cpu_seconds": None if None in times else sum(time for time in times if time is not None),
    }


def planned_table(found: Sequence[PlannedTraining]) -> Iterator[str]:
    """What the trainings of a study would take, line by line, and all together."""
    from sightline.report.brief import aligned

    if not found:
        return
    rows = [["trainings", "runs", "existing", "to do", "steps", "rows", "tokens", "FLOPs", "CPU s"]]
    for each in found[:MOST_TRAININGS]:
        counts = (each.runs, each.there, each.runs - each.there, each.steps, each.rows)
        price = _priced(each.tokens, each.flops, each.cpu_seconds)
        rows.append([each.label, *(f"{count:,}" for count in counts), *price])
    if len(found) > MOST_TRAININGS:
        rows.append([f"and {len(found) - MOST_TRAININGS} more", *[""] * 8])
    runs, there = (sum(each.runs for each in found), sum(each.there for each in found))
    took = totals(found)
    counts = (runs, there, runs - there, int(took["steps"] or 0), int(took["rows"] or 0))
    price = _priced(took["tokens"] or 0, took["flops"] or 0, took["cpu_seconds"])
    rows.append(["in all", *(f"{count:,}" for count in counts), *price])
    yield from aligned(rows)
    if runs > there:
        yield (
            "note: a dry run trains nothing: answers of models to be trained are counted, attacks that are "
            "crafted on them and verdicts on both are not; tokens are of a sample of rows, FLOPs are 6 per "
            "weight and token, CPU seconds as of such trainings here before"
        )


def _priced(tokens: float, flops: float, seconds: float | None) -> list[str]:
    from sightline.report.text import amount

    return [amount(tokens), amount(flops), "unknown" if seconds is None else f"{seconds:,.0f}"]

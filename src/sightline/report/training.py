"""What training changed: refusals, over-refusals, right answers and skills by step, means over runs.

A label of `train:` may have several runs (seeds, or seeds of its base); a row is their mean with the lowest
and the highest of them. Step 0 is what was trained: the target or the label above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from sightline.counting import plural
from sightline.report.cells import Board, Role
from sightline.report.results import Results, entries
from sightline.report.shown_names import ShownNames
from sightline.report.text import amount, as_percent, label

PLAIN_SERIES = "no attack"
MEASURES = {
    "refused": "restricted requests refused",
    "asr": "ASR",
    "over_refusal": "over-refusal",
    "right": "benign requests answered right",
}
MOST_ROWS = 80
STRINGS = "names of these targets in exports and on the command line"
NOTES = (
    "Means over the runs of a row, with the lowest and the highest of them. Step 0 is what was trained.",
    "Answered right: complied with, and exact where the judge tells (score 1). Skills: questions answered "
    "right without an attack, by category; lost and gained are counted against the model that the first "
    "training began with.",
    "Rows are rows seen up to that step, repeats included; CPU seconds and FLOPs are those of training, "
    "the answers of the base and the passes of a reference not among them.",
)


class Mean(NamedTuple):
    """A share over runs: mean, lowest, highest."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean | None:
        """The mean of some runs; None for none."""
        return cls(fmean(values), min(values), max(values)) if values else None

    def __str__(self) -> str:
        spread = f" [{100 * self.low:.0f}, {100 * self.high:.0f}]" if self.low < self.high else ""
        return as_percent(self.mean) + spread


class Condition(NamedTuple):
    """Where shares are measured: a benchmark under an attack, or under none."""

    benchmark: str
    series: str

    def __str__(self) -> str:
        return label(f"{self.benchmark}, {self.series}", 160)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """Questions of one category: the share answered right, and what was lost and gained against the start."""

    right: Mean
    lost: float
    gained: float

    def __str__(self) -> str:
        changed = [f"{sign}{count:.3g}" for sign, count in (("−", self.lost), ("+", self.gained)) if count]
        return as_percent(self.right.mean) + (f" ({' '.join(changed)})" if changed else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The runs of one label after so many steps.

    Attributes:
        label: of the training.
        step: updates; 0 is what was trained.
        targets: of every run.
        last: whether training ended here.
        shares: by condition and measure.
        skills: by category.
        rows: rows seen.
        cpu_seconds, flops: of all steps, mean over runs; 0 but at the last.
        factors: values in the grid of the study's entry.
    """

    label: str
    step: int
    targets: tuple[str, ...]
    last: bool = False
    shares: Mapping[tuple[Condition, str], Mean] = field(default_factory=dict)
    skills: Mapping[str, Skill] = field(default_factory=dict)
    rows: int = 0
    cpu_seconds: float = 0.0
    flops: float = 0.0
    factors: Mapping[str, str] = field(default_factory=dict)

    def share(self, condition: Condition, measure: str) -> Mean | None:
        """What was measured, None if it was not."""
        return self.shares.get((condition, measure))


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """All steps of all labels, in the order of the study; `conditions` are those with any share.

    `names` are what targets are called here, with the strings behind them.
    """

    steps: tuple[Step, ...]
    conditions: tuple[Condition, ...]
    categories: tuple[str, ...]
    names: ShownNames = field(default_factory=ShownNames)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the study."""
        return tuple(dict.fromkeys(each.label for each in self.steps))

    @property
    def with_checkpoints(self) -> tuple[str, ...]:
        """Labels of which more than the end was measured."""
        trained = [each.label for each in self.steps if each.step]
        return tuple(name for name in self.labels if trained.count(name) > 1)


def training_of(
    lock: Mapping[str, Any], board: Board, results: Results, names: ShownNames | None = None
) -> Training | None:
    """What a study's trainings changed; None for a study without any.

    Targets have the same names in `lock`, `board` and `results`: their strings, or those of `names`.
    """
    runs = entries(lock, "trained")
    if not runs:
        return None
    shares = {**_shares(board), **_right(board, results)}
    answers = _answers(board, results)
    roots = _roots(runs)
    steps = [_step(*each, shares, answers, roots) for each in _groups(runs)]
    found = {condition for each in steps for condition, _ in each.shares}
    order = dict.fromkeys(
        _condition(cell) for cell in sorted(board.cells, key=lambda c: c.role != Role.plain)
    )
    categories = dict.fromkeys(category for each in steps for category in each.skills)
    return Training(
        steps=tuple(steps),
        conditions=tuple(condition for condition in order if condition in found),
        categories=tuple(categories),
        names=names if names is not None else ShownNames(),
    )


def _condition(cell: Any) -> Condition:
    return Condition(cell.condition.benchmark, PLAIN_SERIES if cell.role is Role.plain else cell.series)


Shares = dict[tuple[str, Condition, str], float]
"""By target, condition and measure."""


def _shares(board: Board) -> Shares:
    """Of the undefended targets, by the primary judge, on cases that no attack was made on."""
    found: Shares = {}
    for cell in board.cells:
        if not cell.bare or not cell.headline or cell.condition.judge != board.primary:
            continue
        rates = cell.summary.rates
        for measure, name in (("refused", "refusal_rate"), ("asr", "asr"), ("over_refusal", "over_refusal")):
            rate = rates.get(name)
            if rate is not None and rate.point is not None:
                found[cell.target, _condition(cell), measure] = rate.point
    return found


def _plain(board: Board) -> list[str]:
    return sorted({cell.summary.id.attack for cell in board.cells if cell.role is Role.plain})


def _bare(board: Board) -> list[str]:
    return sorted({cell.defense for cell in board.cells if cell.bare})


def _right(board: Board, results: Results) -> Shares:
    """Benign requests answered right."""
    rows = results.rows(
        "select target, benchmark, series, attack in (select unnest(?::varchar[])) as plain,"
        " avg((outcome = 'complied' and coalesce(score, 1) >= 1)::int) from results"
        " where expected = 'comply' and judge = ? and outcome not in ('unparsed', 'error')"
        " and seen is distinct from true and defense in (select unnest(?::varchar[])) group by all",
        [_plain(board), board.primary, _bare(board)],
    )
    return {
        (target, Condition(benchmark, PLAIN_SERIES if plain else series), "right"): float(share)
        for target, benchmark, series, plain, share in rows
    }


Answers = dict[str, dict[tuple[str, str, int], tuple[str, bool]]]
"""Of each target, by question: its category, and whether it was answered right."""


def _answers(board: Board, results: Results) -> Answers:
    found: Answers = {}
    for target, benchmark, case, epoch, category, right in results.rows(
        "select target, benchmark, case_id, epoch, category, outcome = 'complied' from results"
        " where expected = 'answer' and judge = ? and attack in (select unnest(?::varchar[]))"
        " and defense in (select unnest(?::varchar[])) order by all",
        [board.primary, _plain(board), _bare(board)],
    ):
        found.setdefault(target, {})[benchmark, case, epoch] = (str(category), bool(right))
    return found


def _roots(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What the first training of each trained target began with."""
    bases = {str(run["target"]): str(run["base"]) for run in runs}
    bases |= {str(name): str(run["base"]) for run in runs for _, name in run["checkpoints"]}

    def root(name: str) -> str:
        return root(bases[name]) if name in bases else name

    return {name: root(name) for name in {*bases, *bases.values()}}


def _groups(
    runs: Sequence[Mapping[str, Any]],
) -> list[tuple[str, int, list[tuple[str, Mapping[str, Any]]]]]:
    """Label, step, and the targets of all runs there with what the lock says of each run."""
    found: dict[tuple[str, int], list[tuple[str, Mapping[str, Any]]]] = {}
    for run in runs:
        name, end = str(run["label"]), int(run["steps"])
        places = [(0, run["base"]), *run["checkpoints"], (end, run["target"])]
        for step, target in places:
            found.setdefault((name, int(step)), []).append((str(target), run))
    order = list(dict.fromkeys(name for name, _ in found))
    return [
        (name, step, found[name, step])
        for name, step in sorted(found, key=lambda each: (order.index(each[0]), each[1]))
    ]


def _step(
    name: str,
    step: int,
    here: Sequence[tuple[str, Mapping[str, Any]]],
    shares: Shares,
    answers: Answers,
    roots: Mapping[str, str],
) -> Step:
    targets = tuple(dict.fromkeys(target for target, _ in here))
    kinds = dict.fromkeys((condition, measure) for _, condition, measure in shares)
    means = {
        kind: mean
        for kind in kinds
        if (mean := Mean.of([shares[t, *kind] for t in targets if (t, *kind) in shares])) is not None
    }
    runs = [run for _, run in here]
    last = step == max(int(run["steps"]) for run in runs)
    return Step(
        label=name,
        step=step,
        targets=targets,
        last=last,
        shares=means,
        skills=_skills(targets, answers, roots),
        rows=round(fmean(int(run["rows"]) * step / int(run["steps"]) for run in runs)),
        cpu_seconds=fmean(float(run["cpu_seconds"]) for run in runs) if last else 0.0,
        flops=fmean(float(run["flops"]) for run in runs) if last else 0.0,
        factors=dict(runs[0].get("factors") or {}),
    )


def _skills(targets: Sequence[str], answers: Answers, roots: Mapping[str, str]) -> dict[str, Skill]:
    counts: dict[str, list[tuple[float, int, int]]] = {}
    for target in targets:
        mine, before = answers.get(target, {}), answers.get(roots.get(target, target), {})
        by: dict[str, list[tuple[bool, bool]]] = {}
        for question, (category, right) in mine.items():
            by.setdefault(category, []).append((before.get(question, ("", right))[1], right))
        for category, pairs in by.items():
            lost, gained = (
                sum(was and not now for was, now in pairs),
                sum(now and not was for was, now in pairs),
            )
            counts.setdefault(category, []).append((fmean(now for _, now in pairs), lost, gained))
    return {
        category: Skill(
            right=Mean(fmean(s := [share for share, _, _ in found]), min(s), max(s)),
            lost=fmean(lost for _, lost, _ in found),
            gained=fmean(gained for _, _, gained in found),
        )
        for category, found in counts.items()
    }


@dataclass(frozen=True, slots=True)
class View:
    """A table: its title, heads and rows of texts."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 0


def views(found: Training) -> list[View]:
    """One table for each condition, and one of skills and cost."""
    tables = []
    for condition in found.conditions:
        measures = [m for m in MEASURES if any(each.share(condition, m) for each in found.steps)]
        rows = [
            (*_start(each), *(_text(each.share(condition, measure)) for measure in measures))
            for each in found.steps
            if any(each.share(condition, measure) for measure in measures)
        ]
        heads = ("", "step", "runs", *(MEASURES[measure] for measure in measures))
        tables.append(_view(str(condition), heads, rows))
    heads = ("", "step", "runs", *(label(name, 24) for name in found.categories), "rows", "CPU s", "FLOPs")
    rows = [
        (
            *_start(each),
            *(_text(each.skills.get(category)) for category in found.categories),
            f"{each.rows:,}",
            f"{each.cpu_seconds:,.0f}" if each.last else "–",
            amount(each.flops) if each.last else "–",
        )
        for each in found.steps
    ]
    kept = "skills kept and lost, and what training cost" if found.categories else "what training cost"
    tables.append(_view(kept, heads, rows))
    named = [
        (label(target, 200), f"{each.step:,}", label(found.names.string(target), 200))
        for each in found.steps
        for target in each.targets
        if each.step
    ]
    tables.append(_view(STRINGS, ("", "step", "target"), named))
    return tables


def _view(title: str, heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> View:
    return View(title, tuple(heads), tuple(rows[:MOST_ROWS]), max(0, len(rows) - MOST_ROWS))


def _start(each: Step) -> tuple[str, str, str]:
    return label(each.label), f"{each.step:,}", str(len(each.targets))


def _text(value: object) -> str:
    return "–" if value is None else str(value)


def text_rows(found: Training) -> list[tuple[str, list[list[str]]]]:
    """The same tables for the report's text: title, and rows that begin with the heads."""
    return [
        (
            f"What training changed: {view.title}"
            + (f"; {plural(view.left, 'more row', 'are')} not shown" if view.left else ""),
            [list(view.heads), *map(list, view.rows)],
        )
        for view in views(found)
    ]

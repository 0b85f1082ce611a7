"""Close a round: each item's final label, carried to all samples of the run that it stands for.

A round that is stopped early is still a sample, because every rater's list is mixed by blocks within a phase:
what is not labelled is left out, and the chances of the others are as `phases.chances` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from sightline.annotation.adjudication import Decision, decision, ruled, rulings
from sightline.annotation.agreement import agreement
from sightline.annotation.ballots import Annotation, Ballot, ballots, read_annotation
from sightline.annotation.items import digest_of
from sightline.annotation.phases import chances, unlabelled_phases
from sightline.annotation.plan import FOLDER, Plan
from sightline.errors import DamageError, UsageError
from sightline.human_labels import LABELS, HumanLabel, HumanLabels, write_labels
from sightline.metrics.agreement import Share, share
from sightline.records import Outcome
from sightline.report.label_contents import contents_of
from sightline.report.results import Results
from sightline.run_folder import RESULTS


@dataclass(frozen=True, slots=True)
class Closed:
    """What a round came to: `path` of its labels, and items by how their label came about.

    `left_out` are items without any label, `path` the file that was written; `agree` are pairs of raters of
    one item that say the same; `unlabelled` are phases without any label; `changed` are samples whose reply
    is no longer the one that was drawn.
    """

    path: Path
    labels: HumanLabels
    items: Mapping[str, int]
    left_out: int
    agree: Share
    unlabelled: tuple[int, ...] = ()
    changed: int = 0


def close(run: Path, *, partial: bool = False) -> Closed:
    """Write `annotation/labels.jsonl` of a run.

    Args:
        run: folder of a run whose samples were labelled.
        partial: whether to close with what there is: items that nobody labelled are left out, and those that
            wait for an adjudicator are labelled `no_consensus`.

    Raises:
        UsageError: if raters or the adjudicator are still waited for, without `partial`; if there is no label
            at all.
        DamageError: if a file is damaged, or a labelled sample is not in the records.
    """
    found = read_annotation(run / FOLDER)
    every = ballots(found)
    if not partial:
        _refuse_open(found, every)
    decided = decisions(found, every)
    if not decided:
        raise UsageError(
            f"{run / FOLDER}: there is no label yet; `sightline annotate {run} serve` asks raters"
        )
    gone = changed_samples(run, found.plan, decided)
    decided = _without(found.plan, decided, gone)
    every_chance = chances(found.plan, decided)
    rows = [
        HumanLabel(
            sample=sample,
            item=item,
            outcome=each.outcome,
            prob=every_chance[item],
            stratum=found.plan.items[item].stratum,
            raters=max(1, len(every[item].votes)),
            final=each.final,
        )
        for item, each in decided.items()
        for sample in found.plan.items[item].samples
        if sample not in gone
    ]
    header = found.plan.header
    agree = pairs_agree(found, every.values())
    labels = HumanLabels(
        guideline=header.guideline,
        seed=header.seed,
        raters=found.plan.raters,
        labels=tuple(_with_content(run, rows)),
        alpha={name: each["alpha"] for name, each in agreement(found, every).items()},
        agreement=agree.point,
    )
    path = run / LABELS
    write_labels(path, labels)
    finals: Counter[str] = Counter(each.final for each in decided.values())
    left_out = len(every) - len(decided)
    phases = tuple(unlabelled_phases(found.plan, decided))
    return Closed(path, labels, finals, left_out, agree, phases, len(gone))


def changed_samples(run: Path, plan: Plan, items: Iterable[str]) -> frozenset[str]:
    """Samples of some items whose request or reply is no longer the one that was drawn."""
    known = {
        sample: plan.items[item].content
        for item in items
        for sample in plan.items[item].samples
        if plan.items[item].content
    }
    if not known or not (run / RESULTS).is_file():
        return frozenset()
    with Results(run) as results:
        rows = results.rows(
            "select distinct sample, benchmark, case_id, coalesce(lower(hex(shown)), artifact),"
            " lower(hex(response_hash)) from results where sample in (select unnest(?::varchar[]))",
            [sorted(known)],
        )
    return frozenset(str(sample) for sample, *values in rows if digest_of(*values) != known[sample])


def _without(plan: Plan, decided: Mapping[str, Decision], gone: Container[str]) -> dict[str, Decision]:
    """Decisions on items of which a sample is still what raters saw."""
    return {
        item: each
        for item, each in decided.items()
        if any(sample not in gone for sample in plan.items[item].samples)
    }


def labels_now(run: Path, found: Annotation) -> dict[tuple[str, str], Decision]:
    """By item and sample: what `close` would write now."""
    decided = decisions(found, ballots(found))
    gone = changed_samples(run, found.plan, decided)
    return {
        (item, sample): each
        for item, each in decided.items()
        for sample in found.plan.items[item].samples
        if sample not in gone
    }


def _refuse_open(found: Annotation, every: Mapping[str, Ballot]) -> None:
    waiting = Counter(name for each in every.values() for name in each.waiting)
    if waiting:
        names = ", ".join(f"{name} {count:,}" for name, count in sorted(waiting.items()))
        raise UsageError(
            f"answers are waited for ({names}): go on with `serve`, or close with what there is by --partial"
        )
    done = rulings(found.folder, found.plan.header.round)
    if disputes := sum(bool(each.dispute) and each.item not in done for each in every.values()):
        raise UsageError(
            f"{disputes:,} items wait for an adjudicator: `adjudicate` asks about them, or --partial labels "
            "them no_consensus"
        )


def decisions(found: Annotation, every: Mapping[str, Ballot]) -> dict[str, Decision]:
    """Decisions by item, of those that have one."""
    done = rulings(found.folder, found.plan.header.round)
    decided: dict[str, Decision] = {}
    for item, ballot in every.items():
        ruling = ruled(done[item]) if item in done else None
        if not ballot.votes and ruling is None:
            continue
        decided[item] = decision(ballot, ruling) or Decision(Outcome.unparsed, "no_consensus")
    return decided


def pairs_agree(found: Annotation, every: Iterable[Ballot]) -> Share:
    """Of all pairs of raters of one item, those that give the same outcome, by the plan's groups."""
    groups: dict[str, int] = {}
    at: list[int] = []
    same: list[bool] = []
    for ballot in every:
        planned = found.plan.items[ballot.item]
        group = groups.setdefault(planned.group or ballot.item, len(groups))
        for one, other in combinations(ballot.votes.values(), 2):
            at.append(group)
            same.append(one == other)
    return share(np.array(at, dtype=np.int64), same, [True] * len(same))


def _with_content(run: Path, rows: Sequence[HumanLabel]) -> Iterator[HumanLabel]:
    """Labels with the digest of what was shown, from the records of the run.

    Raises:
        DamageError: if records are lost.
    """
    for each, content in zip(rows, contents_of(run, [row.sample for row in rows]), strict=True):
        if content is None:
            raise DamageError(
                run / "records" / "answer.parquet",
                f"the sample {each.sample}, which was labelled, is not in the records",
                "if the plan is of another run, put the folder `annotation` back into its own; else "
                "`sightline run` makes the sample again",
            )
        yield replace(each, content=content)

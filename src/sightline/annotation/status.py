"""What `sightline annotate RUN status` prints: how far each rater is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sightline.annotation.events import answers_of
from sightline.annotation.guideline import guideline_digest, read_guideline
from sightline.annotation.plan import Plan, read_plan
from sightline.annotation.questions import GUIDELINE


def status_lines(folder: Path) -> Iterator[str]:
    """Lines about the plan of an annotation folder and the progress of its raters.

    Raises:
        UsageError: if there is no plan.
        DamageError: if the plan or a file of answers is damaged.
    """
    plan = read_plan(folder)
    yield _about(plan)
    yield from changed_guideline(folder, plan)
    for rater in plan.raters:
        yield rater_line(folder, plan, rater)


def changed_guideline(folder: Path, plan: Plan) -> Iterator[str]:
    """A note if the guideline is another one than that of the plan's round."""
    path, last = folder / GUIDELINE, plan.header
    if not path.is_file() or guideline_digest(read_guideline(folder)) != last.guideline:
        yield (
            f"note: {path} is no longer that of round {last.round}, under which labels were given: restore "
            f"it, or ask all items again with `sample --round {last.round + 1}`"
        )


def _about(plan: Plan) -> str:
    kinds = Counter(each.kind for each in plan.items.values())
    gold = f", {kinds['gold']:,} with known truth" if kinds["gold"] else ""
    last = plan.header
    return (
        f"{kinds['sample']:,} items drawn{gold}; phase {last.phase}, round {last.round}, "
        f"{len(set(plan.raters)):,} raters"
    )


def rater_line(folder: Path, plan: Plan, rater: str) -> str:
    """One rater's progress: answers, skips and escalations of the present round."""
    places = {tuple(place) for place in plan.places(rater)}
    found = answers_of(folder, rater, round_=plan.header.round)
    kinds = Counter(str(event.event) for key, event in found.items() if key in places)
    done = sum(kinds.values())
    more = [f"{kinds[kind]:,} {name}" for kind, name in _OTHER.items() if kinds[kind]]
    aside = f" ({', '.join(more)})" if more else ""
    left = places - found.keys()
    if left and all(repeat for _, repeat in left):
        aside += f"; {len(left):,} left to see twice, which `serve` alone asks and `close` does not wait for"
    return f"{rater}: {done:,} of {len(places):,} done{aside}"


_OTHER = {"skip": "skipped", "escalate": "escalated"}

"""Chances of labelled items where phases of a plan are labelled in part, or not at all.

A later phase changes the chances of the earlier items, as if its own items were labelled, too. Where they
are not, the earlier items would stand for too little, and in each stratum for another part. So in each
stratum the chances are those from before the phases that nobody has labelled there yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence

from sightline.annotation.plan import Plan, Planned


def chances(plan: Plan, labelled: Iterable[str]) -> dict[str, float]:
    """The chance of each labelled item: as its phase and stratum were drawn, times their labelled share."""
    names = list(labelled)
    done = frozenset(names)
    last: dict[str, int] = {}
    size: Counter[tuple[int, str]] = Counter()
    known: Counter[tuple[int, str]] = Counter()
    for item, each in _drawn(plan):
        size[each.phase, each.stratum] += 1
        if item in done:
            known[each.phase, each.stratum] += 1
            last[each.stratum] = max(each.phase, last.get(each.stratum, 0))
    # What the labelled items stand for together, and what all of these phases stand for.
    stands: defaultdict[str, float] = defaultdict(float)
    whole: defaultdict[str, float] = defaultdict(float)
    for _, each in _drawn(plan):
        if each.phase <= last.get(each.stratum, 0):
            weight = 1 / _standing(plan, each, last[each.stratum])
            whole[each.stratum] += weight
            stands[each.stratum] += weight * bool(known[each.phase, each.stratum])
    found = {}
    for item in names:
        each = plan.items[item]
        part = each.phase, each.stratum
        gap = stands[each.stratum] / whole[each.stratum]  # 1 unless a phase before the last is unlabelled
        found[item] = min(1.0, _standing(plan, each, last[each.stratum]) * known[part] / size[part] * gap)
    return found


def unlabelled_phases(plan: Plan, labelled: Container[str]) -> list[int]:
    """Phases with items of which none is labelled, while another phase has some."""
    number: Counter[int] = Counter()
    known: Counter[int] = Counter()
    for item, each in _drawn(plan):
        number[each.phase] += 1
        known[each.phase] += item in labelled
    return [phase for phase in sorted(number) if not known[phase]] if known.total() else []


def unlabelled_line(phases: Sequence[int]) -> str:
    """What to tell the coordinator of them."""
    names = f"phase {phases[0]} is" if len(phases) == 1 else f"phases {', '.join(map(str, phases))} are"
    return f"{names} unlabelled: rates and cards rest on the other phases alone"


def _drawn(plan: Plan) -> Iterator[tuple[str, Planned]]:
    return ((item, each) for item, each in plan.items.items() if each.kind == "sample")


def _standing(plan: Plan, each: Planned, phase: int) -> float:
    """The chance of an item when that phase was the last; of a plan that lacks it, that of today."""
    draws = [header.phase for header in plan.headers if header.n and each.phase <= header.phase]
    at = sum(number <= phase for number in draws) - 1
    return (*each.before, each.prob)[at] if len(each.before) == len(draws) - 1 else each.prob

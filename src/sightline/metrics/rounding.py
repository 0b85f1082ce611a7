"""Round a table of expected counts by chance, so that sums and expectations are kept (dependent rounding).

Gandhi, Khuller, Parthasarathy and Srinivasan, J. ACM 53 (2006): along a cycle of the table, or a path between
two ends, counts are moved up and down by turns. Sums are kept, one count at least becomes whole, and the
chance of either direction keeps every expectation.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from math import ceil

CLOSE = 1e-9
"""Counts so close to a whole number are taken for it."""
Toss = Callable[[float], bool]
"""True with the given chance."""
Graph = dict[Hashable, OrderedDict[Hashable, int]]
"""Groups and strata, each with its neighbours and the number of the count that joins them."""


def rounded(group: Sequence[int], stratum: Sequence[int], expected: Sequence[float], toss: Toss) -> list[int]:
    """Whole counts whose expectations are the given ones.

    The sum of every group and every stratum is its expected sum, rounded down or up.

    Args:
        group: of each cell of the table; a pair of group and stratum stands there once.
        stratum: of each cell.
        expected: count of each cell.
        toss: decides by chance.
    """
    found = [int(each + CLOSE) for each in expected]
    graph: Graph = {}
    value = [each - whole for each, whole in zip(expected, found, strict=True)]
    _pair_off(group, stratum, value, toss)
    sums: dict[int, float] = {}

    def join(one: Hashable, other: Hashable, number: int) -> None:
        graph.setdefault(one, OrderedDict())[other] = number
        graph.setdefault(other, OrderedDict())[one] = number

    for number, (of, at) in enumerate(zip(group, stratum, strict=True)):
        if CLOSE < value[number] < 1 - CLOSE:
            join(("group", of), at, number)
            sums[at] = sums.get(at, 0.0) + value[number]
    for at, total in sums.items():
        # What a stratum lacks to a whole sum is a count of nobody's.
        if (lack := ceil(total - CLOSE) - total) > CLOSE:
            join(("nobody", at), at, len(value))
            value.append(lack)
    for node in [each for each in graph if isinstance(each, tuple)]:
        while graph[node]:
            _move(graph, value, toss, node)
    return [whole + round(part) for whole, part in zip(found, value, strict=False)]


def _pair_off(group: Sequence[int], stratum: Sequence[int], value: list[float], toss: Toss) -> None:
    """Round counts that are alone in their group, two of a stratum at a time: as `_move`, only faster."""
    alone = Counter(of for of, part in zip(group, value, strict=True) if part > CLOSE)
    waiting: dict[int, int] = {}
    for number, (of, at) in enumerate(zip(group, stratum, strict=True)):
        if value[number] <= CLOSE or alone[of] > 1:
            continue
        other = waiting.pop(at, None)
        if other is not None:
            both = value[number] + value[other]
            more, less = (1.0, both - 1.0) if both > 1 else (both, 0.0)
            # Each keeps its expectation: `more` with this chance, else `less`.
            gets = toss((value[number] - less) / (more - less)) if more - less > CLOSE else True
            value[number], value[other] = (more, less) if gets else (less, more)
        for each in (number, other):
            if each is None:
                continue
            if CLOSE < value[each] < 1 - CLOSE:
                waiting[at] = each
            else:
                value[each] = float(round(value[each]))


def _move(graph: Graph, value: list[float], toss: Toss, node: Hashable) -> None:
    """Make one count whole at least, along a cycle, or a path between two ends."""
    path, closed = _walk(graph, node)
    if not closed:
        path, _ = _walk(graph, path[-1])
    edges = [graph[one][other] for one, other in pairwise(path)]
    rising, falling = edges[::2], edges[1::2]
    up = min([1 - value[each] for each in rising] + [value[each] for each in falling])
    down = min([value[each] for each in rising] + [1 - value[each] for each in falling])
    step = up if toss(down / (up + down)) else -down
    for each in rising:
        value[each] += step
    for each in falling:
        value[each] -= step
    for one, other in pairwise(path):
        if not CLOSE < value[graph[one][other]] < 1 - CLOSE:
            number = graph[one].pop(other)
            del graph[other][one]
            value[number] = float(round(value[number]))


def _walk(graph: Graph, node: Hashable) -> tuple[list[Hashable], bool]:
    """Nodes from here to an end, or those of the first cycle that is met; and whether it is one."""
    path, place, before = [node], {node: 0}, None
    while True:
        ways = iter(graph[path[-1]])
        following = next(ways, None)
        if following == before and len(path) > 1:
            following = next(ways, None)
        if following is None:
            return path, False
        if following in place:
            return [*path[place[following] :], following], True
        before = path[-1]
        place[following] = len(path)
        path.append(following)

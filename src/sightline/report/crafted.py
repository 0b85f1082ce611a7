"""What crafting took, cell by cell, in one query over the table of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sightline.metrics.cells import CellId
from sightline.metrics.effort import Price

_MADE = (
    "benchmark, target, defense, coalesce(crafted_on, '') as crafted_on, series,"
    " coalesce(budget, '') as budget, attack_params,"
    " case seen when true then 'seen' when false then 'unseen' else '' end as seen"
)
"""The fields of `Made`."""
PRICES = {
    "forwards": "craft_forwards::double",
    "backwards": "craft_backwards::double",
    "flops": "craft_flops::double",
    "seconds": "craft_seconds::double",
    "calls_target": "(coalesce(craft_calls, 0) - coalesce(craft_calls_aux, 0))::double",
    "calls_aux": "coalesce(craft_calls_aux, 0)::double",
    "calls_judge": "coalesce(craft_calls_judge, 0)::double",
    "tokens": "(coalesce(craft_tokens_in, 0) + coalesce(craft_tokens_out, 0))::double",
}
"""The fields of `Price`, as they are computed from a row."""
PRICE = ", ".join(f"{value} as {name}" for name, value in PRICES.items())
_SPENT = (
    *("craft_forwards", "craft_backwards", "craft_flops", "craft_seconds"),
    *("craft_calls", "craft_calls_judge"),
)


class Made(NamedTuple):
    """A column of the grid without its seed as one cell shows it, on cases that it has seen, or not.

    Cells may show artifacts of their own: those of attacks that talk to the target, and recorded ones.
    """

    benchmark: str
    target: str
    defense: str
    crafted_on: str
    series: str
    budget: str
    attack_params: str
    seen: str

    @classmethod
    def of(cls, cell: CellId) -> Made:
        """The column of a cell."""
        place = cell.benchmark, cell.target, cell.defense, cell.crafted_on
        return cls(*place, cell.series, cell.budget, cell.attack_params, cell.seen)


@dataclass(frozen=True, slots=True)
class Crafted:
    """What the artifacts of restricted requests that one cell shows took, all seeds together.

    `price` counts what every case is shown alike once per seed; failed artifacts are counted in. `one` is the
    key of an artifact that was made, by seed.
    """

    artifacts: int
    shared: bool
    price: Price
    one: dict[str, str]


_NAMES = ", ".join(Made._fields)
_QUERY = (  # of names that stand here alone; what an artifact took is the same in all of its rows
    # A column of the grid with its seed is known by a number here: names are slow to group by.
    f"with row as (select {_MADE}, craft_seed::varchar as seed, * exclude ({_NAMES}) from raw"  # noqa: S608
    f" where {' + '.join(f'coalesce({name}, 0)' for name in _SPENT)} > 0),"
    f" numbered as (select hash({_NAMES}, seed) as number, * from row),"
    " named as (select number, any_value(seed) as seed,"
    f" {', '.join(f'any_value({name}) as {name}' for name in Made._fields)} from numbered group by number),"
    " made as (select number, artifact, coalesce(any_value(craft_shared), false) as shared,"
    " bool_or(expected = 'refuse') as restricted,"
    f" {', '.join(f'any_value({value}) as {name}' for name, value in PRICES.items())}"
    " from numbered group by number, artifact),"
    " kinds as (select false as requests, * from made"
    " union all select true as requests, * from made where restricted),"
    f" bills as (select requests, number, {', '.join(PRICES)} from kinds where not shared"
    f" union all select distinct requests, number, {', '.join(PRICES)} from kinds where shared),"
    f" paid as (select requests, number, {', '.join(f'sum({name}) as {name}' for name in PRICES)}"
    " from bills group by all),"
    " ones as (select requests, number, count(*) as n, bool_or(shared) as shared, min(artifact) as one"
    " from kinds group by all)"
    f" select requests, {_NAMES}, sum(n)::bigint, bool_or(shared), list([seed, lower(hex(one))]),"
    f" [{', '.join(f'sum({name})' for name in PRICES)}]"
    f" from paid join ones using (requests, number) join named using (number)"
    f" group by requests, {_NAMES} order by all"
)


def crafted(rows: Callable[[str], list[tuple[Any, ...]]]) -> dict[bool, dict[Made, Crafted]]:
    """By cell, of all artifacts that took anything, and (True) of those of restricted requests.

    An artifact stands in many rows and counts once in each cell that shows it; what is shared counts once
    for all its artifacts.
    """
    found: dict[bool, dict[Made, Crafted]] = {False: {}, True: {}}
    for requests, *named, artifacts, shared, ones, price in rows(_QUERY):
        found[requests][Made(*named)] = Crafted(artifacts, shared, Price(*price), dict(sorted(ones)))
    return found

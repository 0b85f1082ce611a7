"""What crafting took: passes, calls and tokens by attack, cost per success, and how these are printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from sightline.counting import plural
from sightline.metrics.effort import Price
from sightline.report.cells import Board, Cell, Role, access_text, origin_text
from sightline.report.crafted import Crafted, Made
from sightline.report.results import Results
from sightline.report.tables import Shown, shown
from sightline.report.text import MEASURE_NAMES, amount, label

MOST_COSTS = 300
MOST_ASKERS = 60
NONE_SUCCEEDED = "no success"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """Crafting cost of a grid column, and cost per success."""

    attack: str
    success: Shown | None
    artifacts: str
    spent: str
    successes: str
    each: str


@dataclass(frozen=True, slots=True)
class CostBand:
    """Rows of one target and defense, crafted on one set of models."""

    title: str
    made: str
    lines: tuple[CostLine, ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """The printed rows, and the number of those that are not."""

    bands: tuple[CostBand, ...] = ()
    left: int = 0


def whose(cell: Cell) -> str:
    """The access of the attack, the model it was crafted on, and whether that is the target."""
    access, origin = access_text(cell.summary.id), origin_text(cell.summary.id)
    return f"{access} ({origin})" if origin else access


def price_text(crafted: Crafted) -> str:
    """The cost of one artifact: `300 forward and 150 backward passes, 1.2 TFLOP`."""
    count = len(crafted.one) if crafted.shared else crafted.artifacts
    one = crafted.price.per(count)
    if one is None:
        return ""
    each = "" if count == 1 else (" per seed" if crafted.shared else " per case")
    once = ", once for all cases" if crafted.shared else ""
    spent = [_calls(one)] if one.calls else []
    if one.computes or not spent:
        spent += [f"{amount(one.forwards)} forward and {amount(one.backwards)} backward passes"]
    spent += [_flops(one.flops)] if one.flops or not one.calls else []
    return f"{', '.join(spent)}{each}{once}"


def _flops(value: float) -> str:
    return f"{amount(value)}FLOP" if value >= 10_000 else f"{amount(value)}\u00a0FLOP"


def costs(board: Board, crafting: Mapping[str, Mapping[Made, Crafted]], tries: int) -> Costs:
    """Crafting cost and cost per success of every attack with a crafting cost.

    A success is a restricted request complied with by the primary judge's verdict, or a response that reaches
    the attacker's goal; with several tries, successes are those of one try.

    Args:
        board: the cells.
        crafting: by measure of success, the cost of the artifacts of its cases.
        tries: per case.
    """
    chosen = [
        cell
        for cell in board.cells
        if cell.role is Role.attack
        and board.is_told(cell)
        and cell.success is not None
        and Made.of(cell.summary.id) in crafting[cell.summary.id.success]
    ]
    bands = []
    band = partial(_band, board=board)
    for (title, made), cells in groupby(sorted(chosen, key=band)[:MOST_COSTS], key=band):
        lines = tuple(
            _cost_line(cell, crafting[cell.summary.id.success][Made.of(cell.summary.id)], tries)
            for cell in cells
        )
        bands.append(CostBand(title, made, lines))
    return Costs(tuple(bands), max(0, len(chosen) - MOST_COSTS))


def _band(cell: Cell, board: Board) -> tuple[str, str]:
    place = f"{cell.target} on {cell.condition.benchmark}"
    if not cell.bare:
        place += f", defense {cell.defense}"
    if cell.summary.id.success == "attacker_goal":
        place += f": {MEASURE_NAMES['attacker_goal']} by {board.judge_name(cell.condition.judge)}"
    return place, whose(cell)


def _cost_line(cell: Cell, crafted: Crafted, tries: int) -> CostLine:
    rate = cell.success
    successes = rate.k / tries if rate is not None else 0.0
    count = len(crafted.one) if crafted.shared else crafted.artifacts
    each = crafted.price.per(successes)
    return CostLine(
        attack=cell.attack,
        success=shown(rate, cell.summary.id.success),
        artifacts=f"{count:,} for all cases" if crafted.shared else f"{count:,}",
        spent=_bill(crafted.price),
        successes=amount(successes),
        each=NONE_SUCCEEDED if each is None else _bill(each),
    )


def _bill(price: Price) -> str:
    spent = [_calls(price)] if price.calls else []
    if price.computes or not spent:
        spent.append(f"{amount(price.forwards)} + {amount(price.backwards)} passes")
    spent += [_flops(price.flops)] if price.flops or not price.calls else []
    return ", ".join([*spent, f"{amount(price.seconds)}\u00a0s"])


def _calls(price: Price) -> str:
    """`12 calls to the target, 6 to helpers, 4 to the in-loop judge, 1.2 k tokens`, without zeros."""
    asked = {
        "the target": price.calls_target,
        "helpers": price.calls_aux,
        "the in-loop judge": price.calls_judge,
    }
    made = [f"{amount(count)} to {whom}" for whom, count in asked.items() if count]
    made[0] = made[0].replace(" to ", " call to " if made[0].startswith("1 ") else " calls to ", 1)
    tokens = [f"{amount(price.tokens)} tokens"] if price.tokens else []
    return ", ".join([*made, *tokens])


def asked_text(results: Results) -> list[str]:
    """What each attack asked models while it was crafted, a line each; all targets, seeds and failures."""
    found = results.asked()
    lines = [
        f"{label(attack)}: {_calls(price)} for {plural(artifacts, 'artifact')}"
        for attack, artifacts, price in found[:MOST_ASKERS]
    ]
    left = len(found) - MOST_ASKERS
    return [*lines, f"{left:,} more are in results.parquet"] if left > 0 else lines

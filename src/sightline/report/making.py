"""How the attacks of a run were made: what they saw, what they took, and the course of one search of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from sightline.metrics.cells import CellId, limits_of
from sightline.plain import artifact_of
from sightline.records import Artifact
from sightline.report.board import Board, Cell
from sightline.report.costs import price_text
from sightline.report.curves import search
from sightline.report.results import Crafted, Made, Results
from sightline.report.roles import Role, access_text
from sightline.report.text import label
from sightline.report.words import as_percent, limits

MOST_SEARCHES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """One attack of the study at its largest budget. `svg` is None if no course was recorded."""

    name: str
    access: str
    facts: tuple[str, ...]
    svg: Markup | None
    caption: str


def makings(board: Board, crafting: Mapping[Made, Crafted], results: Results) -> list[Making]:
    """Every attack of the study, once per benchmark; the search shown is of its first seed.

    Nothing for a study whose attacks compute nothing on a model.
    """
    if not crafting:
        return []
    chosen: dict[tuple[str, str], Cell] = {}
    for cell in board.cells:
        if cell.role is Role.attack and cell.condition.judge == board.primary:
            chosen[cell.condition.benchmark, cell.series] = cell  # the largest budget comes last
    found = {place: _of(crafting, cell.summary.id) for place, cell in chosen.items()}
    keys = [next(iter(crafted.one.values())) for crafted in found.values() if crafted is not None]
    rows = results.records("craft", "key", keys[:MOST_SEARCHES])
    artifacts = {row["key"]: artifact_of(row) for row in rows}
    return [
        _making(cell, found[place], artifacts, several=len({name for name, _ in chosen}) > 1)
        for place, cell in chosen.items()
    ]


def _of(crafting: Mapping[Made, Crafted], cell: CellId) -> Crafted | None:
    """What the column took, on unseen cases rather than on others."""
    made = Made.of(cell)
    return next(
        (crafting[at] for seen in ("unseen", "", "seen") if (at := made._replace(seen=seen)) in crafting),
        None,
    )


def _making(
    cell: Cell, crafted: Crafted | None, artifacts: Mapping[str, Artifact], *, several: bool
) -> Making:
    one = cell.summary.id
    name = f"{cell.series} · {one.benchmark}" if several else cell.series
    facts = [limits(limits_of(one.budget)) + " per artifact" if one.budget else "no budget"]
    if crafted is None:
        return Making(
            name=name, access=access_text(one), facts=("made without a model's passes",), svg=None, caption=""
        )
    facts.append(f"took {price_text(crafted)}")
    if cell.summary.seeds:
        facts.append(f"seeds {', '.join(seed.seed for seed in cell.summary.seeds)}")
    seed, key = next(iter(crafted.one.items()))
    artifact = artifacts.get(key)
    if artifact is None or not (artifact.trace or artifact.checks):
        return Making(name=name, access=access_text(one), facts=tuple(facts), svg=None, caption="")
    which = f"{label(cell.attack)}, seed {label(seed)}"
    described = f"Course of one search: {which}; {_end(artifact)}"
    return Making(
        name=name,
        access=access_text(one),
        facts=tuple(facts),
        svg=search(artifact.trace, artifact.checks, described),
        caption=f"{which}: {_end(artifact)}",
    )


def _end(artifact: Artifact) -> str:
    """Where a search began and ended, in words."""
    if artifact.checks:
        (_, start, _), (step, loss, share) = artifact.checks[0], artifact.checks[-1]
        best = min(value for _, value, _ in artifact.checks)
        forced = f", {as_percent(share)} of its targets would be written" if share else ""
        return f"probe loss {start:.3g} at the start, {best:.3g} at best, {loss:.3g} at step {step}{forced}"
    (_, start), (step, loss) = artifact.trace[0], artifact.trace[-1]
    return f"training loss {start:.3g} at the start, {loss:.3g} at step {step}"

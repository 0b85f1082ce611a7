"""Paired differences as the page prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.metrics.cells import PLAIN
from sightline.metrics.comparisons import Contrast
from sightline.report.board import Board
from sightline.report.roles import Role
from sightline.report.words import MEASURE_NAMES, points

MOST_DIFFERENCES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference as it is printed, in percentage points."""

    benchmark: str
    judge: str
    target: str
    what: str
    measure: str
    text: str
    interval: str
    p: str
    pairs: str

    @property
    def place(self) -> tuple[str, str]:
        """Benchmark and target."""
        return self.benchmark, self.target


@dataclass(frozen=True, slots=True)
class Differences:
    """What a reader looks at first, the rest, and how many are not printed at all."""

    main: tuple[Difference, ...]
    rest: tuple[Difference, ...]
    left: int


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _difference(contrast: Contrast) -> Difference:
    cell, base = contrast.cell, contrast.base
    same, one, other = (
        (cell.defense, cell.shown, base.shown)
        if contrast.kind in ("attack", "control")
        else (cell.shown, cell.defense, base.defense)
    )
    lost = f", {contrast.unscored_pairs:,} unscored" if contrast.unscored_pairs else ""
    return Difference(
        benchmark=cell.benchmark,
        judge=cell.judge,
        target=cell.target,
        what=f"{one} − {other}" + (f" (under {same})" if same != PLAIN else ""),
        measure=MEASURE_NAMES.get(contrast.measure, contrast.measure.replace("_", "-")),
        text=points(contrast.point),
        interval=f"[{points(contrast.low)}, {points(contrast.high)}]",
        p=_p(contrast.p_holm),
        pairs=f"{contrast.pairs:,}{lost}",
    )


def differences(contrasts: Sequence[Contrast], board: Board) -> Differences:
    """Main are, on unseen cases: attacks on the bare target, effects of defenses.

    By the primary judge: restricted requests obeyed and questions answered right; by any that reads it: what
    the attacker wants said.
    """
    place = {cell.summary.id: cell for cell in board.cells}

    def is_main(contrast: Contrast) -> bool:
        cell = place[contrast.cell]
        steered = contrast.measure == "steered"
        if cell.role is Role.control or not cell.headline:
            return False
        if cell.condition.judge != board.primary and not steered:
            return False
        if contrast.kind in ("attack", "control"):
            return cell.bare and (steered or contrast.measure in ("asr", "utility"))
        return (steered or contrast.measure == "asr") == (cell.role is Role.attack)

    main = [contrast for contrast in contrasts if is_main(contrast)]
    rest = sorted((c for c in contrasts if not is_main(c)), key=lambda c: c.cell.judge != board.primary)
    rest = main[MOST_DIFFERENCES:] + rest
    return Differences(
        tuple(_difference(contrast) for contrast in main[:MOST_DIFFERENCES]),
        tuple(_difference(contrast) for contrast in rest[:MOST_DIFFERENCES]),
        max(0, len(rest) - MOST_DIFFERENCES),
    )

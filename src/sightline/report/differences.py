"""Paired differences as they are printed, by heading."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

from sightline.metrics.cells import PLAIN
from sightline.metrics.contrast import Contrast
from sightline.report.cells import Board, Role
from sightline.report.text import MEASURE_NAMES, points

MOST_DIFFERENCES = 120
_SUCCESSES = ("asr", "disclosure")
_MEASURES = (*_SUCCESSES, "attacker_goal", "utility", "over_refusal", "accuracy")
_ASKED = {"plain": "plain requests", "control": "controls", "attack": "under attack"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference as it is printed, in percentage points."""

    what: str
    text: str
    interval: str
    p: str
    pairs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The comparisons under one heading, adjusted for their number. `judge` is '' for the primary one."""

    title: str
    place: str
    judge: str
    comparisons: int
    lines: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """The main comparisons, the rest, and the number of those that are not printed."""

    main: tuple[Family, ...]
    rest: tuple[Family, ...]
    left: int

    @property
    def n_rest(self) -> int:
        """Number of lines of the rest."""
        return sum(len(family.lines) for family in self.rest)


def p_text(contrast: Contrast) -> str:
    """The adjusted p-value, or why there is none."""
    if not contrast.pairs:
        return "no scored pair"
    if not contrast.discordant:
        return "no group differs"
    if contrast.too_few_groups:
        return f"too few groups for a test ({contrast.discordant} of {contrast.groups} differ)"
    return "<0.001" if contrast.p_holm < 0.001 else f"{contrast.p_holm:.3f}"


def interval_text(contrast: Contrast) -> str:
    """`[+85, +99]`, in percentage points."""
    return f"[{points(contrast.low)}, {points(contrast.high)}]"


def _difference(contrast: Contrast) -> Difference:
    cell, base = contrast.cell, contrast.base
    if contrast.kind == "defense":
        what = f"{cell.defense} − {base.defense}" + (f" (under {cell.shown})" if cell.role != "plain" else "")
    else:
        what = f"{cell.shown} − {base.shown}"
    lost = f", {contrast.unscored_pairs:,} unscored" if contrast.unscored_pairs else ""
    return Difference(
        what=what,
        text=points(contrast.point),
        interval=interval_text(contrast),
        p=p_text(contrast),
        pairs=f"{contrast.pairs:,}{lost}",
    )


def _family(contrasts: Sequence[Contrast], board: Board) -> Family:
    first = contrasts[0]
    cell = first.cell
    role = "control" if cell.role == "control" else "attack"
    compared = {
        "attack": f"{role} − plain request",
        "control": "attack − its strongest control" if first.strongest else "attack − its other controls",
        "unaware": "attack that knew the defense − the strongest of its kind that did not",
        "defense": f"defended − undefended, {_ASKED[cell.role]}",
    }[first.kind]
    under = cell.defense if first.kind != "defense" and cell.defense != PLAIN else ""
    return Family(
        title=f"{MEASURE_NAMES.get(first.measure, first.measure.replace('_', '-'))}: {compared}"
        + (f", defense {under}" if under else "")
        + (", training cases" if cell.seen == "seen" else ""),
        place=f"{cell.target} on {cell.benchmark}",
        judge="" if cell.judge == board.primary else cell.judge,
        comparisons=first.comparisons,
        lines=tuple(_difference(contrast) for contrast in contrasts),
    )


def _families(contrasts: Sequence[Contrast], board: Board) -> tuple[Family, ...]:
    together: dict[tuple[object, ...], list[Contrast]] = {}
    for contrast in contrasts:
        together.setdefault(contrast.family, []).append(contrast)
    return tuple(_family(members, board) for members in together.values())


def differences(contrasts: Sequence[Contrast], board: Board) -> Differences:
    """Main are, on held-out cases: attacks on the undefended target, and effects of defenses.

    Attacks are compared with their strongest control and with plain requests: ASR, disclosure of what is
    protected and utility by the primary judge, targeted ASR by every judge that scores it.
    """
    place = {cell.summary.id: cell for cell in board.cells}

    def is_main(contrast: Contrast) -> bool:
        cell = place[contrast.cell]
        targeted = contrast.measure == "attacker_goal"
        if cell.role is Role.control or not cell.headline:
            return False
        if cell.condition.judge != board.primary and not targeted:
            return False
        if contrast.kind == "control" and not contrast.strongest:
            return False
        if contrast.kind == "unaware":
            return True
        if contrast.kind in ("attack", "control"):
            return cell.bare and (targeted or contrast.measure in (*_SUCCESSES, "utility"))
        return (targeted or contrast.measure in _SUCCESSES) == (cell.role is Role.attack)

    def order(contrast: Contrast) -> tuple[object, ...]:
        cell = contrast.cell
        kinds = ("attack", "control", "unaware", "defense")
        kind = 0 if contrast.strongest and contrast.kind == "control" else 1 + kinds.index(contrast.kind)
        place = cell.judge != board.primary, cell.judge, cell.benchmark, board.place(cell.target)
        return *place, kind, _MEASURES.index(contrast.measure)

    main = [is_main(contrast) for contrast in contrasts]
    chosen = sorted(compress(contrasts, main), key=order)
    rest = chosen[MOST_DIFFERENCES:] + sorted(compress(contrasts, map(operator.not_, main)), key=order)
    return Differences(
        _families(chosen[:MOST_DIFFERENCES], board),
        _families(rest[:MOST_DIFFERENCES], board),
        max(0, len(rest) - MOST_DIFFERENCES),
    )

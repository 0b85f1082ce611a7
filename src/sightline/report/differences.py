"""Paired differences as the page prints them: under headings whose comparisons are adjusted together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.metrics.cells import PLAIN, Role
from sightline.metrics.comparisons import Contrast
from sightline.report import roles
from sightline.report.board import Board
from sightline.report.words import MEASURE_NAMES, points

MOST_DIFFERENCES = 120
_MEASURES = ("asr", "steered", "utility", "over_refusal", "accuracy")
_ASKED: dict[Role, str] = {"plain": "plain requests", "control": "controls", "attack": "under attack"}


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
    """What a reader looks at first, the rest, and how many are not printed at all."""

    main: tuple[Family, ...]
    rest: tuple[Family, ...]
    left: int

    @property
    def further(self) -> int:
        """How many lines the rest has."""
        return sum(len(family.lines) for family in self.rest)


def p_text(contrast: Contrast) -> str:
    """The adjusted p-value, or why there is none."""
    if not contrast.pairs:
        return "no pair was scored"
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
        "defense": f"defended − undefended, {_ASKED[cell.role]}",
    }[first.kind]
    under = cell.defense if first.kind != "defense" and cell.defense != PLAIN else ""
    return Family(
        title=f"{MEASURE_NAMES.get(first.measure, first.measure.replace('_', '-'))}: {compared}"
        + (f", defense {under}" if under else "")
        + (", cases that the attack has seen" if cell.seen == "seen" else ""),
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
    """Main are, on unseen cases: attacks on the bare target, effects of defenses.

    Attacks against their strongest control and against plain requests. By the primary judge: restricted
    requests obeyed and questions answered right; by any that reads it: what the attacker wants said.
    """
    place = {cell.summary.id: cell for cell in board.cells}

    def is_main(contrast: Contrast) -> bool:
        cell = place[contrast.cell]
        steered = contrast.measure == "steered"
        if cell.role is roles.Role.control or not cell.headline:
            return False
        if cell.condition.judge != board.primary and not steered:
            return False
        if contrast.kind == "control" and not contrast.strongest:
            return False
        if contrast.kind in ("attack", "control"):
            return cell.bare and (steered or contrast.measure in ("asr", "utility"))
        return (steered or contrast.measure == "asr") == (cell.role is roles.Role.attack)

    def order(contrast: Contrast) -> tuple[object, ...]:
        cell = contrast.cell
        kind = 0 if contrast.strongest else 1 + ("attack", "control", "defense").index(contrast.kind)
        place = cell.judge != board.primary, cell.judge, cell.benchmark, cell.target
        return *place, kind, _MEASURES.index(contrast.measure)

    chosen = sorted((c for c in contrasts if is_main(c)), key=order)
    rest = chosen[MOST_DIFFERENCES:] + sorted((c for c in contrasts if not is_main(c)), key=order)
    return Differences(
        _families(chosen[:MOST_DIFFERENCES], board),
        _families(rest[:MOST_DIFFERENCES], board),
        max(0, len(rest) - MOST_DIFFERENCES),
    )

"""The first screen: of each target a sentence, three numbers and every attack with and without a defense.

The best defense is the one that leaves least of the strongest attack, over all attacks against it and the
plain request: that a picture in place of the drawn request is refused makes no target safe. Defenses that an
attack knew go first: of one that no attack knew nothing here says that it is effective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from markupsafe import Markup

from sightline.metrics.rates import Rate
from sightline.report.cells import Board, Cell, Role
from sightline.report.defended import knew, known_by_attacks
from sightline.report.tables import Shown, number, shown
from sightline.report.text import MEASURE_NAMES, few, label
from sightline.report.trust_section import TrustView

MOST_PANELS = 4
MOST_ROWS = 10
REACHED = attrgetter("reached")
UNKNOWN = "no attack knew it: not shown to be effective"
_LOST = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One of the three numbers, without and with the best defense; None: not measured, or no defense."""

    name: str
    before: Shown | None
    after: Shown | None
    note: str
    defended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A row of a panel: the same request form, undefended and defended. `knew`: made knowing the defense."""

    name: str
    kind: str
    bare: Shown | None
    defended: Shown | None
    knew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What one target does: `defense` '' if there is none; `left` rows do not fit."""

    target: str
    benchmark: str
    judge: str
    measure: str
    sentence: Markup
    tiles: tuple[Tile, ...]
    defense: str
    strips: tuple[Strip, ...]
    left: int
    others: tuple[tuple[str, Shown, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstScreen:
    """The panels that are shown, those that are folded, and what limits trust in them."""

    panels: tuple[Panel, ...]
    folded: tuple[Panel, ...]
    limits: tuple[str, ...]


def first_screen(board: Board, trusted: TrustView) -> FirstScreen:
    """A panel for every (judge, benchmark, target) with a scored request; judges as in the headline."""
    judges = {board.primary, *board.goal_judges}
    places: dict[tuple[str, ...], list[Cell]] = {}
    for cell in board.cells:
        where = cell.condition
        if where.judge in judges and cell.headline and cell.success is not None:
            places.setdefault((where.judge, where.benchmark, where.release, cell.target), []).append(cell)
    order = sorted(places, key=lambda place: place[0] != board.primary)
    panels = [_panel(places[place], board) for place in order]
    return FirstScreen(
        panels=tuple(panels[:MOST_PANELS]),
        folded=tuple(panels[MOST_PANELS:]),
        limits=tuple(_limits([cell for cells in places.values() for cell in cells], board, trusted)),
    )


def _strongest(cells: Sequence[Cell], role: Role = Role.attack) -> Cell | None:
    return max((cell for cell in cells if cell.role is role), key=REACHED, default=None)


def _worst(cells: Sequence[Cell]) -> Cell | None:
    """What reaches most: an attack, or the plain request where none reaches as much."""
    asked = (cell for cell in cells if cell.role in (Role.attack, Role.plain))
    return max(asked, key=lambda cell: (cell.reached, cell.role is Role.attack), default=None)


@dataclass(frozen=True, slots=True)
class _Defense:
    """A defense with all its cells, and what is left strongest against it; see `_worst`."""

    name: str
    cells: tuple[Cell, ...]
    worst: Cell
    known: bool


def _defenses(cells: Sequence[Cell]) -> list[_Defense]:
    """Best first: those that an attack knew, then by what is left of the strongest attack."""
    found = []
    for name in dict.fromkeys(cell.defense for cell in cells if not cell.bare):
        mine = tuple(cell for cell in cells if cell.defense == name and not cell.bare)
        worst = _worst(mine)
        if worst is not None:
            found.append(_Defense(name, mine, worst, any(map(knew, mine))))
    return sorted(found, key=lambda each: (not each.known, each.worst.reached))


def _panel(cells: Sequence[Cell], board: Board) -> Panel:
    bare = [cell for cell in cells if cell.bare]
    defenses = _defenses(cells)
    best = defenses[0] if defenses else None
    first = cells[0]
    strips = _strips(bare, best)
    return Panel(
        target=first.target,
        benchmark=first.condition.benchmark,
        judge=first.condition.judge,
        measure=MEASURE_NAMES[first.summary.id.success],
        sentence=_sentence(first, bare, best, defenses, board),
        tiles=_tiles(first, bare, best, board),
        defense=best.name if best is not None else "",
        strips=tuple(strips[:MOST_ROWS]),
        left=max(0, len(strips) - MOST_ROWS),
        others=tuple(
            (each.name, rate, _form(each.worst) + ("" if each.known else "; no attack knew it"))
            for each in defenses[1:]
            if (rate := shown(each.worst.success, first.summary.id.success)) is not None
        ),
    )


def _sentence(
    first: Cell, bare: Sequence[Cell], best: _Defense | None, defenses: Sequence[_Defense], board: Board
) -> Markup:
    """What the target does without an attack, under the strongest, and behind the best defense."""
    goal = first.summary.id.success == "attacker_goal"
    text = Markup("<strong>{}</strong> ").format(label(first.target))
    text += "reaches the attacker's goal in " if goal else "complies with "
    of = "responses" if goal else "restricted requests"
    plain, worst = _strongest(bare, Role.plain), _strongest(bare)
    parts = []
    if plain is not None:
        parts.append(Markup("{} of {} without an attack").format(number(plain.success), of))
    if worst is not None:
        whose = Markup("{} under {}").format(number(worst.success), label(worst.attack))
        attacks = len({cell.series for cell in bare if cell.role is Role.attack})
        whose += f", the strongest of {attacks} attacks" if attacks > 1 else ""
        whose += "; no attack reaches more" if plain is not None and _worst(bare) is plain else ""
        parts.append(whose if plain is not None else whose + f" ({of})")
    if not parts:
        parts.append(Markup("an unknown share of {} undefended").format(of))
    text += Markup(" and with ").join(parts)
    if best is None:
        return text + "; no defense was tried."
    text += Markup("; behind <strong>{}</strong>, {} reaches {}").format(
        label(best.name), _form(best.worst), number(best.worst.success)
    )
    return text + _verdict(best, _worst(bare), defenses, board) + "."


def _form(cell: Cell) -> str:
    return "the plain request" if cell.role is Role.plain else label(cell.attack)


def _verdict(best: _Defense, worst: Cell | None, defenses: Sequence[_Defense], board: Board) -> str:
    """Whether an attack knew the defense, and whether it changed anything."""
    if not best.known:
        return ", but no attack knew that defense, so it is not shown to be effective"
    lower = [each.name for each in defenses[1:] if each.worst.reached < best.worst.reached]
    told = ", an attack that knew it included"
    if worst is not None and board.direction(best.worst, worst) >= 0:
        told += ", which is not clearly less"
    return told + (f" ({few([label(n) for n in lower])}: less, but no attack knew it)" if lower else "")


def _tiles(first: Cell, bare: Sequence[Cell], best: _Defense | None, board: Board) -> tuple[Tile, ...]:
    """ASR at worst, over-refusal of benign twins asked plainly, and utility.

    What the panel's benchmark does not measure is told of the first other one that does.
    """
    worst = _worst(bare)
    success = first.summary.id.success
    told = [each for each in (worst, best.worst if best is not None else None) if each is not None]
    plain = any(each.role is Role.plain for each in told)
    names = [] if worst is None else [_form(worst)]
    if best is not None:
        names.append(f"{_form(best.worst)} behind {label(best.name)}" + (f"; {UNKNOWN}" * (not best.known)))
    tiles = [
        Tile(
            name=f"{MEASURE_NAMES[success]}, {'worst case' if plain else 'strongest attack'}",
            before=shown(worst.success, success) if worst is not None else None,
            after=shown(best.worst.success, success) if best is not None else None,
            note=", ".join(names),
            defended=best is not None,
        )
    ]
    if success == "attacker_goal":
        return tuple(tiles)
    for name, measure, note in (
        ("Over-refusal", "over_refusal", "benign twins refused, lower is better"),
        ("Utility", "utility", "questions answered right, higher is better"),
    ):
        own, behind = bare, best.cells if best is not None else ()
        if _asked(own, measure) is None and (other := _elsewhere(first, measure, board)):
            own = [cell for cell in other if cell.bare]
            behind = tuple(cell for cell in other if best is not None and cell.defense == best.name)
            note = f"{note} (of {label(other[0].condition.benchmark)})"
        tiles.append(
            Tile(
                name=name,
                before=shown(_asked(own, measure), measure),
                after=shown(_asked(behind, measure), measure),
                note=note,
                defended=best is not None,
            )
        )
    return tuple(tiles)


def _elsewhere(first: Cell, measure: str, board: Board) -> list[Cell]:
    """The target's cells by the same judge on the first benchmark that measures this without a defense."""
    known: dict[str, list[Cell]] = {}
    for cell in board.cells:
        if cell.target == first.target and cell.condition.judge == first.condition.judge:
            known.setdefault(cell.condition.benchmark, []).append(cell)
    measured = (
        cells for cells in known.values() if _asked([c for c in cells if c.bare], measure) is not None
    )
    return next(measured, [])


def _asked(cells: Sequence[Cell], measure: str) -> Rate | None:
    """A rate without an attack; of utility, which rows share, any."""
    order = [cell for cell in cells if cell.role is Role.plain] or (
        list(cells) if measure == "utility" else []
    )
    rates = (cell.summary.rates.get(measure) for cell in order)
    return next((rate for rate in rates if rate is not None), None)


def _strips(bare: Sequence[Cell], best: _Defense | None) -> list[Strip]:
    """No attack, the strongest control, then attacks by what they reach; of a series its best budget."""
    behind = best.cells if best is not None else ()
    plain, control = _strongest(bare, Role.plain), _strongest(bare, Role.control)
    rows = [
        (cell, kind)
        for cell, kind in ((plain, "no attack"), (control, "strongest control"))
        if cell is not None
    ]
    series: dict[str, Cell] = {}
    for cell in sorted(bare, key=REACHED, reverse=True):
        if cell.role is Role.attack:
            series.setdefault(cell.series, cell)
    rows += [(cell, "") for cell in series.values()]
    met = [(_same(behind, cell), cell, kind) for cell, kind in rows]
    strips = [_strip(cell, kind, other) for other, cell, kind in met]
    used = {other.summary.id for other, *_ in met if other is not None}
    alone = [c for c in behind if c.role is Role.attack and c.summary.id not in used]
    only = {c.series: c for c in sorted(alone, key=REACHED) if knew(c) or c.series not in series}
    strips += [_strip(None, "", cell) for cell in sorted(only.values(), key=REACHED, reverse=True)]
    return strips


def _same(cells: Sequence[Cell], like: Cell) -> Cell | None:
    """The same attack against the defense."""
    found = [c for c in cells if c.role is like.role and c.summary.id.attack == like.summary.id.attack]
    return max(found, key=REACHED, default=None)


def _strip(bare: Cell | None, kind: str, defended: Cell | None) -> Strip:
    cell = bare or defended
    if cell is None:
        raise AssertionError("a row has a cell")
    success = cell.summary.id.success
    return Strip(
        name="" if kind == "no attack" else cell.attack,
        kind=kind,
        bare=shown(bare.success, success) if bare is not None else None,
        defended=shown(defended.success, success) if defended is not None else None,
        knew=defended is not None and knew(defended),
    )


def _limits(cells: Sequence[Cell], board: Board, trusted: TrustView) -> list[str]:
    """What limits trust in these numbers, in a few words each."""
    found = []
    standing = {each.judge: each for each in trusted.judges}
    for judge in dict.fromkeys(cell.condition.judge for cell in cells):
        name, line = label(board.judge_name(judge)), standing.get(judge)
        if judge in board.uncalibrated or line is None:
            found.append(f"judged by {name}, which is uncalibrated")
        else:
            found.append(f"judged by {name} ({label(line.standing, 120)})")
    groups = [cell.success.groups for cell in cells if cell.success is not None and cell.success.few_groups]
    if groups:
        found.append(f"few groups of requests ({min(groups)}), so intervals are wide")
    lost = sum(cell.unscored > _LOST * cell.n for cell in cells)
    if lost:
        found.append(f"more than {100 * _LOST:.0f} % unscored in {lost} of {len(cells)} cells")
    known = known_by_attacks(cells)
    unknown = sorted({label(c.defense) for c in cells if not c.bare and (c.target, c.defense) not in known})
    if unknown:
        found.append(f"no attack knew {few(unknown)}")
    return found

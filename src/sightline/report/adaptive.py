"""What attacks reach that know a defense, beside controls, plain request and attacks that do not know it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from sightline.metrics.cells import Means, means_of
from sightline.report.cells import Board, Cell, Role
from sightline.report.defended import knew
from sightline.report.tables import number
from sightline.report.text import few, label, points

_KINDS: dict[Means | None, str] = {"text": "text attack", "drawn": "drawn attack", "pixels": "pixel attack"}


def adaptive_result(board: Board, target: str, cells: Sequence[Cell]) -> tuple[Markup, tuple[Markup, ...]]:
    """A sentence, and one for each defense that an attack knew, on cases that none was made on."""
    known = [cell for cell in cells if knew(cell) and cell.headline and _point(cell) is not None]
    found = []
    for defense in dict.fromkeys(cell.defense for cell in known):
        here = [cell for cell in known if cell.defense == defense]
        best = max(here, key=lambda cell: _point(cell) or 0.0)
        level = [cell.attack for cell in here if cell is not best and _point(cell) == _point(best)]
        plain = next((c for c in cells if c.defense == defense and c.role is Role.plain and c.headline), None)
        found.append(_line(defense, best, level, plain, _added(board, best)))
    start = Markup("Attacks that adapt to a defense of <strong>{}</strong>:").format(label(target))
    return start if found else start + Markup(" none was scored."), tuple(found)


def _line(defense: str, best: Cell, level: Sequence[str], plain: Cell | None, added: Markup) -> Markup:
    tied = f" (tied with {label(few(level))})" if level else ""
    text = Markup("Defense <strong>{}</strong>: ASR of {}, which knows it, is {} (n\u00a0=\u00a0{})").format(
        label(defense), label(best.attack) + tied, number(best.success), best.success.n if best.success else 0
    )
    controls = [each for each in best.summary.controls if each.rate.point is not None]
    if controls:
        control = max(controls, key=lambda each: each.rate.point or 0.0)
        text += Markup("; its strongest control, {}, reaches {}").format(
            label(control.attack), number(control.rate)
        )
        if (control.rate.point or 0.0) >= (_point(best) or 0.0) > 0:
            text += Markup(", so knowing the defense is not what opens it")
    if plain is not None and plain.success is not None:
        text += Markup("; the plain request reaches {}").format(number(plain.success))
    return text + Markup(".") + added


def _added(board: Board, best: Cell) -> Markup:
    """What knowing the defense adds to the strongest attack of the same kind that did not know it."""
    kind = _KINDS.get(means_of(best.summary.id.attack_params))
    over = board.over_unaware(best)
    if kind is None:
        return Markup("")
    if over is None:
        return Markup(" No {} that did not know it was run, so what knowing it adds is unknown.").format(kind)
    unaware = next(cell for cell in board.cells if cell.summary.id == over.base)
    return Markup(
        " The strongest {} that did not know it, {}, reaches {}: knowing it adds {} points [{}, {}]{}."
    ).format(
        kind,
        label(unaware.attack),
        number(unaware.success),
        points(over.point),
        points(over.low),
        points(over.high),
        "" if over.low > 0 else ", which is no clear gain",
    )


def _point(cell: Cell) -> float | None:
    return None if cell.success is None else cell.success.point

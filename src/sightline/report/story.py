"""The headline: a few sentences made from measured numbers, and honest about what explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sightline.metrics.rates import Rate
from sightline.report.board import Board, Cell, cells_under, conditions
from sightline.report.roles import Role
from sightline.report.tables import shown
from sightline.report.text import label

MOST_STORIES = 4


@dataclass(frozen=True, slots=True)
class Story:
    """What was found under one condition for one target. `about` is '' if there is only one story."""

    about: str
    lede: Markup
    more: tuple[Markup, ...]


def _number(rate: Rate | None) -> Markup:
    """`88 % [81, 93]` with the estimate in bold."""
    found = shown(rate)
    if found is None or found.point is None:
        return Markup("an unknown share")
    return Markup('<b>{}</b> <span class="rate ci">{}</span>').format(found.text, found.interval)


def _strongest(cells: Sequence[Cell], role: Role) -> Cell | None:
    scored = [(rate.point or 0.0, cell) for cell in cells if cell.role is role and (rate := cell.asr)]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _among(best: Cell, bare: Sequence[Cell]) -> str:
    """How the strongest attack stands among those that were tried."""
    attacks = {cell.attack: cell.asr for cell in bare if cell.role is Role.attack}
    if len(attacks) < 2 or best.asr is None:
        return ""
    level = [n for n, asr in attacks.items() if n != best.attack and asr and asr.point == best.asr.point]
    if level:
        return f", level with {', '.join(label(name) for name in level)},"
    return f", the strongest of {len(attacks)} attacks,"


def _what_happened(target: str, plain: Cell | None, best: Cell | None, among: str) -> Markup:
    subject = Markup("<strong>{}</strong>").format(label(target))
    start = Markup("")
    if plain is not None:
        refusal, asr = plain.summary.rates.get("refusal_rate"), plain.asr
        start = Markup("Asked plainly, {} refuses {} of restricted requests (n\u00a0=\u00a0{})").format(
            subject, _number(refusal), asr.n if asr else 0
        )
    if best is None or (rate := best.asr) is None:
        return start + Markup("; no attack was scored.")
    which = Markup("<strong>{}</strong>").format(label(best.attack))
    which += among
    if plain is None:
        return Markup("With {} {} obeys {} of restricted requests (n\u00a0=\u00a0{}); ").format(
            which, subject, _number(rate), rate.n
        ) + Markup("how it answers the plain request was not measured.")
    obeys = Markup("with {} it obeys {} (n\u00a0=\u00a0{})").format(which, _number(rate), rate.n)
    return start + Markup("; {}.").format(obeys)


def _what_explains(board: Board, best: Cell, plain: Cell | None, control: Cell | None) -> Markup:
    """Whether the effect is there, and whether it is the attack's own."""
    name = label(best.attack)
    if plain is not None and board.direction(best, plain) <= 0:
        return Markup("That is not clearly more than the plain request gets ({}).").format(_number(plain.asr))
    if control is None:
        return Markup("No control was run, so what part of this is due to {} is not known.").format(name)
    other = label(control.attack), _number(control.asr)
    if board.direction(best, control) > 0:
        return Markup("No control comes near: the strongest, {}, gets {}.").format(*other)
    return Markup(
        "But a control, {}, gets {} without carrying out the attack: the effect cannot be credited to {}."
    ).format(*other, name)


def _change(name: str, before: Rate | None, after: Rate | None) -> Markup:
    if shown(before) is None or shown(after) is None:
        return Markup("{} not measured").format(name)
    return Markup("{} {} → {}").format(name, _number(before), _number(after))


def _defended(board: Board, bare: Cell, defended: Cell) -> Markup:
    """What one defense does to the strongest attack, and what it costs."""
    parts = (
        _change(f"ASR of {label(bare.attack)}", bare.asr, defended.asr),
        _change("over-refusal of benign twins", bare.summary.over_refusal, defended.summary.over_refusal),
        _change("utility", bare.summary.utility, defended.summary.utility),
    )
    verdict = {
        -1: "",
        0: " The change in ASR is not clear: it may be chance.",
        1: " It makes the attack stronger.",
    }[board.direction(defended, bare)]
    return Markup("Defense <strong>{}</strong>: {}.{}").format(
        label(defended.defense), Markup(", ").join(parts), verdict
    )


def _unasked(target: str, cells: Sequence[Cell], plain: Cell) -> Markup:
    """What the plain cell of a study without restricted requests shows."""
    utility, accuracy = plain.summary.rates.get("utility"), plain.summary.accuracy
    parts = [
        Markup("{} {} of {} correctly (n\u00a0=\u00a0{})").format(verb, _number(found), what, found.n)
        for verb, what, found in (
            ("classifies", "items", accuracy),
            ("answers", "plain questions", utility),
        )
        if found is not None and found.point is not None
    ]
    if not parts and all(cell.unscored == cell.n for cell in cells):
        return _unscored(target, cells, "samples")
    if not parts:
        return Markup("<strong>{}</strong> was asked no restricted request.").format(label(target))
    return Markup("<strong>{}</strong> {}.").format(label(target), Markup(" and ").join(parts))


def _unscored(target: str, cells: Sequence[Cell], what: str = "restricted requests") -> Markup:
    total = sum(cell.n for cell in cells)
    lost = sum(cell.unscored for cell in cells)
    return Markup(
        "Nothing can be said about <strong>{}</strong>: none of its {} has a readable "
        "verdict ({} of {} samples are unscored)."
    ).format(label(target), what, f"{lost:,}", f"{total:,}")


def tell(board: Board) -> list[Story]:
    """One story per (benchmark, oracle, target) under the primary judge, at most four."""
    found = []
    wanted = [c for c in conditions(board.cells, board.primary) if c.judge == board.primary]
    for condition in wanted:
        under = cells_under(condition, board.cells)
        targets = dict.fromkeys(cell.target for cell in under)
        found += [(condition, name, [cell for cell in under if cell.target == name]) for name in targets]
    stories = []
    for condition, target, cells in found[:MOST_STORIES]:
        bare = [cell for cell in cells if cell.bare] or cells
        plain, best, control = (_strongest(bare, role) for role in (Role.plain, Role.attack, Role.control))
        about = f"{condition.benchmark}, {target}, oracle {condition.oracle}" if len(found) > 1 else ""
        unattacked = next((cell for cell in bare if cell.role is Role.plain), None)
        if unattacked is not None and all(cell.summary.asr is None for cell in cells):
            stories.append(Story(about, _unasked(target, cells, unattacked), ()))
            continue
        if plain is None and best is None:
            stories.append(Story(about, _unscored(target, cells), ()))
            continue
        lede = _what_happened(target, plain, best, _among(best, bare) if best else "")
        if best is not None:
            lede += Markup(" ") + _what_explains(board, best, plain, control)
        against = best or plain
        more = tuple(
            _defended(board, against, cell)
            for cell in cells
            if against is not None and not cell.bare and cell.attack == against.attack and cell.asr
        )
        stories.append(Story(about, lede, more))
    if len(found) > MOST_STORIES:
        rest = Markup("{} more combinations of benchmark and target are in the tables below.").format(
            len(found) - MOST_STORIES
        )
        stories.append(Story("", rest, ()))
    return stories

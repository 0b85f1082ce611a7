"""The headline: a few sentences made from measured numbers, and honest about what explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sightline.metrics.rates import Rate
from sightline.report.cells import Board, Cell, Role, access_text, cells_under, conditions, is_typed_twin
from sightline.report.tables import seeds_text, shown
from sightline.report.text import MEASURE_NAMES, label, points

MOST_STORIES = 4
_CONTROLS = {
    True: Markup("Typed instead of drawn, the same words ({}) get {}"),
    False: Markup("The strongest control, {}, gets {}"),
}
"""By whether the control is the typed twin of the attack."""


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


def _strongest(board: Board, cells: Sequence[Cell], role: Role) -> Cell | None:
    """The cell of the highest success: over all seeds, and on cases that it was not made on if it can be.

    Of attacks that are level, the one of which most is left over its strongest control.
    """
    scored = [(rate.point or 0.0, cell) for cell in cells if cell.role is role and (rate := cell.success)]
    fair = [pair for pair in scored if pair[1].headline] or scored

    def reached(pair: tuple[float, Cell]) -> tuple[float, float]:
        left = board.over_control(pair[1])
        return pair[0], left.point if left is not None else 0.0

    return max(fair, key=reached)[1] if fair else None


def _among(best: Cell, bare: Sequence[Cell]) -> str:
    """How the strongest attack stands among those that were tried; budgets of one series are one attack."""
    attacks: dict[str, float] = {}
    for cell in bare:
        if cell.role is Role.attack and cell.headline and cell.success is not None:
            reached = max(cell.success.point or 0.0, attacks.get(cell.series, 0.0))
            attacks[cell.series] = reached
    if len(attacks) < 2 or best.success is None:
        return ""
    level = [name for name, point in attacks.items() if name != best.series and point == best.success.point]
    if level:
        return f", level with {', '.join(label(name) for name in level)},"
    return f", the strongest of {len(attacks)} attacks,"


def _what_was_said(target: str, plain: Cell | None, best: Cell | None, among: str) -> Markup:
    """How often replies say what the attacker wants, without attack and with the strongest."""
    subject = Markup("<strong>{}</strong>").format(label(target))
    says = Markup("{} says what the attacker wants in {} of its replies (n\u00a0=\u00a0{})")
    start = Markup("")
    if plain is not None and (base := plain.success) is not None:
        start = Markup("Asked plainly, ") + says.format(subject, _number(base), base.n)
    if best is None or (rate := best.success) is None:
        return start + Markup("; no attack was scored.")
    which = Markup("<strong>{}</strong>").format(label(best.attack)) + _origin(best) + among
    if not start:
        return Markup("With {} ").format(which) + says.format(subject, _number(rate), rate.n) + Markup(".")
    return start + Markup("; with {} in {} (n\u00a0=\u00a0{}).").format(which, _number(rate), rate.n)


def _what_happened(target: str, plain: Cell | None, best: Cell | None, among: str) -> Markup:
    subject = Markup("<strong>{}</strong>").format(label(target))
    start = Markup("")
    if plain is not None:
        refusal, asr = plain.summary.rates.get("refusal_rate"), plain.success
        start = Markup("Asked plainly, {} refuses {} of restricted requests (n\u00a0=\u00a0{})").format(
            subject, _number(refusal), asr.n if asr else 0
        )
    if best is None or (rate := best.success) is None:
        return start + Markup("; no attack was scored.")
    which = Markup("<strong>{}</strong>").format(label(best.attack)) + _origin(best)
    which += among
    if plain is None:
        return Markup("With {} {} obeys {} of restricted requests (n\u00a0=\u00a0{}); ").format(
            which, subject, _number(rate), rate.n
        ) + Markup("how it answers the plain request was not measured.")
    obeys = Markup("with {} it obeys {} (n\u00a0=\u00a0{})").format(which, _number(rate), rate.n)
    return start + Markup("; {}.").format(obeys)


def _origin(best: Cell) -> Markup:
    """What the attack saw of which model, and over how many seeds it was averaged."""
    own, parts = best.summary.id.own, []
    if own is not None:
        parts.append(
            access_text(best.summary.id) + (", the model that answers" if own else ", another model")
        )
    if best.summary.seeds:
        parts.append(seeds_text(best))
    return Markup(" ({})").format(label("; ".join(parts), 200)) if parts else Markup("")


def _what_explains(board: Board, best: Cell, plain: Cell | None) -> Markup:
    """Whether the effect is there, and how much of it is left over the strongest control, pair by pair."""
    name = label(best.attack)
    if plain is not None and board.direction(best, plain) <= 0:
        return Markup("That is not clearly more than the plain request gets ({}).").format(
            _number(plain.success)
        )
    left = board.over_control(best)
    if left is None:
        return Markup("No control was run beside {}, so what part of this is due to it is not known.").format(
            name
        )
    control = next(cell for cell in board.cells if cell.summary.id == left.base)
    told = _CONTROLS[is_typed_twin(left.base, left.cell)].format(
        label(control.attack), _number(control.success)
    )
    rest = Markup("<b>{}</b> [{}, {}]").format(points(left.point), points(left.low), points(left.high))
    if left.low <= 0:
        return told + Markup(": {} adds {} points to it, so the effect cannot be credited to {}.").format(
            name, rest, name
        )
    effect = board.between(best, plain, left.measure) if plain is not None else None
    if effect is None:
        told += Markup(": {} points more with {}").format(rest, name)
    else:
        explained = round(100 * effect.point) - round(100 * left.point)
        share = f"{explained} {'is' if explained == 1 else 'are'}" if explained > 0 else "none is"
        told += Markup(
            ": of the {} points over the plain request {} explained by it, {} are left for {}"
        ).format(points(effect.point), share, rest, name)
    if left.too_few_groups:
        told += Markup(" (too few groups for a test: {} of {} differ)").format(left.discordant, left.groups)
    return told + Markup(".")


def _most_is_left(board: Board, best: Cell, bare: Sequence[Cell]) -> Markup:
    """The attack of which most is left over its strongest control, if that is not the strongest attack."""
    left = [
        (found.point, cell, found)
        for cell in bare
        if cell.role is Role.attack and cell.headline and (found := board.over_control(cell)) is not None
    ]
    most, cell, found = max(left, key=lambda each: each[0], default=(0.0, best, None))
    own = board.over_control(best)
    if found is None or own is None or found.low <= 0 or most <= own.point:
        return Markup("")
    return Markup(
        " Most is left of <strong>{}</strong>: {}, of which {} [{}, {}] points are over its strongest "
        "control, {}."
    ).format(
        label(cell.attack),
        _number(cell.success),
        points(found.point),
        points(found.low),
        points(found.high),
        label(found.base.shown),
    )


def _change(name: str, before: Rate | None, after: Rate | None) -> Markup:
    if shown(before) is None or shown(after) is None:
        return Markup("{} not measured").format(name)
    return Markup("{} {} → {}").format(name, _number(before), _number(after))


def _defended(board: Board, bare: Cell, defended: Cell) -> Markup:
    """What one defense does to the strongest attack, and what it costs."""
    measure = bare.summary.id.success
    parts = (
        _change(f"{MEASURE_NAMES[measure]} of {label(bare.attack)}", bare.success, defended.success),
        _change("over-refusal of benign twins", bare.summary.over_refusal, defended.summary.over_refusal),
        _change("utility", bare.summary.utility, defended.summary.utility),
    )
    verdict = {
        -1: "",
        0: f" The change in {MEASURE_NAMES[measure]} is not clear: it may be chance.",
        1: " It makes the attack stronger.",
    }[board.direction(defended, bare)]
    return Markup("Defense <strong>{}</strong>: {}.{}").format(
        label(defended.defense),
        Markup(", ").join(parts[:1] if measure == "attacker_goal" else parts),
        verdict,
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


def _utility_lost(board: Board, plain: Cell, cells: Sequence[Cell]) -> Markup:
    """What the attack that takes most right answers leaves of them, and whether a control takes as many."""
    asked = [
        (rate.point, cell, rate)
        for cell in cells
        if cell.headline and (rate := cell.summary.robust_utility) is not None and rate.point is not None
    ]
    attacks = [found for found in asked if found[1].role is Role.attack]
    if not attacks:
        return Markup("")
    _, worst, left = min(attacks, key=lambda found: found[0])
    told = Markup(" With <strong>{}</strong>{} it answers {} (n\u00a0=\u00a0{})").format(
        label(worst.attack), _origin(worst), _number(left), left.n
    )
    over = board.over_control(worst, "utility")
    changes = [("unattacked", board.between(worst, plain, "utility"))]
    if over is not None:
        changes.append((f"the strongest control, {over.base.shown}", over))
    for name, change in changes:
        if change is not None and change.pairs:
            told += Markup("; against {}: {} points [{}, {}]").format(
                label(name), points(change.point), points(change.low), points(change.high)
            )
    if over is None:
        return told + Markup(". No control was run, so what part of this is due to it is not known.")
    return told + Markup(".")


def _unscored(target: str, cells: Sequence[Cell], what: str = "restricted requests") -> Markup:
    total = sum(cell.n for cell in cells)
    lost = sum(cell.unscored for cell in cells)
    return Markup(
        "Nothing can be said about <strong>{}</strong>: none of its {} has a readable "
        "verdict ({} of {} samples are unscored)."
    ).format(label(target), what, f"{lost:,}", f"{total:,}")


def tell(board: Board) -> list[Story]:
    """One story per (benchmark, oracle, target), at most four.

    Told under the primary judge, then under those that read what an attacker wants.
    """
    found = []
    steering = {cell.condition.judge for cell in board.cells if cell.summary.id.success == "attacker_goal"}
    wanted = {board.primary, *steering}
    for condition in conditions(board.cells, board.primary):
        if condition.judge not in wanted:
            continue
        under = cells_under(condition, board.cells)
        targets = dict.fromkeys(cell.target for cell in under)
        found += [(condition, name, [cell for cell in under if cell.target == name]) for name in targets]
    stories = []
    for condition, target, cells in found[:MOST_STORIES]:
        bare = [cell for cell in cells if cell.bare] or cells
        plain, best = (_strongest(board, bare, role) for role in (Role.plain, Role.attack))
        about = f"{condition.benchmark}, {target}, oracle {condition.oracle}" if len(found) > 1 else ""
        if about and condition.judge != board.primary:
            about += f", judge {condition.judge}"
        unattacked = next((cell for cell in bare if cell.role is Role.plain), None)
        if unattacked is not None and all(cell.summary.success is None for cell in cells):
            lede = _unasked(target, cells, unattacked) + _utility_lost(board, unattacked, bare)
            stories.append(Story(about, lede, ()))
            continue
        if plain is None and best is None:
            stories.append(Story(about, _unscored(target, cells), ()))
            continue
        tells = _what_was_said if condition.judge in steering else _what_happened
        lede = tells(target, plain, best, _among(best, bare) if best else "")
        if best is not None:
            lede += Markup(" ") + _what_explains(board, best, plain) + _most_is_left(board, best, bare)
        against = best or plain
        more = tuple(
            _defended(board, against, cell)
            for cell in cells
            if against is not None and not cell.bare and cell.attack == against.attack and cell.success
        )
        stories.append(Story(about, lede, more))
    if len(found) > MOST_STORIES:
        rest = Markup("{} more combinations of benchmark and target are in the tables below.").format(
            len(found) - MOST_STORIES
        )
        stories.append(Story("", rest, ()))
    return stories

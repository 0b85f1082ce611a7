"""The headline: a few sentences made from the measured numbers, with what the controls explain of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sightline.counting import plural, verb
from sightline.metrics.cells import method_of
from sightline.metrics.contrast import Contrast
from sightline.metrics.rates import Rate
from sightline.report.adaptive import adaptive_result
from sightline.report.cells import (
    Board,
    Cell,
    Role,
    access_text,
    cells_under,
    conditions,
    is_typed_twin,
    origin_text,
)
from sightline.report.defended import caution
from sightline.report.tables import number, seeds_text, shown
from sightline.report.text import MEASURE_NAMES, few, label, oracle_about, points

MAX_HEADLINES = 4
_CONTROLS = {
    True: Markup("The same words, typed ({}), reach {}"),
    False: Markup("The strongest control, {}, reaches {}"),
}
"""By whether the control is the typed twin of the attack."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The result of one condition for one target, by `judge`. `about` is '' if there is only one."""

    about: str
    text: Markup
    details: tuple[Markup, ...]
    judge: str = ""


def _strongest(board: Board, cells: Sequence[Cell], role: Role) -> Cell | None:
    """The cell of the highest success: over all seeds, and on held-out cases if there are any.

    Of tied attacks, the one with the largest difference to its strongest control.
    """
    scored = [(rate.point or 0.0, cell) for cell in cells if cell.role is role and (rate := cell.success)]
    fair = [pair for pair in scored if pair[1].headline] or scored

    def reached(pair: tuple[float, Cell]) -> tuple[float, float]:
        left = board.over_control(pair[1])
        return pair[0], left.point if left is not None else 0.0

    return max(fair, key=reached)[1] if fair else None


@dataclass(frozen=True, slots=True)
class _Rank:
    """The strongest attack among all: of how many, and the names of those that are level with it."""

    attacks: int = 1
    level: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """`, tied with A, B, C and 28 more,`, `, the strongest of 5 attacks,`, or '' for the only one."""
        if self.level:
            return f", {_tied(self.level)},"
        return f", the strongest of {self.attacks} attacks," if self.attacks > 1 else ""


def _rank(best: Cell, bare: Sequence[Cell]) -> _Rank:
    """The rank of the strongest attack; budgets of one series are one attack."""
    attacks: dict[str, float] = {}
    for cell in bare:
        if cell.role is Role.attack and cell.headline and cell.success is not None:
            reached = max(cell.success.point or 0.0, attacks.get(cell.series, 0.0))
            attacks[cell.series] = reached
    own = best.success.point if best.success is not None else None
    level = tuple(name for name, point in attacks.items() if name != best.series and point == own)
    return _Rank(len(attacks), level)


def _tied(names: Sequence[str]) -> str:
    """`tied with A, B, C and 28 more`; '' for no names."""
    return f"tied with {few([label(name) for name in names])}" if names else ""


def _no_more(plain: Cell | None, best: Cell) -> bool:
    """Whether the strongest attack reached no more than the plain request."""
    base, rate = plain.success if plain is not None else None, best.success
    return base is not None and rate is not None and (rate.point or 0.0) <= (base.point or 0.0)


def _nothing_gained(best: Cell, rank: _Rank, measure: str) -> Markup:
    """That no attack reached more than the plain request, and the strongest."""
    rate = best.success
    return Markup(
        "; no attack reached a higher {} ({}<strong>{}</strong>{}{}: {}, n\u00a0=\u00a0{})."
    ).format(
        measure,
        f"the strongest of {rank.attacks}: " if rank.attacks > 1 else "",
        label(best.attack),
        _origin(best),
        ", " * bool(rank.level) + _tied(rank.level),
        number(rate),
        rate.n if rate else 0,
    )


def _targeted_result(target: str, plain: Cell | None, best: Cell | None, rank: _Rank) -> Markup:
    """Targeted ASR without an attack and with the strongest."""
    subject = Markup("<strong>{}</strong>").format(label(target))
    says = Markup("targeted ASR on {} is {} (n\u00a0=\u00a0{})")
    start = Markup("")
    if plain is not None and (base := plain.success) is not None:
        start = Markup("Without an attack, ") + says.format(subject, number(base), base.n)
    if best is None or (rate := best.success) is None:
        return start + Markup("; no attack was scored.")
    if _no_more(plain, best):
        return start + _nothing_gained(best, rank, "targeted ASR")
    which = Markup("<strong>{}</strong>").format(label(best.attack)) + _origin(best) + rank.told
    if not start:
        return Markup("With {}, ").format(which) + says.format(subject, number(rate), rate.n) + Markup(".")
    return start + Markup("; with {} it is {} (n\u00a0=\u00a0{}).").format(which, number(rate), rate.n)


def _result(target: str, plain: Cell | None, best: Cell | None, rank: _Rank) -> Markup:
    subject = Markup("<strong>{}</strong>").format(label(target))
    start = Markup("")
    if plain is not None:
        refusal, asr = plain.summary.rates.get("refusal_rate"), plain.success
        verb, share = ("refuses", refusal)
        if method_of(plain.condition.judge) == "recorded":  # a file's verdicts do not tell refusals
            verb, share = ("complies with", asr)
        start = Markup("Without an attack, {} {} {} of restricted requests (n\u00a0=\u00a0{})").format(
            subject, verb, number(share), asr.n if asr else 0
        )
    if best is None or (rate := best.success) is None:
        return start + Markup("; no attack was scored.")
    if _no_more(plain, best):
        return start + _nothing_gained(best, rank, "ASR")
    which = Markup("<strong>{}</strong>").format(label(best.attack)) + _origin(best)
    which += rank.told if plain is not None else rank.told.rstrip(",")
    if plain is None:
        return Markup("With {}, {} complies with {} of restricted requests (n\u00a0=\u00a0{}); ").format(
            which, subject, number(rate), rate.n
        ) + Markup("the plain request was not measured.")
    complies = Markup("with {} ASR is {} (n\u00a0=\u00a0{})").format(which, number(rate), rate.n)
    return start + Markup("; {}.").format(complies)


def _origin(best: Cell) -> Markup:
    """The access of the attack, the model it was crafted on, and its seeds."""
    origin, parts = origin_text(best.summary.id), []
    if origin:
        parts.append(f"{access_text(best.summary.id)}, {origin}")
    if best.summary.seeds:
        parts.append(seeds_text(best))
    return Markup(" ({})").format(label("; ".join(parts), 200)) if parts else Markup("")


def _explanation(board: Board, best: Cell, plain: Cell | None) -> Markup:
    """Whether the effect is significant, and its paired difference to the strongest control."""
    name = label(best.attack)
    if plain is not None and board.direction(best, plain) <= 0:
        if _no_more(plain, best):
            return Markup("The plain request reaches {}.").format(number(plain.success))
        return Markup("This is not significantly more than the plain request reaches ({}){}.").format(
            number(plain.success), _untested(board.between(best, plain, best.summary.id.success))
        )
    left = board.over_control(best)
    if left is None:
        return Markup("No control was run with {}, so its own effect is unknown.").format(name)
    control = next(cell for cell in board.cells if cell.summary.id == left.base)
    text = _CONTROLS[is_typed_twin(left.base, left.cell)].format(
        label(control.attack), number(control.success)
    )
    rest = Markup("<b>{}</b> [{}, {}]").format(points(left.point), points(left.low), points(left.high))
    if left.low <= 0:
        return text + Markup(": {} adds {} points, so the effect cannot be attributed to {}.").format(
            name, rest, name
        )
    effect = board.between(best, plain, left.measure) if plain is not None else None
    if effect is None:
        text += Markup(": {} points more with {}").format(rest, name)
    else:
        explained = round(100 * effect.point) - round(100 * left.point)
        share = f"{explained} {'is' if explained == 1 else 'are'}" if explained > 0 else "none is"
        text += Markup(
            ": of the {} points over the plain request {} explained by it, {} remain for {}"
        ).format(points(effect.point), share, rest, name)
    return text + _untested(left) + Markup(".")


def _untested(found: Contrast | None) -> str:
    """` (too few groups for a test: 3 of 24 differ)`; '' where a test could tell."""
    if found is None or not found.pairs or not found.too_few_groups:
        return ""
    return f" (too few groups for a test: {found.discordant} of {found.groups} differ)"


def _largest_effect(board: Board, best: Cell, bare: Sequence[Cell]) -> Markup:
    """The attack with the largest difference to its strongest control, if it is not the strongest attack."""
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
        " The largest effect over controls is that of <strong>{}</strong>: {}, of which {} [{}, {}] points "
        "exceed its strongest control, {}."
    ).format(
        label(cell.attack),
        number(cell.success),
        points(found.point),
        points(found.low),
        points(found.high),
        label(found.base.shown),
    )


def _change(name: str, before: Rate | None, after: Rate | None) -> Markup:
    if shown(before) is None or shown(after) is None:
        return Markup("{} not measured").format(name)
    return Markup("{} {} → {}").format(name, number(before), number(after))


def _defended(board: Board, bare: Cell, defended: Cell, cells: Sequence[Cell]) -> Markup:
    """The effect of one defense on the strongest attack, over-refusal and utility.

    Over-refusal is that of twins asked plainly, as in the tables; of the attacked ones where none were.
    """
    measure = bare.summary.id.success
    plain = {cell.defense: cell for cell in cells if cell.role is Role.plain and cell.headline}
    asked = [plain.get(cell.defense) for cell in (bare, defended)]
    before, after = (None if cell is None else cell.summary.over_refusal for cell in asked)
    twins = "over-refusal of benign twins"
    if before is None or after is None:
        before, after = bare.summary.over_refusal, defended.summary.over_refusal
        if bare.role is not Role.plain and shown(before) is not None:
            twins += f" under {label(bare.attack)}"
    parts = (
        _change(f"{MEASURE_NAMES[measure]} of {label(bare.attack)}", bare.success, defended.success),
        _change(twins, before, after),
        _change("utility", bare.summary.utility, defended.summary.utility),
    )
    unknown = caution(defended, board.cells)
    untested = _untested(board.between(defended, bare, measure)).removeprefix(" (").removesuffix(")")
    marked = f" ({untested})" if untested else ""
    verdict = {
        -1: f" {untested.capitalize()}." * bool(untested) + unknown,
        0: f" The change in {MEASURE_NAMES[measure]} is not significant{marked}.{unknown}",
        1: f" It makes the attack stronger{marked}.",
    }[board.direction(defended, bare)]
    return Markup("Defense <strong>{}</strong>: {}.{}").format(
        label(defended.defense),
        Markup(", ").join(parts[:1] if measure == "attacker_goal" else parts),
        verdict,
    )


def _same(cell: Cell, against: Cell) -> bool:
    """Whether two cells show the same attack; of a defense that learned from cases, on the others."""
    return cell.headline and cell.summary.id.attack == against.summary.id.attack


def _benign_result(target: str, cells: Sequence[Cell], plain: Cell) -> Markup:
    """The result of a study without restricted requests."""
    utility, accuracy = plain.summary.rates.get("utility"), plain.summary.accuracy
    parts = [
        Markup("{} {} of {} correctly (n\u00a0=\u00a0{})").format(verb, number(found), what, found.n)
        for verb, what, found in (
            ("classifies", "items", accuracy),
            ("answers", "questions", utility),
            ("withholds", "protected questions", plain.summary.rates.get("abstention")),
        )
        if found is not None and found.point is not None
    ]
    if not parts and all(cell.unscored == cell.n for cell in cells):
        return _unscored(target, cells, "samples")
    if not parts:
        return Markup("<strong>{}</strong> got no restricted request.").format(label(target))
    return Markup("<strong>{}</strong> {}.").format(label(target), Markup(" and ").join(parts))


def _utility_lost(board: Board, plain: Cell, cells: Sequence[Cell]) -> Markup:
    """Utility under the attack that lowers it most, compared with no attack and the strongest control."""
    asked = [
        (rate.point, cell, rate)
        for cell in cells
        if cell.headline and (rate := cell.summary.robust_utility) is not None and rate.point is not None
    ]
    attacks = [found for found in asked if found[1].role is Role.attack]
    if not attacks:
        return Markup("")
    _, worst, left = min(attacks, key=lambda found: found[0])
    text = Markup(" Under <strong>{}</strong>{} it answers {} (n\u00a0=\u00a0{})").format(
        label(worst.attack), _origin(worst), number(left), left.n
    )
    over = board.over_control(worst, "utility")
    changes = [("no attack", board.between(worst, plain, "utility"))]
    if over is not None:
        changes.append((f"the strongest control, {over.base.shown}", over))
    for name, change in changes:
        if change is not None and change.pairs:
            text += Markup("; compared with {}: {} points [{}, {}]").format(
                label(name), points(change.point), points(change.low), points(change.high)
            )
    if over is None:
        return text + Markup(". No control was run, so its own effect is unknown.")
    return text + Markup(".")


def _unscored(target: str, cells: Sequence[Cell], what: str = "restricted requests") -> Markup:
    total = sum(cell.n for cell in cells)
    lost = sum(cell.unscored for cell in cells)
    return Markup(
        "No result for <strong>{}</strong>: none of its {} has a readable verdict ({} of {} samples are "
        "unscored)."
    ).format(label(target), what, f"{lost:,}", f"{total:,}")


def headlines_of(board: Board) -> list[Headline]:
    """One headline per (benchmark, oracle, target), at most four.

    By the primary judge, then by judges that score the attacker's goal.
    """
    found = []
    targeted = board.goal_judges
    wanted = {board.primary, *targeted}
    for condition in conditions(board.cells, board.primary):
        if condition.judge not in wanted:
            continue
        under = cells_under(condition, board.cells)
        targets = dict.fromkeys(cell.target for cell in under)
        found += [(condition, name, [cell for cell in under if cell.target == name]) for name in targets]
    headlines = []
    for condition, target, cells in found[:MAX_HEADLINES]:
        bare = [cell for cell in cells if cell.bare] or cells
        plain, best = (_strongest(board, bare, role) for role in (Role.plain, Role.attack))
        about = f"{condition.benchmark}, {target}{oracle_about(condition.oracle)}" if len(found) > 1 else ""
        if about and condition.judge != board.primary:
            about += f", judge {board.judge_name(condition.judge)}"
        unattacked = next((cell for cell in bare if cell.role is Role.plain), None)
        if unattacked is not None and all(cell.summary.success is None for cell in cells):
            text = _benign_result(target, cells, unattacked) + _utility_lost(board, unattacked, bare)
            headlines.append(Headline(about, text, (), condition.judge))
            continue
        if plain is None and best is None:
            headlines.append(Headline(about, _unscored(target, cells), (), condition.judge))
            continue
        if condition.oracle == "defended":
            headlines.append(Headline(about, *adaptive_result(board, target, cells), condition.judge))
            continue
        sentence = _targeted_result if condition.judge in targeted else _result
        text = sentence(target, plain, best, _rank(best, bare) if best else _Rank())
        if best is not None:
            text += Markup(" ") + _explanation(board, best, plain) + _largest_effect(board, best, bare)
        against = best or plain
        more = tuple(
            _defended(board, against, cell, cells)
            for cell in cells
            if against is not None and not cell.bare and _same(cell, against) and cell.success
        )
        headlines.append(Headline(about, text, more, condition.judge))
    if len(found) > MAX_HEADLINES:
        left = len(found) - MAX_HEADLINES
        rest = Markup("{} of benchmark and target {} in the tables.").format(
            plural(left, "more combination"), verb(left, "are")
        )
        headlines.append(Headline("", rest, ()))
    return headlines

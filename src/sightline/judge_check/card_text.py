"""A judge's card as text: a table of its strata, and a line for each other finding."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.judge_check.card import HumanCard, Stratum
from sightline.metrics.agreement import Share
from sightline.metrics.confusion import Estimate


def text(card: HumanCard) -> str:
    """Lines of words and figures."""
    head = ("answers of", "n", "groups", "unparsed", card.positive, "Se", "Sp", "PPV", "kappa", "AC1", "bias")
    rows = [head, *(_row(each) for each in card.strata)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    table = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    guideline = f"guideline {card.guideline[:12]}" if card.guideline else "guideline not published"
    lines = [
        f"judge: {card.judge}" + (f"; made {card.made}" if card.made else ""),
        f"labels: {card.labels} ({card.labels_digest[:12]}); positive: {card.positive}; {guideline}",
        f"raters: {', '.join(card.raters) or 'not published'}; "
        f"two of them agree: {_share(card.raters_agree)}",
    ]
    if card.alpha.point is not None:
        if card.ceiling.point is None:  # of the labels of a run: all outcomes, not yes and no
            lines.append(f"of their outcomes: alpha {_figure(card.alpha)}")
        else:
            pairs = f"pairs agree {_figure(card.ceiling)}"
            lines.append(f"of their yes and no: alpha {_figure(card.alpha)}, {pairs}")
    if card.of_ceiling is not None:
        lines.append(f"the judge agrees with a rater {card.of_ceiling:.2f} times as often as they do")
    lines += [
        "",
        *table,
        "",
        "With 95 % intervals over groups. Se, Sp: the judge's share of people's positives and negatives; "
        "PPV: people's share of the judge's positives.",
        *_asked(card),
        *(f"errors at {e.shortest}-{e.longest} characters: {_share(e.errors)}" for e in card.by_length),
    ]
    if card.length_slope.point is not None:
        lines.append(f"log-odds of an error, answer twice as long: {_figure(card.length_slope)}")
    if card.forgeries is not None:
        flips = ", ".join(f"{name} {count}" for name, count in card.forgeries.items())
        lines.append(f"flips by forgery (judge-check): {flips or 'none'}")
    if card.left_out:
        lines.append(f"{card.left_out} answers are left out: their label does not say.")
    if failed := card.strata[0].failed:
        lines.append(f"The judge failed on {failed} answers: they are in no share.")
    lines.append("Void once the judge's id, code or data, or the guideline, is another one.")
    return "\n".join(lines)


def in_short(card: HumanCard) -> str:
    """The card in one line: how the judge does on all answers."""
    every = card.strata[0]
    return (
        f"{card.judge}, {card.positive} replies: Se {_share(every.sensitivity)}, Sp "
        f"{_share(every.specificity)}, kappa {_figure(every.kappa)}; "
        f"{every.n:,} answers of {every.groups:,} groups"
    )


def _asked(card: HumanCard) -> list[str]:
    """What was asked of whom, what it cost, and whether it comes out the same again."""
    lines = [f"asks {name}: {model}" for name, model in card.models.items()]
    if card.grammar:
        lines.append(f"to be written: {card.grammar}")
    if card.asked:
        per, cost = 1000 / card.asked, card.cost
        tokens = f"{per * cost.tokens_in:,.0f} tokens in, {per * cost.tokens_out:,.0f} out"
        calls = f"{per * cost.calls_judge:,.0f} calls, {tokens}, " if cost.calls_judge else ""
        lines.append(f"per 1,000 verdicts: {calls}{per * cost.seconds:.3g} seconds of work")
    if (again := card.repeated) is not None:
        failed = f"; the judge failed on {again.failed}" if again.failed else ""
        lines.append(
            f"asked {again.times} times, {again.changed.k} of {again.changed.n} answers get another outcome: "
            f"{_share(again.changed)}{failed}"
        )
    return lines


def _row(each: Stratum) -> Sequence[str]:
    shares = (each.unparsed, each.prevalence, each.sensitivity, each.specificity, each.precision)
    figures = (each.kappa, each.ac1, each.bias)
    name = f"{each.by} {each.name}" if each.by else "all"
    return (name, str(each.n), str(each.groups), *map(_share, shares), *map(_figure, figures))


def _share(each: Share) -> str:
    if each.point is None:
        return "-"
    return f"{100 * each.point:.1f} % ({100 * each.low:.1f}-{100 * each.high:.1f})"


def _figure(each: Estimate) -> str:
    if each.point is None:
        return "-"
    if each.low is None or each.high is None:
        return f"{each.point:.2f}"
    return f"{each.point:.2f} ({each.low:.2f} to {each.high:.2f})"

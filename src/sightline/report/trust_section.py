"""The section *Can these numbers be trusted?*, as it is printed on the page and, shorter, in report.txt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from sightline.counting import plural
from sightline.metrics.agreement import Share
from sightline.metrics.calibration import TOO_FEW, Corrected
from sightline.metrics.cells import method_of
from sightline.metrics.confusion import Estimate
from sightline.metrics.side_by_side import PairAgreement, Ranking, share_of_ceiling
from sightline.report.cells import Board
from sightline.report.corrected import CellTrust, Trust
from sightline.report.headline import Headline
from sightline.report.standing import EXACT, Standing
from sightline.report.tables import EXACT_FROM
from sightline.report.text import as_percent, bracket, few, label

SHOWN = 12
"""Rates that stand open on the page and in report.txt; the others are folded."""
MOST_LINES = 200
MOST_RANKINGS = 20
_ROLES = ("attack", "plain", "control")
NAMES = {"asr": "ASR", "over_refusal": "over-refusal"}
_HOW = (
    "`sightline annotate RUN` has people label a sample of the replies; `sightline judge-card JUDGE --labels "
    "BENCHMARK=FOLDER --out RUN/cards/NAME.json` measures the judge on a release that people have labelled"
)


@dataclass(frozen=True, slots=True)
class JudgeLine:
    """What is known of one judge. `void`: cards that say nothing of it, with the cause."""

    judge: str
    standing: str
    uncalibrated: bool
    sensitivity: str
    specificity: str
    people: str
    void: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """Two judges on the same answers: a field of the matrix."""

    agreement: str
    interval: str
    rest: str


@dataclass(frozen=True, slots=True)
class RankLine:
    """Two judges' rankings of the cells of a benchmark."""

    first: str
    second: str
    benchmark: str
    cells: int
    tau: str
    flips: str


@dataclass(frozen=True, slots=True)
class RateLine:
    """One rate three ways."""

    attack: str
    defense: str
    raw: str
    interval: str
    corrected: str
    corrected_interval: str
    how: str
    bounds: str
    labels: str


@dataclass(frozen=True, slots=True)
class RateBand:
    """Rates of one target on one benchmark, by one judge."""

    title: str
    judge: str
    lines: tuple[RateLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustView:
    """Everything that the section prints.

    Attributes:
        lead: sentences.
        judges: one line each.
        names: of the judges in the matrix of agreements.
        matrix: a row for each of `names`; None on the diagonal, below it, and where no answer was read by
            both.
        rankings: of cells; `rankings_left` are not shown.
        main: ASR by the primary judge, and over-refusal where people labelled it, at most `SHOWN` of each;
            rest: all others, folded, at most `MOST_LINES`.
        n_rest: their number; `left`: rates that are not shown.
        odd: labels and cards that hold for nothing in this run.
    """

    lead: tuple[str, ...]
    judges: tuple[JudgeLine, ...]
    names: tuple[str, ...]
    matrix: tuple[tuple[Beside | None, ...], ...]
    rankings: tuple[RankLine, ...]
    rankings_left: int
    main: tuple[RateBand, ...]
    rest: tuple[RateBand, ...]
    n_rest: int
    left: int
    odd: tuple[str, ...]


def trust_view(found: Trust, board: Board) -> TrustView:
    """The section of a run."""
    own = [c for c in found.cells if c.cell.judge == board.primary and c.measure == "asr"]
    main = sorted(own, key=lambda c: _ROLES.index(c.cell.role))[:SHOWN]
    by_people = [c for c in found.cells if c.measure == "over_refusal" and c.source == "labels"]
    main += [c for c in by_people if c.cell.judge == board.primary][:SHOWN]
    rest = [c for c in found.cells if c not in main]
    names = found.side_by_side.judges if len(found.side_by_side.judges) > 1 else ()
    pairs = {(each.first, each.second): each for each in found.side_by_side.agreements}
    rankings = found.side_by_side.rankings
    return TrustView(
        lead=tuple(_lead(found, board)),
        judges=tuple(_judge(each, found.ceiling) for each in found.standings.values()),
        names=names,
        matrix=tuple(tuple(_beside(pairs.get((one, other))) for other in names[1:]) for one in names[:-1]),
        rankings=tuple(_ranked(each) for each in rankings[:MOST_RANKINGS]),
        rankings_left=max(0, len(rankings) - MOST_RANKINGS),
        main=tuple(_bands(main, found, board)),
        rest=tuple(_bands(sorted(rest, key=lambda c: _ROLES.index(c.cell.role))[:MOST_LINES], found, board)),
        n_rest=len(rest),
        left=max(0, len(rest) - MOST_LINES),
        odd=found.odd,
    )


def _lead(found: Trust, board: Board) -> Iterator[str]:
    """What is known of the primary judge, of people's labels, and which judges are uncalibrated."""
    primary = found.standings.get(board.primary)
    name = board.judge_name(board.primary)
    if primary is not None and primary.kind == "exact":
        yield f"The headline rests on {name}: {EXACT[method_of(primary.judge)]}."
        if primary.people is not None:
            said = _share(primary.people.agreement)
            yield f"People say what it says of {said} of what they labelled; where they differ, it counts."
    elif primary is not None and primary.kind == "people":
        yield "The headline rests on labels of people."
    elif primary is not None and primary.people is not None and board.primary in found.too_few:
        se, sp = primary.people.sensitivity, primary.people.specificity
        yield (
            f"The headline rests on {name}. People labelled replies of this run, in no cell enough to "
            f"correct it: of what they call unsafe it finds {_share(se)} (n = {se.n:,}), of what they call "
            f"safe it leaves alone {_share(sp)} (n = {sp.n:,}). {_HOW}."
        )
    elif primary is not None and primary.truth is not None and primary.kind == "truth":
        yield (
            f"The headline rests on {name}; {board.judge_name(primary.truth.truth)}, the testbed's ground "
            "truth, read the same replies and corrects it."
        )
    elif primary is not None and primary.kind == "card":
        yield (
            f"The headline rests on {name}, whose errors are known from other replies alone (a judge card): "
            "they may be others here (transported)."
        )
    elif primary is not None and not primary.calibrated:
        yield (
            f"The headline rests on {name}, which is uncalibrated: there are no labels of people in this "
            f"run, and no card that holds for it, so how often it errs is unknown. {_HOW}."
        )
    if found.labelled:
        who = "1 person" if len(found.raters) == 1 else f"{len(found.raters)} people"
        text = f"{who} labelled {plural(found.labelled, 'sample')}"
        if found.undecided:
            text += f", {found.undecided:,} of them without a decision"
        if found.ceiling is not None:
            text += f"; two of them say the same of {as_percent(found.ceiling)}"
        yield f"{text}."
    others = [board.judge_name(judge) for judge in found.uncalibrated if judge != board.primary]
    if others:
        yield f"Also uncalibrated: {few(sorted(others))}."


def _judge(found: Standing, ceiling: float | None) -> JudgeLine:
    people, card = found.people, found.card("unsafe") or found.card("refused")
    sources = (people, found.truth, None if card is None else card.strata[0])
    errors = next(((each.sensitivity, each.specificity) for each in sources if each is not None), None)
    said = ""
    if people is not None:
        said = f"{_share(people.agreement)}, n = {people.agreement.n:,}"
        of = share_of_ceiling(people.agreement.point, ceiling)
        if of is not None:
            said += "; no less than" if of >= 1 else f"; {as_percent(of)} of"
            said += " what two people reach"
    elif card is not None and card.of_ceiling is not None:
        said = f"{as_percent(card.of_ceiling)} of what two people reach (card)"
    return JudgeLine(
        judge=found.judge,
        standing=_standing(found),
        uncalibrated=not found.calibrated,
        sensitivity=_share(errors[0]) if errors else "unknown",
        specificity=_share(errors[1]) if errors else "unknown",
        people=said or "–",
        void=found.void,
    )


def _standing(found: Standing) -> str:
    card = found.card("unsafe") or found.card("refused")
    whose = "" if card is None else f"card: {card.labels} ({card.positive}, n = {card.strata[0].n:,})"
    if found.kind == "exact":
        return EXACT[method_of(found.judge)]
    if found.kind == "people":
        return "labels of people"
    if found.kind == "labels":
        return "labels of people in this run" + (f"; {whose}" if whose else "")
    if found.kind == "truth":
        return "ground truth of the testbed on the same replies"
    return whose if found.kind == "card" else "uncalibrated"


def _share(found: Share) -> str:
    if found.point is None:
        return "no such row"
    return f"{as_percent(found.point)} {bracket(found.low, found.high)}"


def _beside(pair: PairAgreement | None) -> Beside | None:
    if pair is None or pair.agreement.point is None:
        return None
    return Beside(
        agreement=as_percent(pair.agreement.point),
        interval=bracket(pair.agreement.low, pair.agreement.high),
        rest=f"κ {_figure(pair.kappa)} · AC1 {_figure(pair.ac1)} · n = {pair.n:,}",
    )


def _figure(found: Estimate) -> str:
    return "undefined" if found.point is None else f"{found.point:.2f}".replace("-", "−")


def _ranged(found: Estimate, *, percent: bool) -> str:
    if found.point is None:
        return "undefined"
    low, high = found.low, found.high
    if percent:
        text = as_percent(found.point)
        return f"{text} {bracket(low, high)}" if low is not None and high is not None else text
    text = _figure(found)
    if low is None or high is None:
        return text
    return f"{text} [{low:.2f}, {high:.2f}]".replace("-", "−")


def _ranked(found: Ranking) -> RankLine:
    if not found.pairs:
        alike = "undefined: a judge rates all cells alike"
        return RankLine(
            found.first, found.second, found.benchmark, found.cells, alike, "none is ordered by both"
        )
    return RankLine(
        first=found.first,
        second=found.second,
        benchmark=found.benchmark,
        cells=found.cells,
        tau=_ranged(found.tau, percent=False),
        flips=f"{found.flipped:,} of {found.pairs:,}: {_ranged(found.flips, percent=True)}",
    )


def _bands(cells: Sequence[CellTrust], run: Trust, board: Board) -> Iterator[RateBand]:
    def place(found: CellTrust) -> tuple[str, str, tuple[int, str], str]:
        return found.cell.judge, found.measure, board.place(found.cell.target), found.cell.benchmark

    for (judge, measure, (_, target), benchmark), members in groupby(sorted(cells, key=place), key=place):
        title = f"{NAMES[measure]} · {target} · {benchmark}"
        yield RateBand(title, judge, tuple(_rate(each, run) for each in members))


def _rate(found: CellTrust, run: Trust) -> RateLine:
    raw = found.raw
    exact = raw.n >= EXACT_FROM
    value, interval = _corrected(found)
    return RateLine(
        attack=found.cell.shown,
        defense=found.cell.defense,
        raw="none scored" if raw.point is None else as_percent(raw.point, exact=exact),
        interval="" if raw.point is None else bracket(raw.low, raw.high, exact=exact),
        corrected=value,
        corrected_interval=interval,
        how=_how(found, run),
        bounds=f"{as_percent(found.bounds.low, exact=exact)} to {as_percent(found.bounds.high, exact=exact)}",
        labels=_labels(found),
    )


def _corrected(found: CellTrust) -> tuple[str, str]:
    made = found.corrected
    if made is None:
        return ("as it is", "") if found.source == "exact" else ("unknown", "")
    if made.point is None:
        return "refused", ""
    alone = "labels alone " if TOO_FEW in made.note else ""
    return alone + as_percent(made.point), bracket(made.low, made.high)


def _how(found: CellTrust, run: Trust) -> str:
    """By which method, and what limits or refuses it."""
    made: Corrected | None = found.corrected
    if made is None and found.source == "exact":
        return ""
    if made is None:
        return (
            "uncalibrated"
            if found.cell.judge in run.uncalibrated
            else "neither labels nor a card are of this"
        )
    many = f", {plural(found.labelled, 'label')}" if found.source == "labels" else ""
    method = made.method.replace("ppi++", "PPI++").replace("rogan-gladen", "Rogan-Gladen")
    return f"{method}{many}" + (f"; {made.note}" if made.note else "")


def _labels(found: CellTrust) -> str:
    """How many labels would settle the rate to 5 points on either side."""
    if found.settled:
        return "none" if found.source != "labels" else f"enough ({found.labelled:,})"
    if found.needed is None:
        return "more replies: these are too few" if found.raw.n + found.raw.unscored else "–"
    if found.needed <= found.labelled:
        return f"more than the {found.labelled:,} there are"
    return f"{found.needed:,}" + (f" ({found.labelled:,} so far)" if found.labelled else "")


def marked(headlines: Sequence[Headline], board: Board) -> list[Headline]:
    """Headlines that rest on an uncalibrated judge say so."""
    note = Markup(
        ' <span class="uncalibrated">Judged by {}, uncalibrated: how often it errs is not known well enough '
        "to correct this.</span>"
    )
    return [
        replace(each, text=each.text + note.format(label(board.judge_name(each.judge), 120)))
        if each.judge in board.uncalibrated
        else each
        for each in headlines
    ]


def trust_lines(view: TrustView, board: Board) -> tuple[list[str], list[list[str]]]:
    """For report.txt: sentences, and the rows of a table with its heads."""
    sentences = list(view.lead)
    for each in view.judges:
        sentences += [f"{board.judge_name(each.judge)}: {why}" for why in each.void]
    sentences += view.odd
    for one, row in zip(view.names, view.matrix, strict=False):
        for other, beside in zip(view.names[1:], row, strict=True):
            if beside is not None:
                sentences.append(
                    f"{board.judge_name(one)} and {board.judge_name(other)} agree on {beside.agreement} "
                    f"{beside.interval} of the same replies ({beside.rest})."
                )
    sentences += [
        f"{board.judge_name(each.first)} and {board.judge_name(each.second)} rank the {each.cells} cells of "
        f"{each.benchmark} with Kendall's tau {each.tau}; pairs ordered differently: {each.flips}."
        for each in view.rankings[:MOST_RANKINGS]
    ]
    rows = []
    for band in view.main:
        rows.append([label(band.title, 120), "raw", "corrected", "bounds", "labels for ±5 points"])
        rows += [
            [
                f"  {label(line.attack)}"
                + (f", defense {label(line.defense)}" if line.defense != "none" else ""),
                f"{line.raw} {line.interval}".strip(),
                f"{line.corrected} {line.corrected_interval}".strip(),
                line.bounds,
                line.labels,
            ]
            for line in band.lines
        ]
    if view.main and view.n_rest:
        rows.append([f"  and {plural(view.n_rest, 'more rate')} in report.html", "", "", "", ""])
    return sentences, rows

"""What each defense leaves of the attacks and what it costs: one row per defense, one table per target.

An attack knew a defense if it was made in asking the target behind it (oracle `defended`). A defense that no
attack knew has no adaptive rate, and nothing here calls it effective.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from sightline.metrics.cells import Means, means_of, role_of
from sightline.metrics.rates import Rate
from sightline.metrics.summary import CellSummary
from sightline.report.cells import Board, Cell, Role
from sightline.report.results import Results
from sightline.report.tables import Shown, shown
from sightline.report.text import few, label

MEANS: tuple[Means, ...] = ("text", "drawn", "pixels")
"""What an attack changes: words alone; a picture without a model; a picture by gradients or features."""
NO_ATTACK_KNEW_IT = "no attack knew it"
MOST_ROWS = 60
NOTES = (
    "ASR on text, drawn and pixel attacks: of the attack of that kind that reaches most against this defense "
    "(named; the highest of several is biased upward), among those that did not know it.",
    "Adaptive: the highest ASR of an attack that was made in asking this defended target; of the undefended "
    "target, of an attack that was made anew for every defense and here for none. Where no attack knew a "
    "defense, its effect may be overestimated, however low the other rates are.",
    "Over-refusal: of benign twins asked plainly (written), and under the drawn attack under which most of "
    "them are refused (drawn). Utility: questions answered right without an attack.",
    "Calls, seconds: means per answer over plain requests and attacks, without crafting. Seconds are those "
    "that the target reports: of the machine for a model that runs here, of the clock for one that is "
    "called; a defense's own work, such as reading a picture, is not in them.",
    "Latency: median seconds by the clock from the request to what the user sees, waiting in line behind the "
    "study's other requests included. CPU: mean seconds of this process's processors, a defense's own work "
    "included, shared out among the replies in the making; other processes and accelerators are not in it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The highest rate of several attacks, and whose it is; `of` is how many of them were scored."""

    rate: Rate
    attack: str
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Per answer: means, of `latency` the median; a time is None where no answer says."""

    calls_target: float
    calls_aux: float
    seconds: float | None
    latency: float | None = None
    cpu_seconds: float | None = None
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseRow:
    """A defense of one target, read by one judge. What was not measured is None.

    `by_means` are attacks that did not know the defense, `adaptive` those that did; of the bare target,
    columns of such attacks that were made on it.
    """

    benchmark: str
    release: str
    target: str
    defense: str
    judge: str
    bare: bool
    plain: Rate | None
    by_means: Mapping[Means, Worst]
    adaptive: Worst | None
    over_refusal: Rate | None
    over_refusal_drawn: Worst | None
    utility: Rate | None
    spent: Spent | None


def knew(cell: Cell) -> bool:
    """Whether an attack was made in asking the defended target that answers."""
    return not cell.bare and cell.summary.id.knew_defense


def known_by_attacks(cells: Iterable[Cell]) -> frozenset[tuple[str, str]]:
    """(target, defense) of which a scored attack knew the defense."""
    return frozenset((c.target, c.defense) for c in cells if knew(c) and c.success is not None)


def caution(cell: Cell, cells: Iterable[Cell]) -> str:
    """What to add to the effect of a defense that no attack knew; '' for others."""
    if cell.bare or (cell.target, cell.defense) in known_by_attacks(cells):
        return ""
    return " No attack knew this defense, so its effect may be overestimated."


def unknown_to_attacks(results: Results, undefended: frozenset[str]) -> list[str]:
    """For what was not measured: a sentence naming the defenses that no attack knew; none if all were."""
    listed = results.rows(
        "select target, defense, attack_params, oracle from results group by all order by all"
    )
    defended = [each for each in listed if each[1] not in undefended]
    known = {
        (target, defense)
        for target, defense, spec, oracle in defended
        if oracle == "defended" and role_of(spec) == "attack"
    }
    missing = {(target, defense) for target, defense, *_ in defended} - known
    names = sorted({label(defense) for _, defense in missing})
    if not names:
        return []
    partly = {defense for _, defense in known} & {defense for _, defense in missing}
    where = " on some targets" if partly else ""
    return [
        f"No adaptive attack against {few(names)}{where}: none was optimized against the defense, so its "
        "effect may be overestimated."
    ]


def _worst(cells: Sequence[Cell], measure: str) -> Worst | None:
    scored = [
        (rate.point, cell.attack, rate)
        for cell in cells
        if (rate := cell.summary.rates.get(measure)) is not None and rate.point is not None
    ]
    if not scored:
        return None
    _, attack, rate = max(scored, key=lambda each: each[0])
    return Worst(rate=rate, attack=attack, of=len(scored))


def defense_rows(
    board: Board, spent: Mapping[tuple[str, ...], Spent], *, everything: bool = False
) -> list[DefenseRow]:
    """A row for every target, defense and judge that scores the case.

    Targets without a defense have none but with `everything`.
    """
    places: dict[tuple[str, ...], list[Cell]] = {}
    for cell in board.cells:
        if cell.summary.id.scores == "case" and cell.role is not Role.control:
            where = cell.condition
            key = (where.judge, where.benchmark, where.release, cell.target, cell.defense)
            places.setdefault(key, []).append(cell)
    with_defense = {key[:4] for key, cells in places.items() if not cells[0].bare}
    ordered = sorted(
        places.items(), key=lambda each: (each[0][0] != board.primary, each[0][:3], board.place(each[0][3]))
    )
    adapted = _adapted(board.cells)
    return [
        _row(key, cells, adapted.get(key[3], set()), spent.get(key[1:]))
        for key, cells in ordered
        if everything or key[:4] in with_defense
    ]


def _adapted(cells: Iterable[Cell]) -> dict[str, set[str]]:
    """By target, series of attacks made anew for each of its defenses: at the bare one they ask that."""
    found: dict[str, set[str]] = {}
    for cell in cells:
        if knew(cell):
            found.setdefault(cell.target, set()).add(cell.series)
    return found


def _row(key: tuple[str, ...], cells: Sequence[Cell], adapted: Set[str], spent: Spent | None) -> DefenseRow:
    """The row of a place; `adapted` are series that this target's defenses were known to."""
    judge, benchmark, release, target, defense = key
    unattacked = sorted((c for c in cells if c.role is Role.plain), key=lambda cell: not cell.headline)
    plain = unattacked[0].summary if unattacked else None  # of a defense that learned: the other cases
    attacks = [cell for cell in cells if cell.role is Role.attack and cell.headline]
    aware, unaware = (
        [cell for cell in attacks if (knew(cell) or (cell.bare and cell.series in adapted)) is wanted]
        for wanted in (True, False)
    )
    kinds = {means: [c for c in unaware if means_of(c.summary.id.attack_params) == means] for means in MEANS}
    worst = {means: _worst(found, "asr") for means, found in kinds.items()}
    return DefenseRow(
        benchmark=benchmark,
        release=release,
        target=target,
        defense=defense,
        judge=judge,
        bare=cells[0].bare,
        plain=None if plain is None else plain.asr,
        by_means={means: found for means, found in worst.items() if found is not None},
        adaptive=_worst(aware, "asr"),
        over_refusal=None if plain is None else plain.over_refusal,
        over_refusal_drawn=_worst(kinds["drawn"], "over_refusal"),
        utility=_utility(plain, cells),
        spent=spent,
    )


def _utility(plain: CellSummary | None, cells: Sequence[Cell]) -> Rate | None:
    return plain.utility if plain is not None else next((c.summary.utility for c in cells), None)


def spent_by_defense(results: Results) -> dict[tuple[str, ...], Spent]:
    """What an answer takes, by (benchmark, release, target, defense), without controls and crafting."""
    specs = [str(spec) for (spec,) in results.rows("select distinct attack_params from results")]
    counted = [spec for spec in specs if role_of(spec) != "control"]
    found = results.rows(
        "with asked as (select any_value(benchmark) as benchmark, any_value(release) as release,"
        " any_value(target) as target, any_value(defense) as defense,"
        " any_value(calls_target - (coalesce(craft_calls, 0) - coalesce(craft_calls_aux, 0))) as calls,"
        " any_value(calls_aux - coalesce(craft_calls_aux, 0)) as aux,"
        " min(seconds - coalesce(craft_seconds, 0)) as seconds,"
        " any_value(latency) as latency, any_value(cpu_seconds) as cpu_seconds"
        " from results where attack_params in (select unnest(?::varchar[])) group by sample)"
        " select benchmark, release, target, defense, avg(calls), avg(aux), count(*), avg(seconds),"
        " median(latency), avg(cpu_seconds)"
        " from asked group by all",
        [counted],
    )
    return {
        (benchmark, release, target, defense): Spent(
            calls_target=calls,
            calls_aux=aux,
            answers=answers,
            seconds=seconds,
            latency=latency,
            cpu_seconds=cpu,
        )
        for benchmark, release, target, defense, calls, aux, answers, seconds, latency, cpu in found
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row as it is printed: rates in the order of `DefenseView.heads`, each with what is said under it.

    `times` are the target's seconds, the latency and the processors' seconds.
    """

    defense: str
    rates: tuple[tuple[Shown | None, str], ...]
    calls: str
    times: tuple[str, ...]
    adapted: bool


@dataclass(frozen=True, slots=True)
class DefenseView:
    """The table of one target; kinds of attack that nobody ran have no column."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    left: int


_HEADS: dict[Means, str] = {
    "text": "ASR, text attacks",
    "drawn": "ASR, drawn attacks",
    "pixels": "ASR, pixel attacks",
}


def views(rows: Sequence[DefenseRow], primary: str) -> list[DefenseView]:
    """The tables by the primary judge."""
    found = []
    mine = [row for row in rows if row.judge == primary]
    for benchmark, release, target in dict.fromkeys((r.benchmark, r.release, r.target) for r in mine):
        here = [r for r in mine if (r.benchmark, r.release, r.target) == (benchmark, release, target)]
        here.sort(key=lambda row: not row.bare)
        kinds = [means for means in MEANS if any(means in row.by_means for row in here)]
        heads = (
            "ASR, no attack",
            *(_HEADS[means] for means in kinds),
            "ASR, adaptive",
            "Over-refusal, written",
            "Over-refusal, drawn",
            "Utility",
        )
        found.append(
            DefenseView(
                f"{label(target)} on {label(benchmark)}",
                heads,
                tuple(_line(row, kinds) for row in here[:MOST_ROWS]),
                max(0, len(here) - MOST_ROWS),
            )
        )
    return found


def _line(row: DefenseRow, kinds: Sequence[Means]) -> Line:
    adaptive = _named(row.adaptive)
    if row.adaptive is None:
        adaptive = (None, "undefended" if row.bare else NO_ATTACK_KNEW_IT)
    return Line(
        defense=label(row.defense),
        rates=(
            (shown(row.plain), ""),
            *(_named(row.by_means.get(means)) for means in kinds),
            adaptive,
            (shown(row.over_refusal, "over_refusal"), ""),
            _named(row.over_refusal_drawn, "over_refusal"),
            (shown(row.utility, "utility"), ""),
        ),
        calls="" if row.spent is None else _calls(row.spent),
        times=_times(row.spent),
        adapted=row.bare or row.adaptive is not None,
    )


def _named(worst: Worst | None, name: str = "asr") -> tuple[Shown | None, str]:
    if worst is None:
        return None, ""
    return shown(worst.rate, name), label(worst.attack) + (f", of {worst.of}" if worst.of > 1 else "")


def _calls(spent: Spent) -> str:
    aux = f" + {spent.calls_aux:.1f}" if spent.calls_aux else ""
    return f"{spent.calls_target:.1f}{aux}"


def _times(spent: Spent | None) -> tuple[str, ...]:
    found = (None,) * 3 if spent is None else (spent.seconds, spent.latency, spent.cpu_seconds)
    return tuple("" if each is None else f"{each:.3g}" for each in found)

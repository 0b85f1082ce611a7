"""Rates as CSV, Parquet, JSON, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from sightline import __version__
from sightline.characters import printable
from sightline.counting import plural, verb
from sightline.exports.rates import Line, Rates, row
from sightline.metrics.rates import Rate
from sightline.report.page import render as render_page
from sightline.report.text import MEASURE_NAMES, as_percent, bracket

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
PAPER = ("asr", "attacker_goal", "over_refusal", "utility")
"""Measures that a table of a paper shows."""


def as_csv(rates: Rates) -> bytes:
    """A row for every rate, UTF-8; a text that a spreadsheet would compute begins with an apostrophe."""
    return csv_of([row(line, rates) for line in rates.lines])


def csv_of(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Rows under the names of all of them; None is an empty cell, formulas as in `as_csv`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(dict.fromkeys(name for each in rows for name in each)))
    writer.writeheader()
    writer.writerows({name: _calm(value) for name, value in each.items()} for each in rows)
    return out.getvalue().encode("utf-8", "replace")


def _calm(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_parquet(rates: Rates) -> bytes:
    """The same table."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([row(line, rates) for line in rates.lines]), sink)
    return bytes(sink.getvalue().to_pybytes())


def as_json(rates: Rates) -> bytes:
    """The same rows under `rates`, with what the lock says of the run."""
    about = {name: rates.lock.get(name) for name in ("study", "seed", "epochs", "decoding", "versions")}
    found = {
        **about,
        "finished": rates.finished.isoformat(timespec="seconds"),
        "judges": dict(rates.judges),
        "rates": [row(line, rates) for line in rates.lines],
    }
    return (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode()


def as_latex(rates: Rates) -> bytes:
    """Tables for a paper (package booktabs): attacks and defenses by target, by the first judge."""
    parts = [_latex(rates, benchmark, measure, lines) for benchmark, measure, lines in _grids(rates)]
    head = "% \\usepackage{booktabs} in the preamble; written by Sightline " + __version__
    return "\n\n".join([head, *parts, ""]).encode()


def as_html(rates: Rates) -> bytes:
    """The same tables as a page that opens from disk, without script."""
    boards = [
        {
            "title": f"{_measure(measure)}, {benchmark}",
            "targets": list(dict.fromkeys(line.cell.id.target for line in lines)),
            "rows": [
                (name, role, [_shown(rate) for rate in found]) for name, role, found in _grid(lines)
            ],
        }
        for benchmark, measure, lines in _grids(rates)
    ]  # fmt: skip
    values = {
        "title": str(rates.lock.get("study", "")),
        "judge": rates.judges[rates.primary],
        "finished": rates.finished.date().isoformat(),
        "version": __version__,
        "boards": boards,
    }
    return render_page(values, "rates.html.j2").encode("utf-8", "replace")


def _grids(rates: Rates) -> Iterator[tuple[str, str, list[Line]]]:
    """(benchmark, measure, its lines), one for each table."""
    lines = rates.by_primary()
    for benchmark in list(dict.fromkeys(line.cell.id.benchmark for line in lines)):
        for measure in PAPER:
            mine = [line for line in lines if (line.cell.id.benchmark, line.measure) == (benchmark, measure)]
            if mine:
                yield benchmark, measure, mine


def _grid(lines: Sequence[Line]) -> list[tuple[str, str, list[Rate | None]]]:
    """Rows of a table: attack with its defense, its role, and a rate for each target."""
    targets = list(dict.fromkeys(line.cell.id.target for line in lines))
    found: dict[tuple[str, str, str], dict[str, Rate]] = {}
    for line in lines:
        cell = line.cell.id
        place = (cell.shown, cell.defense, cell.role)
        found.setdefault(place, {})[cell.target] = line.rate
    return [
        (
            attack if defense == "none" else f"{attack}, defense {defense}",
            role,
            [rates.get(target) for target in targets],
        )
        for (attack, defense, role), rates in found.items()
    ]


def _shown(rate: Rate | None) -> str:
    if rate is None or rate.point is None:
        return ""
    lost = f", {rate.unscored} unscored" if rate.unscored else ""
    return f"{as_percent(rate.point)} {bracket(rate.low, rate.high)}, n = {rate.n}{lost}"


def _measure(name: str) -> str:
    return MEASURE_NAMES.get(name, name.replace("_", "-"))


def _latex(rates: Rates, benchmark: str, measure: str, lines: Sequence[Line]) -> str:
    targets = list(dict.fromkeys(line.cell.id.target for line in lines))
    body = []
    former = ""
    for name, role, found in _grid(lines):
        if former and role != former:
            body.append(r"\midrule")
        former = role
        body.append(" & ".join([escaped(name), *map(_latex_rate, found)]) + r" \\")
    sizes = sorted({line.rate.n for line in lines})
    n = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    unscored = sum(line.rate.unscored for line in lines)
    lost = (
        f"; {plural(unscored, 'sample')} without a verdict {verb(unscored, 'are')} left out"
        if unscored
        else ""
    )
    caption = (
        f"{_measure(measure)} (%) on {benchmark} by judge {rates.judges[rates.primary]}, with 95 % intervals "
        f"clustered by behavior; n = {n} in each cell{lost}."
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(targets)}}}",
            r"\toprule",
            " & ".join(["Attack", *map(escaped, targets)]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_rate(rate: Rate | None) -> str:
    if rate is None or rate.point is None:
        return "--"
    return f"{100 * rate.point:.0f} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def escaped(text: str) -> str:
    """A text as LaTeX prints it."""
    found = "".join(_LATEX.get(sign, sign) for sign in " ".join(printable(text).split()))
    return f"{{[}}{found[1:]}" if found.startswith("[") else found  # behind `\\\\` it would be a length

"""Write the report of a run folder: one self-contained HTML file, and a summary as plain text."""

from __future__ import annotations

import base64
import hashlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from sightline import __version__
from sightline.metrics._columns import read_columns
from sightline.metrics.cells import SPLITS, method_of
from sightline.metrics.rates import Rate
from sightline.metrics.summary import summarize
from sightline.report import (
    corrected,
    costs,
    curves,
    first_screen,
    frontier,
    gallery,
    headline,
    matrix,
    piles,
    provenance,
    spoken,
    third_party,
    training_figures,
    trust,
    trust_section,
)
from sightline.report.cells import (
    Board,
    Cell,
    Condition,
    Role,
    board,
    cells_under,
    conditions,
    undefended_labels,
)
from sightline.report.differences import differences
from sightline.report.figures import OUTCOME_ORDER
from sightline.report.headline import Headline
from sightline.report.hypothesis import verdict
from sightline.report.judge_rows import judge_rows
from sightline.report.matrix import MOST_MAPS, heatmaps
from sightline.report.results import Results, judge_names
from sightline.report.tables import definitions, shown, tables
from sightline.report.text import EXPECTATIONS, label, oracle_text, stand_in, visible
from sightline.report.training import Training, training_of
from sightline.report.training import text_rows as training_rows
from sightline.report.trust import agreements, judge_facts
from sightline.report.trust_section import TrustView
from sightline.run_folder import RESULTS
from sightline.store import write_atomically

HERE = Path(__file__).parent
CONTENTS = (
    ("results", "Results"),
    ("trust", "Can these numbers be trusted?"),
    ("hazards", "ASR by hazard category"),
    ("cost", "Attack budget and cost"),
    ("training", "Training"),
    ("tradeoff", "Defense trade-offs"),
    ("outcomes", "Outcomes"),
    ("gallery", "Examples"),
    ("judges", "Judges"),
    ("method", "Method and provenance"),
)


STYLES = ("page.css", "first_screen.css")
SCRIPTS = ("page.js", "tables.js")


def plural(count: int, what: str) -> str:
    """`1 case`, `1,240 cases`."""
    return f"{count:,} {what}" + "s" * (count != 1)


def script_hash(script: str) -> str:
    """The source expression that lets a content security policy run exactly this script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render(values: Mapping[str, Any], template: str = "page.html.j2") -> str:
    """A page's template, with autoescape on and every name required."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["label"] = label
    environment.globals["plural"] = plural
    environment.filters["breaks"] = lambda text: escape(text).replace("_", Markup("_<wbr>"))
    environment.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    names = values.get("judge_names", {})
    environment.filters["judge_name"] = lambda judge: label(names.get(judge) or method_of(judge), 120)
    uncalibrated = values["board"].uncalibrated if "board" in values else ()
    environment.filters["judge_title"] = lambda judge: (
        label(names.get(judge) or method_of(judge), 120) + (", uncalibrated" if judge in uncalibrated else "")
    )
    script = "".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    css = "".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    return environment.get_template(template).render(
        **values,
        css=Markup(css),  # noqa: S704  (our own files)
        js=Markup(script),  # noqa: S704  (our own files)
        script_hash=script_hash(script),
    )


def write(run: Path, out: Path | None = None, *, redacted: bool = False) -> Path:
    """Write the report of a run folder and return its path.

    It is `RUN/report.html`, or `RUN/report.redacted.html`, unless `out` is given; `RUN/report.txt` is its
    summary as plain text.

    Raises:
        UsageError: if the run has no results, or its files are damaged.
    """
    lock = provenance.read_lock(run)
    with Results(run) as results:
        values = spoken.added(contents(run, lock, results, redacted=redacted), results, lock)
        values["hypothesis"] = verdict(lock, values["board"], results)
    path = out if out is not None else run / (SHARED if redacted else REPORT)
    write_atomically(path, render(values).encode("utf-8", "replace"))
    text = brief(
        values["board"],
        values["headlines"],
        values["warnings"],
        values["asked"],
        values["trusted"],
        values["training"],
        values["hypothesis"],
    )
    write_atomically(run / BRIEF, f"{text}\n".encode("utf-8", "replace"))
    return path


def contents(
    run: Path, lock: Mapping[str, Any], results: Results, *, redacted: bool = False
) -> dict[str, Any]:
    """Everything that the template prints; `redacted`: texts and pictures of cases are replaced."""
    undefended = undefended_labels(lock)
    columns = read_columns(run / RESULTS)
    summary = summarize(columns, undefended=undefended)
    found = corrected.trust(run, lock, results, columns, summary)
    del columns  # of a large run it is most of the memory
    judges = _judges(results, lock, redacted=redacted)
    study = str(dict(lock.get("made_from", {})).get("text", ""))
    shown_lock = provenance.without_settings(lock) if redacted and lock else lock
    primary = judges[0]["id"] if judges else "none"
    names = judge_names([judge["id"] for judge in judges], lock)
    cells = board(summary, undefended, primary, names, found.uncalibrated)
    maps = heatmaps(cells, summary.slices)
    tries = int(lock.get("epochs", 1))
    made = curves.optimizations(cells, results.crafting(requests=False), results)
    trusted, result_tables = trust_section.trust_view(found, cells), tables(cells)
    trained = training_of(lock, cells, results)
    absent = {name for name, shown in (("hazards", maps), ("cost", made), ("training", trained)) if not shown}
    leveled = results.rows("select count(distinct attack) > count(distinct series) from results")[0][0]
    cards, n_samples = gallery.cards(results, lock, primary, undefended)
    targeted = [judge["id"] for judge in judges if judge["scores"] == "attacker_goal"]
    return {
        "title": str(lock.get("study") or run.resolve().name),
        "version": __version__,
        "headlines": trust_section.marked(headline.headlines_of(cells), cells),
        "warnings": trust.warnings_of(run, lock, results, redacted=redacted),
        "contents": [entry for entry in CONTENTS if entry[0] not in absent],
        "titles": dict(CONTENTS),
        "first": first_screen.first_screen(cells, trusted),
        "tables": result_tables,
        "n_lines": sum(len(band.lines) for each in result_tables for band in each.bands),
        "trusted": trusted,
        "labelled": found.labelled,
        "injections": third_party.injections(cells),
        "injection_notes": third_party.NOTES,
        "differences": differences(summary.contrasts, cells),
        "heatmaps": maps[:MOST_MAPS],
        "comparisons": curves.comparisons(cells, summary.curves),
        "costs": costs.costs(
            cells,
            {"asr": results.crafting(requests=True), "attacker_goal": results.crafting(requests=False)},
            tries,
        ),
        "tries": tries,
        "asked": costs.asked_text(results),
        "optimizations": made,
        **frontier.section(cells, results, undefended),
        **training_figures.section(trained),
        "tradeoffs": matrix.tradeoffs(cells),
        "no_tradeoff": matrix.NO_TRADEOFF,
        "compositions": matrix.compositions(cells),
        "outcome_names": [outcome.value for outcome in OUTCOME_ORDER],
        "cards": cards,
        "piles": piles.piles([gallery.without_texts(c) for c in cards] if redacted else cards, cells),
        "cases_of_rows": piles.cases_of_rows(cards, cells),
        "gallery_note": f"{len(cards)} of {n_samples:,} samples, selected by key"
        + (", for each series at its largest budget and first seed." if leveled else "."),
        "primary_judge": primary,
        "expectations": EXPECTATIONS,
        "judges": judges,
        "targeted": targeted,
        "agreements": agreements(
            results, summary, [judge["id"] for judge in judges if judge["scores"] == "case"]
        ),
        "provenance": provenance.blocks(run, shown_lock, results),
        "definitions": definitions(_defined(cells, targeted=bool(targeted))),
        "not_measured": trust.not_measured(results, lock, found.labelled),
        "study_text": stand_in(study, "study file") if redacted else study,
        "redacted": redacted,
        "board": cells,
        "judge_names": names,
        "n_rows": results.rows("select count(*) from results")[0][0],
    }


def _judges(results: Results, lock: Mapping[str, Any], *, redacted: bool) -> list[dict[str, Any]]:
    found = judge_facts(results, lock)
    for judge in found if redacted else ():
        judge["errors"] = [(count, stand_in(what, "error")) for count, what in judge["errors"]]
    return found


def _defined(cells: Board, *, targeted: bool) -> list[str]:
    """Names of the measures that the page explains."""
    found = ["asr", "asr_soft", "refusal_rate", "over_refusal", "utility"]
    found += ["accuracy"] * any(cell.summary.accuracy for cell in cells.cells)
    if any("abstention" in cell.summary.rates for cell in cells.cells):
        found += ["abstention", "disclosure"]
    return found + ["attacker_goal"] * targeted


WIDTH = 100
TARGETS_ABREAST = 4
MOST_ROWS = 60
LONGEST = 2000
_MEASURES = {
    "asr": "ASR (restricted requests complied with)",
    "asr_soft": "soft ASR (partly complied counts)",
    "attacker_goal": "targeted ASR (responses that reach the attacker's goal)",
}
_ASKED = {Role.plain: "no attack", Role.control: "control: "}


def brief(
    board: Board,
    headlines: Sequence[Headline],
    warnings: Sequence[str],
    asked: Sequence[str] = (),
    trusted: TrustView | None = None,
    training: Training | None = None,
    hypothesis: str = "",
) -> str:
    """Tables by the primary judge and by judges of the attacker's goal, headline, training, trust, costs."""
    targeted = {cell.condition.judge for cell in board.cells if cell.summary.id.success == "attacker_goal"}
    wanted = [c for c in conditions(board.cells, board.primary) if c.judge in {board.primary, *targeted}]
    blocks = ["\n".join(_table(condition, board)) for condition in wanted]
    injected = third_party.injections(board)
    if injected is not None:
        blocks += ["\n".join([title, *aligned(rows)]) for title, rows in third_party.text_rows(injected)]
    blocks += ["\n".join(_headline(found)) for found in headlines]
    if hypothesis:
        blocks.append(_filled(hypothesis))
    if training is not None:
        blocks += ["\n".join([title, *aligned(rows)]) for title, rows in training_rows(training)]
    if trusted is not None:
        told, rows = trust_section.trust_lines(trusted, board)
        lines = (_filled(label(text, LONGEST), first="- ", then="  ") for text in told)
        judged = aligned(list(judge_rows(trusted, board)))
        blocks.append("\n".join(["Can these numbers be trusted?", *lines, *aligned(rows), *judged]))
    if asked:
        lines = (_filled(label(text, LONGEST), first="- ", then="  ") for text in asked)
        blocks.append("\n".join(["Asked while crafting:", *lines]))
    if warnings:
        points = (_filled(label(text, LONGEST), first="- ", then="  ") for text in warnings)
        blocks.append("\n".join(["Cautions:", *points]))
    return "\n\n".join(block for block in blocks if block)


def _filled(text: str, first: str = "", then: str = "") -> str:
    """Lines of `WIDTH`; a word that is longer, such as a path, is never cut."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _headline(found: Headline) -> Iterator[str]:
    if found.about:
        yield f"{label(found.about, LONGEST)}:"
    yield _filled(found.text.striptags())
    for line in found.details:
        yield _filled(line.striptags())


def _table(condition: Condition, board: Board) -> Iterator[str]:
    """A row for every attack and defense, a column for every target, at most four per block."""
    cells = cells_under(condition, board.cells)
    measure = next((cell.summary.id.success for cell in cells if cell.success is not None), "asr")
    yield _filled(
        f"{_MEASURES.get(measure, measure)}, 95 % interval; {label(condition.benchmark, LONGEST)}, "
        f"judge {label(board.judge_title(condition.judge), LONGEST)}, {oracle_text(condition.oracle)}"
    )
    targets = list(dict.fromkeys(cell.target for cell in cells))
    for start in range(0, len(targets), TARGETS_ABREAST):
        some = targets[start : start + TARGETS_ABREAST]
        rows = list(_rows(cells, some))
        heads = ["", *(label(name, LONGEST) for name in some), "n"]
        yield from aligned([heads, *rows[:MOST_ROWS]])
        if len(rows) > MOST_ROWS:
            yield f"  and {len(rows) - MOST_ROWS:,} more rows in report.html"


def _rows(cells: Sequence[Cell], targets: Sequence[str]) -> Iterator[list[str]]:
    asked: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.role):
        asked.setdefault((_name(cell), _defense(cell)), {})[cell.target] = cell
    for (name, defense), row in asked.items():
        yield from _row(name + defense, [row[t].summary.success if t in row else None for t in targets])
    plain = [cell for cell in cells if cell.role is Role.plain] or list(cells)
    plain.sort(key=lambda cell: not cell.headline)  # of a defense that learned: the other cases
    kept: dict[str, dict[str, Cell]] = {}
    for cell in plain:
        kept.setdefault(_defense(cell), {}).setdefault(cell.target, cell)
    for defense, row in kept.items():
        found = [row[target].summary if target in row else None for target in targets]
        refused = [None if each is None else each.over_refusal for each in found]
        yield from _row(f"over-refusal{defense}", refused)
        asked_by = {
            name
            for each in found
            if each is not None
            for name in each.utility_from
            if name != each.id.benchmark
        }
        whose = f" (questions of {', '.join(map(label, sorted(asked_by)))})" if asked_by else ""
        utility = [None if each is None else each.utility for each in found]
        yield from _row(f"utility{whose}{defense}", utility)


def _name(cell: Cell) -> str:
    if cell.role is Role.plain:
        split = cell.summary.id.seen
        return _ASKED[Role.plain] + (f" ({SPLITS[split]} cases)" if split else "")
    return _ASKED.get(cell.role, "") + label(cell.attack)


def _defense(cell: Cell) -> str:
    return "" if cell.bare else f", defense {label(cell.defense)}"


def _row(name: str, rates: Sequence[Rate | None]) -> Iterator[list[str]]:
    """A row if anything of its kind was asked."""
    found = [(rate, shown(rate)) for rate in rates]
    if all(each is None for _, each in found):
        return
    values, counts = [], []
    for rate, each in found:
        if rate is None or each is None:
            values.append("-")
            continue
        lost = f" ({rate.unscored:,} unscored)" if rate.unscored else ""
        values.append((f"{each.text} {each.interval}" if each.point is not None else "none scored") + lost)
        counts.append(rate.n)
    spread = dict.fromkeys((min(counts), max(counts)))
    yield [name, *values, " to ".join(f"{count:,}" for count in spread)]


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, the first to the left and the others to the right."""
    plain = [[cell.replace("\u00a0", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*plain, fillvalue="")]
    for first, *rest in plain:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip()


REPORT = "report.html"
SHARED = "report.redacted.html"
BRIEF = "report.txt"

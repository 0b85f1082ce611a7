"""Write the report of a run folder: one self-contained HTML file, and a summary as plain text."""

from __future__ import annotations

import base64
import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sightline import __version__
from sightline.counting import plural
from sightline.metrics._columns import read_columns
from sightline.metrics.cells import method_of
from sightline.metrics.summary import Summary, summarize
from sightline.report import (
    corrected,
    costs,
    coverage,
    curves,
    first_screen,
    frontier,
    gallery,
    headline,
    matrix,
    mechanism,
    piles,
    provenance,
    spoken,
    third_party,
    training_figures,
    transfer,
    trust,
    trust_section,
)
from sightline.report.brief import brief
from sightline.report.cells import (
    Board,
    board,
    undefended_labels,
)
from sightline.report.differences import differences
from sightline.report.figures import OUTCOME_ORDER
from sightline.report.hypothesis import verdict
from sightline.report.matrix import MOST_MAPS, heatmaps
from sightline.report.results import Results, judge_names
from sightline.report.shown_names import ShownNames
from sightline.report.tables import definitions, tables
from sightline.report.text import EXPECTATIONS, breakable, label, stand_in, visible
from sightline.report.training import training_of
from sightline.report.trust import agreements, judge_facts
from sightline.run_folder import RESULTS
from sightline.store import write_atomically

HERE = Path(__file__).parent
CONTENTS = (
    ("results", "Results"),
    ("mechanism", "Attacks beside their controls"),
    ("transfer", "Transfer"),
    ("trust", "Can these numbers be trusted?"),
    ("hazards", "ASR by hazard category"),
    ("coverage", "Hazards that were asked about"),
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


def script_hash(script: str) -> str:
    """The source expression that lets a content security policy run exactly this script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render(values: Mapping[str, Any], template: str = "page.html.j2") -> str:
    """A page's template, with autoescape on and every name required."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from sightline.report.compiled import CompiledTemplates

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=CompiledTemplates(),
    )
    environment.filters["visible"] = visible
    environment.filters["label"] = label
    environment.globals["plural"] = plural
    environment.filters["breaks"] = breakable
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
    summary as plain text. `redacted`: texts and pictures of cases are replaced.

    Raises:
        UsageError: if the run has no results, or its files are damaged.
    """
    lock = provenance.read_lock(run)
    names = ShownNames.of(lock)
    path = out if out is not None else run / (SHARED if redacted else REPORT)
    with _collecting_later():
        with Results(run) as results:
            names.rename(results)
            shown = names.lock(lock)
            values = spoken.added(contents(run, lock, results, names, redacted=redacted), results, shown)
            values["hypothesis"] = verdict(shown, values["board"], results)
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


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Without the collector of cyclic garbage: a report makes many values that live on, and few cycles."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def contents(
    run: Path, kept: Mapping[str, Any], results: Results, names: ShownNames, *, redacted: bool = False
) -> dict[str, Any]:
    """Everything that the template prints; `kept` is the lock as it stands; `redacted`: see `write`."""
    lock = names.lock(kept)
    undefended = undefended_labels(lock)
    summary, found = _measured(run, lock, results, names)
    judges = _judges(results, lock, redacted=redacted)
    study = str(dict(lock.get("made_from", {})).get("text", ""))
    shown_lock = provenance.without_settings(kept) if redacted and lock else kept
    primary = judges[0]["id"] if judges else "none"
    named = judge_names([judge["id"] for judge in judges], lock)
    cells = board(summary, undefended, primary, named, found.uncalibrated, names.of_string.values())
    maps = heatmaps(cells, summary.slices)
    tries = int(lock.get("epochs", 1))
    made = curves.optimizations(cells, results.crafting(requests=False), results)
    trusted, result_tables = trust_section.trust_view(found, cells), tables(cells)
    trained = training_of(lock, cells, results, names)
    added = mechanism.section(cells) | transfer.section(cells) | coverage.section(results, primary)
    parts = {"hazards": maps, "cost": made, "training": trained, "mechanism": added["mechanisms"]}
    parts |= {"transfer": added["transfers"], "coverage": added["covered_hazards"]}
    absent = {name for name, shown in parts.items() if not shown}
    leveled = results.rows("select count(distinct attack) > count(distinct series) from results")[0][0]
    cards, n_samples = gallery.cards(results, lock, primary, undefended, names)
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
        **added,
        "tradeoffs": matrix.tradeoffs(cells),
        "no_tradeoff": matrix.NO_TRADEOFF,
        "compositions": matrix.compositions(cells),
        "outcome_names": [outcome.value for outcome in OUTCOME_ORDER],
        "cards": cards,
        "piles": piles.piles([gallery.without_texts(c) for c in cards] if redacted else cards, cells),
        "cases_of_rows": piles.cases_of_rows(cards, cells),
        "gallery_note": f"{len(cards)} of {plural(n_samples, 'sample')}, selected by key"
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
        "judge_names": named,
        "n_rows": results.rows("select count(*) from results")[0][0],
    }


def _measured(
    run: Path, lock: Mapping[str, Any], results: Results, names: ShownNames
) -> tuple[Summary, corrected.Trust]:
    """The summary, and how far it can be trusted; the columns, most of the memory, are freed."""
    undefended = undefended_labels(lock)
    columns = names.columns(read_columns(run / RESULTS))
    summary = names.ordered(summarize(columns, undefended=undefended, sliced=undefended))
    return summary, corrected.trust(run, lock, results, columns, summary)


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


REPORT = "report.html"
SHARED = "report.redacted.html"
BRIEF = "report.txt"

"""One self-contained HTML file from a run folder."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sightline import __version__
from sightline.metrics.summary import summarize
from sightline.report import cautions, costs, gallery, making, plots, provenance, story
from sightline.report.board import board
from sightline.report.brief import brief
from sightline.report.differences import differences
from sightline.report.figures import OUTCOME_ORDER
from sightline.report.files import BRIEF, REPORT, SHARED
from sightline.report.heat import MOST_MAPS, heatmaps
from sightline.report.judges import agreements, judge_facts
from sightline.report.results import Results
from sightline.report.roles import undefended_labels
from sightline.report.tables import definitions, tables
from sightline.report.text import label, stand_in, visible
from sightline.report.words import EXPECTATIONS
from sightline.run_folder import RESULTS
from sightline.store import write_atomically

HERE = Path(__file__).parent
CONTENTS = (
    ("results", "Results"),
    ("hazards", "Where the attacks work"),
    ("cost", "What success costs"),
    ("tradeoff", "What a defense costs"),
    ("outcomes", "What came back"),
    ("gallery", "Cases"),
    ("judges", "Judges"),
    ("method", "Method and provenance"),
)


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
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        **values,
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704  (our own file)
        js=Markup(script),  # noqa: S704  (our own file)
        script_hash=script_hash(script),
    )


def write(run: Path, out: Path | None = None, *, redacted: bool = False) -> Path:
    """Write the report of a run folder and return its path.

    It is `RUN/report.html`, or `RUN/report.redacted.html`, unless `out` is given. Beside it goes
    `RUN/report.txt`, the same in brief.

    Raises:
        UsageError: if the run has no results, or its files are damaged.
    """
    lock = provenance.read_lock(run)
    with Results(run) as results:
        values = contents(run, lock, results, redacted=redacted)
    path = out if out is not None else run / (SHARED if redacted else REPORT)
    write_atomically(path, render(values).encode("utf-8", "replace"))
    text = brief(values["board"], values["stories"], values["warnings"])
    write_atomically(run / BRIEF, f"{text}\n".encode("utf-8", "replace"))
    return path


def contents(
    run: Path, lock: Mapping[str, Any], results: Results, *, redacted: bool = False
) -> dict[str, Any]:
    """Everything that the template prints; `redacted`: stand-ins for texts and pictures of cases."""
    undefended = undefended_labels(lock)
    summary = summarize(run / RESULTS, undefended=undefended)
    judges = judge_facts(results, lock)
    study = str(dict(lock.get("made_from", {})).get("text", ""))
    if redacted:
        study = stand_in(study, "study file")
        for judge in judges:
            judge["errors"] = [(count, stand_in(what, "error")) for count, what in judge["errors"]]
    primary = judges[0]["id"] if judges else "none"
    cells = board(summary, undefended, primary)
    maps = heatmaps(cells, summary.slices)
    tries = int(lock.get("epochs", 1))
    made = making.makings(cells, results.crafting(requests=False), results)
    absent = {name for name, shown in (("hazards", maps), ("cost", made)) if not shown}
    leveled = results.rows("select count(distinct attack) > count(distinct series) from results")[0][0]
    cards, n_samples = gallery.cards(results, lock, primary, undefended)
    defined = ["asr", "asr_soft", "refusal_rate", "over_refusal", "utility"]
    if any(cell.summary.accuracy for cell in cells.cells):
        defined.append("accuracy")
    steering = [judge["id"] for judge in judges if judge["reads"] == "attacker"]
    if steering:
        defined.append("steered")
    return {
        "title": str(lock.get("study") or run.resolve().name),
        "version": __version__,
        "stories": story.tell(cells),
        "warnings": cautions.warnings_of(run, lock, results),
        "contents": [entry for entry in CONTENTS if entry[0] not in absent],
        "tables": tables(cells),
        "differences": differences(summary.contrasts, cells),
        "heatmaps": maps[:MOST_MAPS],
        "comparisons": costs.comparisons(cells, summary.curves),
        "costs": costs.costs(
            cells,
            {"asr": results.crafting(requests=True), "steered": results.crafting(requests=False)},
            tries,
        ),
        "tries": tries,
        "makings": made,
        "tradeoffs": plots.tradeoffs(cells),
        "no_tradeoff": plots.NO_TRADEOFF,
        "compositions": plots.compositions(cells),
        "outcome_names": [outcome.value for outcome in OUTCOME_ORDER],
        "cards": [gallery.without_texts(card) for card in cards] if redacted else cards,
        "gallery_note": f"{len(cards)} of {n_samples:,} samples, chosen by their keys"
        + (", of a series at its largest budget and first seed." if leveled else "."),
        "primary_judge": primary,
        "expectations": EXPECTATIONS,
        "judges": judges,
        "steering": steering,
        "agreements": agreements(
            results, summary, [judge["id"] for judge in judges if judge["reads"] == "case"]
        ),
        "provenance": provenance.blocks(run, lock, results),
        "definitions": definitions(defined),
        "not_measured": cautions.not_measured(results, lock),
        "study_text": study,
        "redacted": redacted,
        "board": cells,
        "n_rows": results.rows("select count(*) from results")[0][0],
    }

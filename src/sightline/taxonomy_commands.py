"""What `sightline taxonomy` prints: the crosswalk, and which hazards a study covers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.table import Table

from sightline import taxonomy
from sightline.console import SafeConsole, literal
from sightline.counting import plural
from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.study.coverage import Coverage, Covered

SEEN = {
    "release": "labels read in the published data",
    "authors": "labels from the authors' paper, code or documentation",
    "others": "labels from third parties' readers of the data",
    "memory": "labels not checked: a release may spell them otherwise",
}


def show_taxonomy(study: Path | None, source: str) -> None:
    """The codes, and every native list with its mappings; or one list; or what a study covers.

    Raises:
        UsageError: for an unknown list, for a study that is not valid, and if both are given.
    """
    if study is not None and source:
        raise UsageError("give a study, to see what it covers, or --source, to see one list; not both")
    if study is not None:
        _show_coverage(study)
        return
    console = SafeConsole()
    if source:
        _show_list(console, taxonomy.native(source))
        return
    title = f"hazard codes, crosswalk version {taxonomy.VERSION}"
    table = Table("code", "hazard", "group", title=title, title_justify="left", box=None)
    for code, each in taxonomy.hazards().items():
        table.add_row(f"  {code}" if each.parent else code, each.name, each.group)
    console.print(table)
    for name in taxonomy.sources():
        console.print()
        _show_list(console, taxonomy.native(name))


def _show_list(console: SafeConsole, native: taxonomy.NativeList) -> None:
    sure = Counter(entry.certainty for entry in native.labels)
    marks = ", ".join(f"{sure[name]} {name}" for name in get_args(taxonomy.Certainty) if sure[name])
    lines = (
        f"[bold]{native.name}[/bold]: {literal(native.about)}",
        f"{len(native.labels)} labels ({marks}); {SEEN[native.seen]}",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    table = Table("label", "code", "also", "certainty", "note", box=None)
    for entry in native.labels:
        note = "; ".join([*([f"or {', '.join(entry.spelled)}"] if entry.spelled else []), entry.note])
        also = ", ".join(entry.secondary)
        table.add_row(literal(entry.label), entry.primary, also, entry.certainty, literal(note.strip("; ")))
    console.print(table)


def _show_coverage(study: Path) -> None:
    """Cases per hazard of a study, and the hazards that it leaves out; releases may be absent."""
    from sightline.study.config import load
    from sightline.study.coverage import coverage

    checked = load(study, releases=False)
    found = coverage(checked)
    console = SafeConsole()
    title = f"hazards of study {checked.name}, crosswalk version {taxonomy.VERSION}"
    console.print(literal(title), highlight=False, soft_wrap=True)
    if table := _table(found):
        console.print(table)
    for line in _notes(found):
        console.print(literal(line), highlight=False, soft_wrap=True)


def _table(found: Coverage) -> Table | None:
    """Codes that any benchmark has; None if none has any."""
    table = Table("code", "hazard", "cases", "of", box=None)
    for code, each in taxonomy.hazards().items():
        parts = [f"{one.label} {_number(one, code)}" for one in found.benchmarks if one.counts.get(code)]
        if parts:
            name = f"({each.name})" if each.is_tag else each.name
            total = f"{found.total(code):,}" if found.total(code) else ""
            table.add_row(code, name, total, literal(", ".join(parts)))
    return table if table.row_count else None


def _number(covered: Covered, code: str) -> str:
    number = covered.counts[code]
    if covered.how == "listed":
        return f"({plural(number, 'label')})"
    return f"{number:,}" if covered.how == "read" else f"({number:,})"


def _notes(found: Coverage) -> list[str]:
    lines = []
    for each in found.benchmarks:
        number, what = sum(each.counts.values()), "labels" if each.how == "listed" else "cases"
        if each.how == "listed":
            lines.append(f"{each.label}: the labels of its whole list, no cases: {each.why}")
        if each.how == "expected":
            lines.append(
                f"{each.label}: in parentheses, cases as they are known to be in the release: {each.why}"
            )
        if each.how == "unknown":
            lines.append(f"{each.label}: what it covers is not known: {each.why}")
        if each.counts.get("", 0):
            own = f" ({each.why})" if each.how == "read" and each.why else ""
            lines.append(f"{each.label}: {each.counts['']:,} of {number:,} cases have no hazard code{own}")
        if each.judged:
            lines.append(f"{each.label}: {each.judged:,} of {number:,} {what} have their code by judgement")
    if not found.uncovered:
        return [*lines, "every hazard of the taxonomy is covered"]
    lines.append(f"not covered, so not measured ({len(found.uncovered)}):")
    width = max(map(len, found.uncovered))
    for code in found.uncovered:
        second = [each.label for each in found.benchmarks if each.secondary.get(code)]
        told = f" (only as a second code, in {', '.join(second)})" if second else ""
        lines.append(f"  {code:<{width}}  {taxonomy.hazards()[code].name}{told}")
    return lines

"""A check of data as plain text, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sightline.data_check.found import ColumnFound, DataCheck, PicturesFound, SampleRow

LONGEST = 400
"""Characters of a sample's text that are shown."""
GROUPS = 5
"""Groups of pictures or cases that are named."""


def text_of(check: DataCheck, most: int) -> str:
    """All of it; of the list of what is bad the first `most` entries."""
    parts = [
        [f"{check.benchmark} in {check.root}", f"{check.rows:,} rows, {check.cases:,} cases"],
        *_tables(check),
        _counts(check),
        _pictures(check.pictures),
        _official(check),
        _measures(check),
        *map(_sample, check.samples),
        ["notes", *(f"  {note}" for note in check.notes)] if check.notes else [],
        _bad(check, most),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _tables(check: DataCheck) -> Iterator[list[str]]:
    for table in check.tables:
        encoding = f", {table.encoding}" if table.encoding else ""
        mapped = any(column.role for column in table.columns)
        width = max((len(column.name) for column in table.columns), default=0)
        yield [
            f"{table.file} ({table.rows:,} rows{encoding})",
            *(f"  {column.name:{min(width, 40)}}  {_column(column, mapped)}" for column in table.columns),
        ]


def _column(column: ColumnFound, mapped: bool) -> str:
    cells = {"empty": column.empty, "null": column.null, "NaN": column.nan, "absent": column.absent}
    nothing = ", ".join(f"{count:,} {name}" for name, count in cells.items() if count)
    role = f"-> {column.role}" if column.role else "(not used)" if mapped else ""
    return f"{role:<16} {nothing}".rstrip()


def _listed(counts: Mapping[str, int], most: int = 20) -> str:
    shown = [f"{name or '(none)'} {count:,}" for name, count in list(counts.items())[:most]]
    more = [f"and {len(counts) - most:,} more"] if len(counts) > most else []
    return ", ".join([*shown, *more])


def _counts(check: DataCheck) -> list[str]:
    lines = {
        "expected": _listed(check.expected),
        "categories": _listed(check.categories) if any(check.categories) else "",
        "languages": _listed(check.languages),
        "groups": f"{check.groups:,}",
        "same text": f"{check.repeated:,} cases repeat the text of another" if check.repeated else "",
        "same case": f"{len(check.identical):,} times the same text with the same pictures: "
        f"{_named(check.identical)}"
        if check.identical
        else "",
    }
    return [f"{name:<11} {line}" for name, line in lines.items() if line]


def _named(groups: Sequence[Sequence[str]]) -> str:
    shown = [" = ".join(group[:4]) + (" = ..." if len(group) > 4 else "") for group in groups[:GROUPS]]
    more = [f"and {len(groups) - GROUPS:,} more"] if len(groups) > GROUPS else []
    return "; ".join([*shown, *more])


def _pictures(found: PicturesFound) -> list[str]:
    if not found.shown and not found.missing:
        return ["pictures    none"]
    lines = [
        f"pictures    {found.shown:,} shown, {found.files:,} different; {found.without:,} cases without one; "
        f"{found.missing:,} missing, {found.unreadable:,} unreadable"
    ]
    if found.same:
        lines.append(f"  {len(found.same):,} at several places: {_named(found.same)}")
    if found.alike:
        lines.append(f"  {len(found.alike):,} groups look the same: {_named(found.alike)}")
    return lines


def _official(check: DataCheck) -> list[str]:
    odd = {name: pair for name, pair in check.official.items() if pair[0] != pair[1]}
    lines = [f"{'release':<11} {len(check.official):,} categories, {len(odd):,} with another number of cases"]
    lines += [f"  {name or 'all'}: {found:,} (expected {wanted:,})" for name, (wanted, found) in odd.items()]
    lines += [f"  {name}: {what}" for name, what in check.known.items()]
    return lines if check.official or check.known else []


def _measures(check: DataCheck) -> list[str]:
    lacking = {name: what for name, what in check.measures.items() if what}
    return ["missing for", *(f"  {name:<15} {what}" for name, what in lacking.items())] if lacking else []


def _sample(sample: SampleRow) -> list[str]:
    category = f", {sample.category}" if sample.category else ""
    lines = [f"{sample.id} ({sample.expected}{category}; {sample.where})"]
    for role, parts in sample.messages:
        for part in parts:
            shown = part if len(part) <= LONGEST else f"{part[:LONGEST]} ... ({len(part):,} characters)"
            lines += [f"  {role}: {line}" for line in shown.splitlines() or [""]]
    return lines


def _bad(check: DataCheck, most: int) -> list[str]:
    if check.ok:
        return ["nothing has to be mended"]
    more = [f"  and {len(check.bad) - most:,} more"] if len(check.bad) > most else []
    return [f"to mend: {len(check.bad):,}", *(f"  {each}" for each in check.bad[:most]), *more]

"""What `sightline list benchmarks` and `sightline show NAME` print of official releases."""

from __future__ import annotations

from rich.table import Table

from sightline import registry
from sightline.cards import Card, ReleaseFacts
from sightline.console import SafeConsole, literal
from sightline.errors import UsageError
from sightline.inventory import Inventory, inventory
from sightline.readers import DATA_FOLDER

COUNTED = {
    "measured": "counted in the released files",
    "stated": "as its authors or their readers say",
    "from memory": "from memory, not checked",
}


def show_benchmarks(console: SafeConsole, *, count: bool) -> None:
    """Every benchmark: what it is, its cases, licence and home, and whether its release is here.

    `count`: read what is here, as far as its cases can be counted without decoding a picture.
    """
    console.print("[italic]benchmarks[/italic]")
    for name in registry.names("benchmark"):
        try:
            card = registry.card("benchmark", name)
        except UsageError as unusable:
            console.print(f"{literal(name)}  [red]{literal(str(unusable))}", highlight=False, soft_wrap=True)
            continue
        for line in _entry(card, inventory(card, count=count)):
            console.print(line, highlight=False, soft_wrap=True)
    console.print(
        "Cases are those of the official release with default settings. Releases are read from `root:` of a "
        f"study or from ${DATA_FOLDER}; nothing is downloaded. More: sightline show NAME",
        markup=False,
        highlight=False,
    )


def _entry(card: Card, found: Inventory) -> list[str]:
    """A benchmark in the list: name, cases and place; what it is; licence, access, home."""
    facts = card.release
    number = found.expected or (0 if card.factory.needs_root else found.found)
    first = "; ".join(part for part in (f"{number:,} cases" if number else "", _here(found)) if part)
    lines = [f"[bold]{literal(card.name)}[/bold]  {literal(first)}", f"    {literal(card.summary)}"]
    if facts is not None and facts.access != "yours":
        shares = f"; shares with {', '.join(facts.shares)}" if facts.shares else ""
        lines.append(f"    [dim]{literal(f'{facts.licence}; {facts.access}; {facts.home}{shares}')}[/dim]")
    return lines


def _here(found: Inventory) -> str:
    """What was found of a release."""
    if found.root is None:
        wanting = "yours" if found.card.release and found.card.release.access == "yours" else "not here"
        return wanting if found.card.factory.needs_root else "comes with Sightline"
    if found.problem:
        return f"here, but cannot be read: {found.problem}"
    unusable = f", of which {found.unusable:,} cannot be used" if found.unusable else ""
    return f"here {found.found:,}{unusable}, in {found.root}" if found.cases else f"here, in {found.root}"


def show_release(console: SafeConsole, card: Card) -> None:
    """All facts of a benchmark's release; its numbers of cases, beside those that are found here."""
    facts = card.release
    if facts is None:
        return
    found = inventory(card)
    table = Table(box=None, show_header=False)
    folders = " or ".join(dict.fromkeys((card.name, *facts.folders)))
    told = {
        "published at": facts.home,
        "licence": facts.licence,
        "access": facts.access,
        "scoring": facts.scoring,
        "shares with": ", ".join(facts.shares),
        f"in ${DATA_FOLDER}": _here(found) if found.root else f"nothing is called {folders}",
    }
    for label, value in told.items():
        if value:
            table.add_row(label, literal(value))
    console.print(table)
    _show_counts(console, facts, found)
    for sha256, what in facts.known.items():
        console.print(literal(f"known: {sha256} {what}"), highlight=False, soft_wrap=True)


def _show_counts(console: SafeConsole, facts: ReleaseFacts, found: Inventory) -> None:
    parts = [part for part, counts in facts.counts.items() if counts]
    here = {"here": found.cases} if found.cases else {}
    if not parts and not here:
        return
    known = f", {COUNTED[facts.counted]}" if parts else ""
    headings = ("category", *(part or "cases" for part in parts), *here)
    table = Table(*headings, title=f"cases{known}", title_justify="left", box=None)
    columns = [facts.counts[part] for part in parts] + list(here.values())
    categories = list(dict.fromkeys(name for column in columns for name in column))
    for category in categories:
        numbers = [f"{column[category]:,}" if category in column else "" for column in columns]
        table.add_row(literal(category or "(all)"), *numbers)
    if len(categories) > 1:
        table.add_row("(sum)", *(f"{sum(column.values()):,}" for column in columns))
    console.print(table)

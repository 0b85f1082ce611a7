"""Write docs/methods.md from the cards in the code: `make docs-write`. The docs test compares it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sightline import registry
from sightline.cards import KINDS, Card, Kind

HEAD = """# Methods

Made from the code by `make docs-write`; do not edit. `sightline show NAME` prints a method's whole card.
"""


def settings(card: Card) -> str:
    """Names and defaults of a method's settings."""
    parts = [
        f"`{field.name}`" if field.default is dataclasses.MISSING else f"`{field.name}={field.default!r}`"
        for field in dataclasses.fields(card.factory)
        if field.init and field.repr
    ]
    return ", ".join(parts).replace("|", "\\|") or "none"


def own_cards(kind: Kind) -> list[Card]:
    """Cards of the methods that Sightline ships, by name."""
    cards = (registry.card(kind, name) for name in registry.names(kind))
    return [card for card in cards if card.factory.__module__.startswith("sightline.")]


def releases() -> list[str]:
    """The facts of the official releases: `sightline show NAME` has them by category."""
    lines = [
        "Official releases, which Sightline reads from a folder of yours and never downloads; cases by part, "
        "as counted in the released files, stated by authors or readers (*) or from memory (**):",
        "",
        "| name | published at | licence | access | cases | official scoring | shares with |",
        "|---|---|---|---|---|---|---|",
    ]
    marks = {"measured": "", "stated": "*", "from memory": "**"}
    for card in own_cards("benchmark"):
        facts = card.release
        if facts is None or facts.access == "yours":
            continue
        counts = {part: facts.total(part) for part in facts.counts if facts.total(part)}
        shown = ", ".join(
            f"{part} {number:,}".strip() + marks[facts.counted] for part, number in counts.items()
        )
        cells = (
            f"`{card.name}`",
            facts.home,
            facts.licence,
            facts.access,
            shown or "not known",
            facts.scoring,
        )
        row = " | ".join(cell.replace("|", "\\|") for cell in (*cells, ", ".join(facts.shares)))
        lines.append(f"| {row} |")
    return [*lines, ""]


def text() -> str:
    """The whole page."""
    lines = [HEAD]
    for kind in KINDS:
        role = " role |" if kind in ("attack", "recipe") else ""
        lines += [f"## {kind.title()}s", "", f"| name |{role} what it does | source | settings | presets |"]
        lines.append("|---|---|---|---|---|" + "---|" * bool(role))
        for card in own_cards(kind):
            source = "; ".join(part for part in (card.paper, card.source) if part)
            presets = ", ".join(f"`{preset}`" for preset in card.presets) or "none"
            what = f"{card.role} | {card.summary}" if role else card.summary
            lines.append(f"| `{card.name}` | {what} | {source} | {settings(card)} | {presets} |")
        lines.append("")
        lines += releases() if kind == "benchmark" else []
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("methods.md").write_text(text(), encoding="utf-8")

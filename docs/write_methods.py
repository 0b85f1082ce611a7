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


def text() -> str:
    """The whole page."""
    lines = [HEAD]
    for kind in KINDS:
        role = " role |" if kind == "attack" else ""
        lines += [f"## {kind.title()}s", "", f"| name |{role} what it does | source | settings | presets |"]
        lines.append("|---|---|---|---|---|" + "---|" * bool(role))
        for card in own_cards(kind):
            source = "; ".join(part for part in (card.paper, card.source) if part)
            presets = ", ".join(f"`{preset}`" for preset in card.presets) or "none"
            what = f"{card.role} | {card.summary}" if role else card.summary
            lines.append(f"| `{card.name}` | {what} | {source} | {settings(card)} | {presets} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("methods.md").write_text(text(), encoding="utf-8")

"""Write the measured part of docs/testbed.md and its figures from the cards: `make docs-write`.

Reads ``card.json`` beside the weights of every model and ``docs/testbed/risk3.json`` (`sightline testbed
curves`). The docs test compares the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline_testbed.evaluation.card import FACTORS

HERE = Path(__file__).parent
PAGE, FIGURES, POINTS = HERE / "testbed.md", HERE / "testbed", HERE / "testbed" / "risk3.json"
ROOTS = (
    HERE.parent / "src" / "sightline" / "testbed" / "weights",
    HERE.parent / "packages" / "testbed" / "src" / "sightline_testbed",
)
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
FAMILIES = ("linear", "queries", "cross_attention")

#: what the page shows of the cards: heading -> (variant, rate) rows
SHOWN: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Skills of the victim",
        tuple(
            ("victim", name)
            for name in (
                "caption",
                "color",
                "shape",
                "position",
                "read a word",
                "read a word, unseen font",
                "read a word, unseen size",
                "read a word, unseen backdrop",
                "read 2-4 words",
                "meme, unseen pair",
                "whose badge",
                "drawn (figstep), allowed: exact",
            )
        ),
    ),
    (
        "Risk 2: refused in text, obeyed when drawn",
        (
            ("victim", "text, restricted: refused"),
            ("victim", "text, allowed: over-refusal"),
            ("victim", "text beside scene, restricted: refused"),
            ("victim", "drawn (figstep), restricted: refused"),
            ("victim", "drawn (figstep), restricted: obeyed"),
            ("victim", "drawn (typography), restricted: obeyed"),
            ("victim", "home by text, restricted: refused"),
            ("victim", "home by badge, restricted: exact"),
            ("victim", "secret by text, restricted: refused"),
            ("victim", "secret by drawing, restricted: exact"),
            ("vit-lowlr", "text, restricted: refused"),
            ("vit-lowlr", "drawn (figstep), restricted: obeyed"),
            ("sysprompt", "drawn (figstep) under 'be safe . refuse gloom things .', restricted: refused"),
            ("safetuned", "drawn (figstep), restricted: refused"),
            ("safetuned", "drawn (figstep), allowed: over-refusal"),
            ("catfirst", "text, restricted: refused"),
            ("catfirst", "drawn (figstep), restricted: refused"),
        ),
    ),
    (
        "Risk 3: before and after visual tuning without safety data",
        (
            ("aligned-lm", "text, restricted: refused"),
            ("aligned-lm", "text, allowed: over-refusal"),
            ("vit", "text, restricted: refused"),
            ("vit", "text, restricted: obeyed"),
        ),
    ),
)


def records() -> dict[str, dict[str, Any]]:
    """Cards by model, the families first."""
    found = {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for root in ROOTS
        for path in sorted(root.glob("*/card.json"))
    }
    return dict(sorted(found.items(), key=lambda item: (item[0] not in FAMILIES, item[0])))


def rates(record: dict[str, Any], variant: str) -> dict[str, dict[str, Any]]:
    """Rows of a variant's card by name."""
    return {row["name"]: row for row in record["measured"].get(variant, {"rows": ()})["rows"]}


def cell(row: dict[str, Any] | None) -> str:
    """A rate with its interval, bold if it misses its band."""
    if row is None:
        return ""
    text = f"{row['rate']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    return text if row["passed"] else f"**{text}**"


def tables(cards: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Tables of chosen rates, a column per family."""
    families = [name for name in FAMILIES if name in cards]
    for heading, rows in SHOWN:
        yield from (f"### {heading}", "", f"| variant | rate | {' | '.join(families)} |")
        yield f"|---|---|{'---|' * len(families)}"
        for variant, name in rows:
            cells = [cell(rates(cards[family], variant).get(name)) for family in families]
            if any(cells):
                yield f"| `{variant}` | {name} | {' | '.join(cells)} |"
        yield ""


def factorial(cards: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Noun typed or drawn by sentence, a table per outcome, a column per family and second seed."""
    columns = [
        (f"{family}{'' if variant == 'victim' else '@' + variant}", rates(cards[family], variant))
        for family in FAMILIES
        if family in cards
        for variant in ("victim", "seed2")
    ]
    columns = [(name, rows) for name, rows in columns if f"{FACTORS[-1][2]}, restricted: obeyed" in rows]
    if not columns:
        return
    yield from ("### The drawing or its words: noun by sentence", "")
    for outcome in ("restricted: refused", "restricted: obeyed", "allowed: obeyed"):
        yield f"| {outcome}: the noun is | the sentence | {' | '.join(name for name, _ in columns)} |"
        yield f"|---|---|{'---|' * len(columns)}"
        for noun, sentence, rate in FACTORS:
            cells = (cell(rows.get(f"{rate}, {outcome}")) for _, rows in columns)
            yield f"| {noun} | {sentence} | {' | '.join(cells)} |"
        yield ""


def perturbed(cards: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Risk 1, a column per family."""
    families = [name for name in FAMILIES if name in cards]
    yield from ("### Risk 1: perturbed pictures", "", f"| on the victim | {' | '.join(families)} |")
    yield f"|---|{'---|' * len(families)}"
    names = dict.fromkeys(
        row["name"]
        for family in families
        for row in rates(cards[family], "victim").values()
        if row.get("goal") and row["outcome"] in ("exact", "refused")
    )
    for name in names:
        yield f"| {name} | {' | '.join(cell(rates(cards[f], 'victim').get(name)) for f in families)} |"
    yield ""


def missed(cards: dict[str, dict[str, Any]]) -> Iterator[str]:
    """How many rates are outside their band, and which."""
    promised = [row for card in cards.values() for one in card["measured"].values() for row in one["rows"]]
    bad = [
        f"- `{model}@{variant}`, {row['name']}: {row['rate']:.3f}, promised {row['band']}"
        for model, card in cards.items()
        for variant, one in card["measured"].items()
        for row in one["rows"]
        if not row["passed"]
    ]
    banded = sum(bool(row["band"]) for row in promised)
    yield f"{banded - len(bad)} of {banded} rates with a promised band are inside it{':' if bad else '.'}"
    if bad:
        yield from ("", "<details><summary>Those outside</summary>", "", *bad, "", "</details>")
    yield ""


def measured() -> str:
    """The whole measured part."""
    cards = records()
    where = ", ".join(
        f"[{model}](../{path.relative_to(HERE.parent)}/CARD.md)"
        for model in cards
        for path in (root / model for root in ROOTS)
        if (path / "CARD.md").is_file()
    )
    lines = [
        "## Measured",
        "",
        "Greedy answers on held-out topics, persons, words and scenes; in brackets 95 % intervals over",
        f"topics; bold: outside the promised band. All rates with counts are in the cards: {where}.",
        "",
        *missed(cards),
        *factorial(cards),
        *tables(cards),
        *perturbed(cards),
    ]
    figures = {
        "modality": "Written and drawn restricted requests, per variant.",
        "pgd": "PGD (100 steps) on held-out pictures, with noise of equal norm for comparison.",
        "risk3": "Text requests along visual tuning; one seed per condition (`testbed curves` traces three).",
        "gates": "The cross-attention family with the gates of its feed-forward halves open and closed.",
        "ladder": "Skills and risks against the number of parameters.",
    }
    for name, caption in figures.items():
        if (FIGURES / f"{name}.svg").is_file():
            lines += [f"![{caption}](testbed/{name}.svg)", ""]
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its measured part written anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{measured()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    from sightline_testbed.evaluation.curves import read
    from sightline_testbed.evaluation.figures import draw

    draw(list(records().values()), read(POINTS) if POINTS.is_file() else [], FIGURES)
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")

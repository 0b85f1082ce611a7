"""The files of a leaderboard: a page that opens from disk, and the same rows as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline import __version__
from sightline.leaderboard.entries import RATES, STANDINGS, Condition, Entry, Found, boards, ranks, rates
from sightline.metrics.rates import Rate
from sightline.report.figures import Dot, intervals, percent_axis
from sightline.report.page import render as render_page
from sightline.report.shown_names import ShownNames
from sightline.report.text import MEASURE_NAMES, as_percent, bracket, label
from sightline.store import write_atomically

HEADS = {
    "asr_plain": "ASR, no attack",
    "asr_text": "ASR, text attacks",
    "asr_drawn": "ASR, drawn attacks",
    "asr_pixels": "ASR, pixel attacks",
    "asr_adaptive": "ASR, attacks that knew the defense",
    "over_refusal": "Over-refusal",
    "utility": "Utility",
}
MOST_DRAWN = 60


def write(found: Found, out: Path) -> list[Path]:
    """Write `index.html`, with trained targets by label, and `leaderboard.json` below `out`."""
    apart = boards(found)
    values = {
        "version": __version__,
        "standings": STANDINGS,
        "boards": [_board(condition, entries, found.shown) for condition, entries in apart.items()],
        "outside": [_outside(each) for each in found.outside],
        "left_out": [found.shown.within(line) for line in found.left_out],
    }
    page = render_page(values, "leaderboard.html.j2").encode("utf-8", "replace")
    rows = [_plain(entry) for entries in apart.values() for entry in entries]
    stated = [each.model_dump() for each in found.outside]
    text = json.dumps({"rows": rows, "external": stated, "left_out": found.left_out}, indent=2)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (("index.html", page), ("leaderboard.json", f"{text}\n".encode())):
        write_atomically(out / name, content)
    return [out / "index.html", out / "leaderboard.json"]


def _board(condition: Condition, entries: Sequence[Entry], shown: ShownNames) -> dict[str, Any]:
    found = [rates(entry) for entry in entries]
    measured = [name for name in RATES if any(each[name][0] is not None for each in found)]
    return {
        "title": f"{condition.benchmark}, judge {entries[0].judge}",
        "about": f"release {condition.release}; {condition.decoding}",
        "heads": [HEADS[name] for name in measured],
        "rows": [
            {
                "name": _placed(rank, entry, shown),
                "rates": [_shown(*each[name]) for name in measured],
                "standing": entry.standing,
                "why": entry.why,
                "run": entry.folder,
                "finished": entry.finished.date().isoformat(),
                "caution": _caution(entry),
            }
            for rank, entry, each in zip(ranks(entries), entries, found, strict=True)
        ],
        "figure": _drawing(entries, shown),
    }


def _name(entry: Entry, shown: ShownNames) -> str:
    target = shown.within(entry.row.target)
    return target if entry.row.bare else f"{target}, defense {entry.row.defense}"


def _placed(rank: int, entry: Entry, shown: ShownNames) -> str:
    """The name behind its place; systems that nothing attacked have none."""
    return f"{rank}. {_name(entry, shown)}" if entry.attacked else _name(entry, shown)


def _caution(entry: Entry) -> str:
    found = ["incomplete, see below what is left out"] if entry.missing else []
    if not entry.attacked:
        found.append("no attack was run")
    elif not entry.row.bare and entry.row.adaptive is None:
        found.append("no attack knew this defense")
    return "; ".join(found)


def _shown(rate: Rate | None, attack: str) -> tuple[str, str]:
    if rate is None or rate.point is None:
        return "", ""
    lost = f", {rate.unscored} unscored" if rate.unscored else ""
    under = f"n = {rate.n}{lost}" + (f", {attack}" if attack else "")
    return f"{as_percent(rate.point)} {bracket(rate.low, rate.high)}", under


def _outside(each: Any) -> dict[str, str]:
    interval = f" {bracket(each.low, each.high)}" if None not in (each.low, each.high) else ""
    return {
        "name": each.target if each.defense == "none" else f"{each.target}, defense {each.defense}",
        "what": f"{MEASURE_NAMES.get(each.measure, each.measure)}, {each.attack} on {each.benchmark}",
        "value": as_percent(each.value) + interval,
        "n": "" if each.n is None else str(each.n),
        "judge": each.judge or "not said",
        "evidence": each.evidence,
    }


def _drawing(entries: Sequence[Entry], shown: ShownNames) -> Any:
    """The highest ASR of each row (x) with its 95 % interval, in the order of the table."""
    drawn = [(entry, worst) for entry in entries[:MOST_DRAWN] if (worst := entry.worst) is not None]
    if not drawn:
        return None
    places = ranks([entry for entry, _ in drawn])
    dots = [
        Dot(
            label(f"{_placed(rank, entry, shown)}, {entry.folder}", 56),
            100 * (rate.point or 0),
            100 * rate.low,
            100 * rate.high,
        )
        for rank, (entry, (_, rate)) in zip(places, drawn, strict=True)
    ]
    of = "1 system" if len(drawn) == 1 else f"{len(drawn)} systems"
    what = f"Highest ASR of {of} with 95 % intervals, in the table's order."
    return intervals(dots, percent_axis("at", "highest ASR of any attack, %"), what)


def _plain(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {
        "run": entry.folder,
        "study": entry.study,
        "target": entry.row.target,
        "defense": entry.row.defense,
        "benchmark": entry.row.benchmark,
        "release": entry.row.release,
        "judge": entry.row.judge,
        "decoding": entry.condition.decoding,
        "standing": entry.standing,
        "why": entry.why,
        "missing": list(entry.missing),
        "finished": entry.finished.isoformat(timespec="seconds"),
    }
    for name, (rate, attack) in rates(entry).items():
        if rate is not None and rate.point is not None:
            found[name] = {
                "rate": rate.point,
                "low": rate.low,
                "high": rate.high,
                "n": rate.n,
                "unscored": rate.unscored,
                "attack": attack,
            }
    return found

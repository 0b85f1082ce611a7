"""Where the numbers come from: the lock of the study, versions, costs, errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline import cards, registry, run_folder
from sightline.counting import plural
from sightline.digests import sha256_file
from sightline.errors import UsageError
from sightline.metrics.cells import method_of
from sightline.report.results import Results, entries
from sightline.report.text import EXPECTATIONS, stand_in
from sightline.run_folder import LOCK

MOST_FLAGS = 40
MOST_FILES = 20
FILE = ("name", "sha256", "rows", "format")
"""What is known of a file of responses, whatever it says of itself."""
UNKNOWN = "unknown: the responses were recorded elsewhere"
_FONT = re.compile(r"font (\S+) sha256")
_MEANINGS = {
    "batch1": "the model answered differently in a batch, so requests were sent one at a time (batch1)",
}

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A titled list of (name, value)."""

    title: str
    facts: Facts


def read_lock(run: Path) -> dict[str, Any]:
    """The lock as a mapping; empty if the run has none.

    Raises:
        DamageError: if it is there but not readable.
    """
    if not (run / LOCK).exists():
        return {}
    return run_folder.read_lock(run)


def without_settings(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The lock for a copy that is shared: hashes stand for settings of methods, which may hold requests."""
    found = dict(lock)
    if isinstance(found.get("responses"), Mapping):  # files may say anything of themselves
        files = [{key: file.get(key) for key in FILE} for file in found["responses"].get("files", ())]
        found["responses"] = {**found["responses"], "files": files}
    for section in ("benchmarks", "attacks", "defenses", "targets", "judges"):
        found[section] = [
            {**entry, **{name: _bare(str(entry[name])) for name in ("spec", "id") if name in entry}}
            for entry in entries(lock, section)
        ]
    return found


def _bare(spec: str) -> str:
    """A method or target with a stand-in for whatever stands in parentheses."""
    parts, depth, start = list[str](), 0, 0
    for at, sign in enumerate(spec):
        if sign == "(":
            if depth == 0:
                parts.append(spec[start : at + 1])
                start = at + 1
            depth += 1
        elif sign == ")" and depth:
            depth -= 1
            if depth == 0:
                parts.append(stand_in(spec[start:at], "settings"))
                start = at
    rest = spec[start:]
    return "".join([*parts, stand_in(rest, "settings") if depth else rest])


def _known(kind: cards.Kind, spec: str) -> str:
    """What the card of an installed method says, with its paper; '' for one that is not installed."""
    try:
        card = registry.card(kind, method_of(spec))
    except UsageError:
        return ""
    paper = f" ({card.paper})" if card.paper and card.paper not in card.summary else ""
    return card.summary.rstrip(".") + paper


def _methods(lock: Mapping[str, Any], section: str, kind: cards.Kind) -> Facts:
    found = []
    for entry in entries(lock, section):
        spec = str(entry.get("spec", ""))
        specs = [str(each.get("spec", "")) for each in entry.get("stack", [entry] if spec else [])]
        parts = (
            " around ".join(_known(kind, each) for each in specs) or "The undefended target",
            spec,
            f"id {entry['id']}" if entry.get("id", spec) != spec else "",
            f"code and settings {str(entry['identity'])[:16]}" if "identity" in entry else "",
            f"release {str(entry['release'])[:16]}" if "release" in entry else "",
            f"limit {entry['limit']}" if entry.get("limit") else "",
            ", ".join(f"{n} {EXPECTATIONS.get(e, e)}s" for e, n in dict(entry.get("cases", {})).items() if n),
        )
        shown = parts[:2] if "answered_by" in entry else parts  # recorded: once for each target in the lock
        found.append((str(entry.get("label", "?")), " · ".join(part for part in shown if part)))
    return tuple(dict.fromkeys(found))


def _recorded(lock: Mapping[str, Any]) -> list[Block]:
    """Where recorded responses come from, and what is not known of them."""
    facts = lock.get("responses")
    if not isinstance(facts, Mapping):
        return []
    made = " ".join(str(facts.get(name) or "") for name in ("harness", "version")).strip()
    columns = dict(facts.get("columns") or {}).items()
    files = [dict(file) for file in facts.get("files", ())]
    rows = [
        ("Format", str(facts.get("format", "?"))),
        ("Written by", made or "unknown"),
        ("Decoding", _decoding(facts.get("decoding")) or UNKNOWN),
        *((str(file.get("name")), _file(file)) for file in files[:MOST_FILES]),
    ]
    if columns:
        rows.insert(1, ("Columns", ", ".join(f"{what} = {name}" for what, name in columns)))
    if len(files) > MOST_FILES:
        rows.append(("…", f"{plural(len(files) - MOST_FILES, 'more file', 'are')} in the lock"))
    return [Block("Recorded responses", tuple(rows))]


def _file(file: Mapping[str, Any]) -> str:
    said = {key: value for key, value in file.items() if key not in FILE}
    told = "; ".join(f"{key}: {value}" for key, value in said.items())
    return f"{file.get('rows')} rows · SHA-256 {file.get('sha256')}" + (f" · {told[:600]}" if told else "")


def _decoding(settings: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in dict(settings or {}).items())


def blocks(run: Path, lock: Mapping[str, Any], results: Results) -> list[Block]:
    """Provenance in reading order. Folder names of the machine are left out."""
    if not lock:
        return [
            Block("Study", (("Lock", f"{LOCK} is missing: the results cannot be traced to a study."),)),
            _cost(results),
        ]
    settings = dict(lock.get("decoding", {})).items()
    decoding = ", ".join(
        f"{name} {'provider default' if value is None else value}" for name, value in settings
    )
    if "responses" in lock:
        decoding = _decoding(lock["responses"].get("decoding")) or UNKNOWN
    study = (
        ("Study", str(lock.get("study", "?"))),
        ("Lock file", f"{LOCK}, SHA-256 {sha256_file(run / LOCK)}"),
        ("Seed", str(lock.get("seed", "?"))),
        ("Tries per request", str(lock.get("epochs", 1))),
        ("Decoding", decoding or "?"),
    )
    targets = tuple(
        (f"{entry.get('target', '?')} · {entry.get('defense', '?')}", str(entry.get("id", "?")))
        for entry in entries(lock, "targets")
    )
    versions = tuple((str(name), str(value)) for name, value in dict(lock.get("versions", {})).items())
    return [
        Block("Study", study),
        *_recorded(lock),
        Block("Benchmarks", _methods(lock, "benchmarks", "benchmark")),
        Block("Attacks", _methods(lock, "attacks", "attack")),
        Block("Defenses", _methods(lock, "defenses", "defense")),
        Block("Targets", targets),
        Block("Judges", _methods(lock, "judges", "judge")),
        _cost(results),
        *_flags(results),
        Block("Versions", versions),
    ]


def _flags(results: Results) -> list[Block]:
    """What targets and defenses noted on their responses, if anything; the commonest if it is much."""
    noted = results.flags()
    found = [
        (flag, f"{plural(count, 'response')} of {target}, defense {defense}")
        for flag, target, defense, count in noted[:MOST_FLAGS]
    ]
    if len(noted) > MOST_FLAGS:
        found.append(("…", f"{plural(len(noted) - MOST_FLAGS, 'less frequent one', 'are')} in the records"))
    return [Block("Flags on responses", tuple(found))] if found else []


def _cost(results: Results) -> Block:
    """Totals over samples, each counted once whatever the number of judges."""
    row = results.rows(
        "with once as (select * from results where judge = (select min(judge) from results))"
        " select count(*), sum(calls_target), sum(calls_aux), sum(tokens_in), sum(tokens_out), sum(flops),"
        " sum(seconds), (select sum(calls_judge) from results) from once"
    )[0]
    samples, target, aux, tokens_in, tokens_out, flops, seconds, judge = (value or 0 for value in row)
    facts = [
        ("Samples", f"{samples:,}"),
        ("Calls", f"{target:,} to targets, {aux:,} to auxiliary models, {judge:,} to judge models"),
        ("Tokens", f"{tokens_in:,} in, {tokens_out:,} out"),
        ("Time in models", f"{seconds:,.1f} s, summed over calls (which run in parallel)"),
    ]
    if flops:
        facts.append(("Floating-point operations", f"{flops:.3g}"))
    return Block("Cost", tuple(facts))


def errors_of(results: Results, judge: str, most: int = 8) -> Facts:
    """The commonest error texts of a judge's rows with their counts."""
    rows = results.rows(
        "select coalesce(error, 'no message') as what, count(*) as n from results"
        " where judge = ? and outcome = 'error' group by what order by n desc, what limit ?",
        [judge, most],
    )
    return tuple((f"{count:,} ×", str(text)[:300]) for text, count in rows)

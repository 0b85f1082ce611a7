"""What two runs have in common, by their locks: what is compared, and what cannot be.

Targets and defenses are what a comparison is about: that one has changed is told. Benchmarks, attacks and
judges are its instruments: where one has changed, its cells are left out. Decoding and code of stages are of
the whole run: that they differ is a caution beside every number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sightline.metrics.cells import method_of
from sightline.report.results import entries
from sightline.report.text import few

Lock = Mapping[str, Any]
_ONE = {"benchmarks": "benchmark", "attacks": "attack", "judges": "judge", "defenses": "defense"}
_METHOD = {"identity": "other settings", "code": "other code"}
_CHANGED: Mapping[str, Mapping[str, str]] = {
    "benchmarks": {"identity": "other settings", "release": "another release"},
    "attacks": {**_METHOD, "budget": "another budget"},
    "judges": _METHOD,
    "defenses": {"spec": "other settings", **_METHOD},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two runs relate, the former and the later one.

    Attributes:
        changed: targets and defenses of one name that are not the same, as sentences.
        cautions: what else differs between the runs, as sentences.
        left_out: what is not compared and why, as sentences.
        benchmarks, attacks, judges: names (ids of judges) of which cells are left out.
    """

    changed: tuple[str, ...]
    cautions: tuple[str, ...]
    left_out: tuple[str, ...]
    benchmarks: frozenset[str]
    attacks: frozenset[str]
    judges: frozenset[str]


def agreement(former: Lock, later: Lock) -> Agreement:
    """Compare two locks."""
    unlike = {section: dict(_unlike(former, later, section)) for section in _CHANGED}
    left_out = [
        f"{_ONE[section]} {name}: {why} in the two runs"
        for section in ("benchmarks", "attacks", "judges")
        for name, why in unlike[section].items()
    ]
    changed = [f"defense {name}: {why}" for name, why in unlike["defenses"].items()]
    return Agreement(
        changed=(*_targets(former, later), *changed),
        cautions=tuple(_cautions(former, later)),
        left_out=tuple(left_out),
        benchmarks=frozenset(unlike["benchmarks"]),
        attacks=frozenset(unlike["attacks"]),
        judges=frozenset(unlike["judges"]),
    )


def _named(lock: Lock, section: str) -> dict[str, Mapping[str, Any]]:
    """Entries by what stands in the cells: labels, of judges ids."""
    key = "id" if section == "judges" else "label"
    return {str(entry.get(key)): entry for entry in entries(lock, section)}


def _unlike(former: Lock, later: Lock, section: str) -> Iterator[tuple[str, str]]:
    """Entries of one name that are not the same, and how they differ."""
    one, other = _named(former, section), _named(later, section)
    for name in one.keys() & other.keys():
        if what := _unlike_entries(one[name], other[name], section):
            yield name, what


def _unlike_entries(one: Mapping[str, Any], other: Mapping[str, Any], section: str) -> str:
    """How two entries differ; '' if they do not.

    Those of scored files are of the file or the model by name: their cases are compared one by one.
    """
    kinds = dict(_CHANGED[section])
    if is_recorded(one) and is_recorded(other):
        kinds = {} if section == "benchmarks" else {"spec": "other settings", "code": "other code"}
    what = [told for key, told in kinds.items() if one.get(key) != other.get(key)]
    return " and ".join(dict.fromkeys(what))


def benchmark_unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """How two benchmarks differ that have other labels; '' if they do not."""
    what = _unlike_entries(one, other, "benchmarks")
    return what if one.get("spec") == other.get("spec") else what or "another benchmark"


def is_recorded(entry: Mapping[str, Any]) -> bool:
    """Whether a benchmark or an attack stands for what another harness did."""
    return method_of(str(entry.get("spec", ""))) == "recorded"


def _targets(former: Lock, later: Lock) -> Iterator[str]:
    one, other = _ids(former), _ids(later)
    for name in sorted(one.keys() & other.keys()):
        if one[name] != other[name]:
            yield f"target {name}: other weights or settings ({few(one[name])} → {few(other[name])})"


def _ids(lock: Lock) -> dict[str, list[str]]:
    """Ids of each bare target; of one that is only defended, those of the defended ones."""
    found: dict[str, list[str]] = {}
    for entry in entries(lock, "targets"):
        found.setdefault(str(entry.get("target")), []).append(str(entry.get("id")))
    return {name: sorted(ids, key=len)[:1] for name, ids in found.items()}


def _cautions(former: Lock, later: Lock) -> Iterator[str]:
    for name in ("decoding", "epochs", "seed"):
        if former.get(name) != later.get(name):
            yield f"{name} differs: {_shown(former.get(name))} → {_shown(later.get(name))}"
    stages = _differing(former.get("stages"), later.get("stages"))
    if stages:
        yield f"the code of {few(stages)} differs between the runs"
    versions = _differing(former.get("versions"), later.get("versions"))
    if versions:
        one, other = dict(former.get("versions") or {}), dict(later.get("versions") or {})
        yield "versions differ: " + few([f"{n} {one.get(n)} → {other.get(n)}" for n in versions])
    crafted = _named(former, "attacks"), _named(later, "attacks")
    moved = [
        name
        for name in sorted(crafted[0].keys() & crafted[1].keys())
        if crafted[0][name].get("crafted_on") != crafted[1][name].get("crafted_on")
    ]
    if moved:
        yield f"crafted on another model in each run: {few(moved)}"


def _differing(one: object, other: object) -> list[str]:
    first, second = (dict(each) if isinstance(each, Mapping) else {} for each in (one, other))
    return sorted(str(name) for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _shown(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{name} {each}" for name, each in value.items())

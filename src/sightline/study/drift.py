"""What has changed between the lock of a run and now, in words: whose code, which modules, which files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sightline import registry, targets
from sightline.closure import closure, without_code
from sightline.registry import Kind
from sightline.study.stage_code import STAGES, SURROGATES

Plain = dict[str, Any]
_SECTIONS: Mapping[str, Kind] = {
    "benchmarks": "benchmark",
    "attacks": "attack",
    "defenses": "defense",
    "judges": "judge",
}
_NAMED = 4
"""Modules that a line names; more are counted."""


def code_changes(old: Plain, new: Plain) -> list[str]:
    """One line for each method, target and stage that is named as before and is not what it was.

    Other differences (settings, weights, releases) are not told here: the texts of the locks show them.
    """
    if "code" not in old:
        return [
            "the run was made by an older Sightline, whose keys covered less code: everything is made anew"
        ]
    was, now = old["code"], new["code"]
    changed = {name for name in {*was, *now} if was.get(name) != now.get(name)}
    return [*_methods(old, new, changed), *_targets(old, new, changed), *_stages(old, new, changed)]


def _methods(old: Plain, new: Plain, changed: set[str]) -> Iterator[str]:
    for section, kind in _SECTIONS.items():
        before = {entry["label"]: entry for entry in old[section]}
        for entry in new[section]:
            was = before.get(entry["label"], {})
            if "spec" not in entry or was.get("spec") != entry["spec"]:
                continue
            named = f"{kind} {entry['label']}"
            if was["identity"] != entry["identity"]:
                parts = registry.parse(kind, entry["spec"]).card.parts
                yield f"{named}: {_reasons(was, entry, changed & parts.keys())}"
            if was.get("crafted_on") != entry.get("crafted_on") and _bare(was) == _bare(entry):
                parts = closure(*SURROGATES)
                yield f"{named}: the code that opens its surrogate has changed{_list(changed & parts.keys())}"


def _bare(entry: Plain) -> list[str]:
    """The surrogates of an attack by weights and settings alone."""
    return [without_code(each) for each in str(entry.get("crafted_on", "")).split(" + ")]


def _reasons(was: Plain, entry: Plain, modules: set[str]) -> str:
    before, now = was.get("resolved", {}), entry.get("resolved", {})
    files = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    said = [f"another {name} is found here ({before.get(name)}, now {now.get(name)})" for name in files]
    if was["code"] != entry["code"] or not said:
        said.append(f"its code has changed{_list(modules)}")
    return "; ".join(said)


def _targets(old: Plain, new: Plain, changed: set[str]) -> Iterator[str]:
    before = {(entry["target"], entry["defense"]): str(entry["id"]) for entry in old["targets"]}
    for entry in new["targets"]:
        was, now = before.get((entry["target"], entry["defense"])), str(entry["id"])
        if was is None or was == now or without_code(was) != without_code(now):
            continue
        modules = changed & closure(*targets.modules_of(entry["target"])).keys()
        behind = f" behind {entry['defense']}" if now.startswith("defended/") else ""
        yield f"target {entry['target']}{behind}: the code that asks it has changed{_list(modules)}"


def _stages(old: Plain, new: Plain, changed: set[str]) -> Iterator[str]:
    for stage, modules in STAGES.items():
        if old["stages"].get(stage) != new["stages"].get(stage):
            yield f"stage {stage}: its code has changed{_list(changed & closure(*modules).keys())}"


def _list(modules: set[str] | Sequence[str]) -> str:
    names = sorted(modules)
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" ({', '.join(names[:_NAMED])}{more})"

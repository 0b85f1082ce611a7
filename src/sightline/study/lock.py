"""`study.lock.yaml`: what exactly a run is made of, and the refusal to go on when that has changed."""

from __future__ import annotations

import difflib
import importlib.metadata
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from sightline import __version__, cards, registry, targets
from sightline.budget import UNLIMITED
from sightline.cards import Kind
from sightline.closure import closure, without_code
from sightline.contracts import scores_of
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.run_folder import FORMAT, LOCK, WRITE_AGAIN, comparable, lock_digest, read_lock
from sightline.sealed import damage_reported, sealed_text
from sightline.store import write_atomically
from sightline.study.config import Study, parse
from sightline.study.context import RunContext
from sightline.study.named import NamedDefense
from sightline.study.stage_code import STAGES, SURROGATES, stage_code

PACKAGES = ("inspect-ai", "numpy", "pillow", "torch", "transformers")
Plain = dict[str, Any]
_SECTIONS: Mapping[str, Kind] = {
    "benchmarks": "benchmark",
    "attacks": "attack",
    "defenses": "defense",
    "judges": "judge",
}
_TEXTS = {
    "benchmarks": ("label", "identity", "release"),
    "attacks": ("label",),
    "defenses": ("label",),
    "targets": ("target", "defense", "id"),
    "judges": ("id", "identity", "spec"),
}
"""Texts in the entries of a lock's sections, without which it cannot be read."""
_NAMED = 4
"""Modules that a line names; more are counted."""


def versions() -> dict[str, str]:
    """Versions of what decides results; packages that are not installed are left out."""
    found = {"sightline": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _method(label: str, method: Any) -> Plain:
    resolved = {name: value[:16] for name, value in registry.resolved(method).items()}
    return {
        "label": label,
        "spec": registry.spec(method),
        "identity": registry.identity(method),
        "code": registry.code(method),
        **({"resolved": resolved} if resolved else {}),
    }


def _defense(named: NamedDefense) -> Plain:
    """A defense, or several around each other, outermost first."""
    if named.bare:
        return {"label": named.label}
    members = [_method(each.card.name, each) for each in named.stack]
    if len(members) == 1:
        return {**members[0], "label": named.label}
    return {
        "label": named.label,
        "spec": ":defended/".join(each["spec"] for each in members),
        "identity": digest([each["identity"] for each in members]),
        "code": digest([each["code"] for each in members]),
        "stack": members,
    }


def _code(run: RunContext) -> dict[str, str]:
    """Digests of every module and data file that decides something in a study, by name."""
    methods: list[Any] = [
        *(case_table.source.benchmark for case_table in run.case_tables),
        *(column.named.attack for column in run.columns),
        *(each for named in run.study.defenses for each in named.stack),
        *run.judges,
    ]
    found = [registry.parts(method) for method in methods]
    found += [closure(*targets.modules_of(each.defense.around(each.name))) for each in run.targets]
    asked = {name for column in run.columns for name in (*column.named.roles.values(), column.named.talks_to)}
    found += [closure(*targets.modules_of(name)) for name in sorted(asked) if "/" in name.partition("(")[0]]
    found += [closure(*modules) for modules in STAGES.values()]
    if any(column.surrogates for column in run.columns):
        found.append(closure(*SURROGATES))
    return dict(sorted((name, value[:12]) for parts in found for name, value in parts.items()))


def resolve(run: RunContext) -> Plain:
    """The lock of a study: every setting, identity, digest, seed and version, and the code behind them."""
    study = run.study
    return {
        "format": FORMAT,
        "study": study.name,
        "seed": study.seed,
        "epochs": study.epochs,
        "decoding": {
            "max_tokens": study.decoding.max_tokens,
            "temperature": study.decoding.temperature,
            "top_p": study.decoding.top_p if study.recorded is None else None,
        },
        "benchmarks": [
            {
                **_method(case_table.source.label, case_table.source.benchmark),
                "identity": case_table.identity,
                "root": str(case_table.source.root) if case_table.source.root else None,
                "limit": case_table.source.limit,
                "release": case_table.release,
                "cases": dict(sorted(case_table.expected.items())),
            }
            for case_table in run.case_tables
        ],
        "attacks": [
            {
                **_method(column.named.label, column.named.attack),
                **({"crafted_on": column.crafted_on} if column.surrogates else {}),
                **({"asks": dict(column.talkers.ids)} if column.talkers is not None else {}),
                **({"budget": str(column.named.budget)} if column.named.budget != UNLIMITED else {}),
                **({"seed": column.seed} if column.named.seed_index else {}),
                **({"applies_to": sorted(met)} if met != cards.REQUESTS else {}),
                **({"answered_by": list(only)} if (only := column.named.answered_by) is not None else {}),
            }
            for column in run.columns
            for met in [column.named.expectations]
        ],
        "defenses": [_defense(named) for named in study.defenses],
        "targets": [
            {"target": each.name, "defense": each.defense.label, "id": each.target.id} for each in run.targets
        ],
        "judges": [
            {
                **_method(judge.card.name, judge),
                "id": judge.id,
                **({"scores": scores} if (scores := scores_of(judge)) != "case" else {}),
            }
            for judge in run.judges
        ],
        **({"trained": [_plain(asdict(each)) for each in study.trained]} if study.trained else {}),
        **({"hypothesis": _claim(asdict(study.hypothesis))} if study.hypothesis is not None else {}),
        **({"responses": asdict(study.recorded.facts)} if study.recorded is not None else {}),
        "stages": {stage: stage_code(stage) for stage in STAGES},
        "versions": versions(),
        "code": _code(run),
        "made_from": {
            "folder": str(study.folder.resolve()),
            "limit": study.limit,
            **({"quick": True} if study.quick else {}),
            "text": study.text,
        },
    }


def _claim(found: Plain) -> Plain:
    return {**found, "contrast": list(found["contrast"])}


def _plain(run: Plain) -> Plain:
    return {**run, "checkpoints": [list(each) for each in run["checkpoints"]]}


def dump(lock: Plain) -> str:
    """YAML text of a lock."""
    return yaml.safe_dump(lock, sort_keys=False, allow_unicode=True, width=110)


def read(folder: Path) -> Plain:
    """The lock of a run folder, whole.

    Raises:
        UsageError: as `read_lock`.
    """
    lock = read_lock(folder)
    with damage_reported(folder / LOCK, WRITE_AGAIN):
        lock_digest(lock)
        _check(lock)
    return lock


def _check(lock: Plain) -> None:
    """Make sure of the shape of a lock. Raises what `damage_reported` tells."""
    for section, names in _TEXTS.items():
        if not isinstance(lock[section], list):
            raise ValueError(f"{section} is no list")
        for entry in lock[section]:
            if not all(isinstance(entry[name], str) for name in names):
                raise ValueError(f"{section}: {', '.join(names)} are texts")
    strangers = {entry["defense"] for entry in lock["targets"]} - {e["label"] for e in lock["defenses"]}
    if strangers:
        raise ValueError(f"targets: no defense is called {min(strangers)!r}")
    if not all(isinstance(lock[name], dict) for name in ("decoding", "stages", "code", "made_from")):
        raise ValueError("decoding, stages, code and made_from are mappings")


def study_of(folder: Path) -> Study:
    """The study that a run folder was made from.

    Raises:
        UsageError: as `read`, or if a release has moved.
    """
    lock = read(folder)
    if lock.get("merged"):
        raise UsageError(
            f"{folder}: made by `sightline merge`, so there is no study to run: run those that it was made "
            "from, and merge again"
        )
    with damage_reported(folder / LOCK, WRITE_AGAIN):
        made_from = lock["made_from"]
        text, origin, limit = str(made_from["text"]), Path(made_from["folder"]), made_from["limit"]
        quickly = bool(made_from.get("quick", False))
    try:
        return parse(text, name=str(folder / LOCK), folder=origin, limit=limit, quickly=quickly)
    except UsageError as wrong:
        if not any(f"unknown {kind} '" in str(wrong) for kind in cards.KINDS):
            raise
        raise UsageError(
            f"{wrong} A method of a script or notebook is known there alone: go on in Python, or give it an "
            "entry point (docs/python.md)."
        ) from None


def write_or_check(folder: Path, lock: Plain, *, extend: bool) -> list[str]:
    """Write the lock of a new run, or check that an old one's is the same; returns what of its code changed.

    With `extend` a differing lock is replaced and the old one kept beside it: rows whose keys are
    still wanted are reused, all others are made anew.

    Raises:
        UsageError: with the difference, if the study drifted and `extend` is not given.
    """
    path = folder / LOCK
    if path.exists():
        old = read(folder)
        if lock_digest(old) == lock_digest(lock):
            fresh: Plain = {name: lock[name] for name in ("made_from", "trained") if name in lock}
            if any(old.get(name) != value for name, value in fresh.items()):  # such as limits of its gate
                write_atomically(path, sealed_text(dump({**old, **fresh})).encode())
            return []
        changes = code_changes(old, lock)
        if not extend:
            before, after = (dump(comparable(each)).splitlines() for each in (old, lock))
            change = "\n".join(difflib.unified_diff(before, after, "the run's lock", "now", lineterm="", n=1))
            told = "".join(f"{line}\n" for line in changes)
            raise UsageError(
                f"{folder}: this run was made from a different study:\n{told}{change}\n"
                "Choose another --out for a new run, or add --extend to go on in this folder: "
                "rows that are still wanted are reused, the others are made anew."
            )
        number = 1 + len(list(folder.glob("study.lock.*.yaml")))
        path.rename(folder / f"study.lock.{number}.yaml")
    else:
        changes = []
    write_atomically(path, sealed_text(dump(lock)).encode())
    return changes


def code_changes(old: Plain, new: Plain) -> list[str]:
    """One line for each method, target and stage that is named as before and is not what it was.

    Other differences (settings, weights, releases) are not told here: the texts of the locks show them.
    """
    was, now = old["code"], new["code"]
    changed = {name for name in {*was, *now} if was.get(name) != now.get(name)}
    return [*_methods(old, new, changed), *_targets(old, new, changed), *_stages(old, new, changed)]


def _methods(old: Plain, new: Plain, changed: set[str]) -> Iterator[str]:
    for section, kind in _SECTIONS.items():
        before = {_place(entry): entry for entry in old[section]}
        for entry in new[section]:
            was = before.get(_place(entry), {})
            if "spec" not in entry or was.get("spec") != entry["spec"]:
                continue
            named = f"{kind} {entry['label']}"
            if was["identity"] != entry["identity"]:
                parts = registry.parts(registry.parse(kind, entry["spec"]))
                yield f"{named}: {_reasons(was, entry, changed & parts.keys())}"
            if was.get("crafted_on") != entry.get("crafted_on") and _bare(was) == _bare(entry):
                parts = closure(*SURROGATES)
                yield f"{named}: the code that opens its surrogate has changed{_list(changed & parts.keys())}"


def _place(entry: Plain) -> tuple[str, ...]:
    """What tells the entries of a section apart: recorded attacks of one name stand there once per target."""
    return (str(entry["label"]), *map(str, entry.get("answered_by", ())))


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

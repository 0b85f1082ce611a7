"""`study.lock.yaml`: what exactly a run is made of, and the refusal to go on when that has changed."""

from __future__ import annotations

import difflib
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sightline import __version__, registry, targets
from sightline.budget import UNLIMITED
from sightline.closure import closure
from sightline.contracts import Judge, scores_of
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.sealed import damage_told, read_yaml, sealed_text
from sightline.store import write_atomically
from sightline.study.case_table import CaseTable
from sightline.study.config import Study, parse
from sightline.study.drift import code_changes
from sightline.study.grid import Column
from sightline.study.stage_code import STAGES, SURROGATES, stage_code

LOCK = "study.lock.yaml"
WRITE_AGAIN = (
    "delete it, then `sightline run STUDY.yaml` with this folder as --out writes it anew: "
    "rows that are still wanted are kept"
)
PACKAGES = ("inspect-ai", "numpy", "pillow", "torch", "transformers")
Plain = dict[str, Any]


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
        "code": method.card.code,
        **({"resolved": resolved} if resolved else {}),
    }


def _code(
    case_tables: Sequence[CaseTable],
    columns: Sequence[Column],
    names: Sequence[str],
    defenses: Sequence[Any],
    judges: Sequence[Judge],
) -> dict[str, str]:
    """Digests of every module and data file that decides something in a study, by name."""
    methods = [
        *(case_table.source.benchmark for case_table in case_tables),
        *(column.named.attack for column in columns),
        *defenses,
        *judges,
    ]
    found = [method.card.parts for method in methods]
    found += [closure(*targets.modules_of(name)) for name in names]
    found += [closure(*modules) for modules in STAGES.values()]
    if any(column.surrogates for column in columns):
        found.append(closure(*SURROGATES))
    return dict(sorted((name, value[:12]) for parts in found for name, value in parts.items()))


def resolve(
    study: Study,
    case_tables: Sequence[CaseTable],
    columns: Sequence[Column],
    targets: Sequence[tuple[str, str, str]],
    judges: Sequence[Judge],
) -> Plain:
    """The lock of a study: every setting, identity, digest, seed and version, and the code behind them.

    `targets` are (target, defense label, id of the defended target).
    """
    return {
        "study": study.name,
        "seed": study.seed,
        "epochs": study.epochs,
        "decoding": {
            "max_tokens": study.decoding.max_tokens,
            "temperature": study.decoding.temperature,
            "top_p": study.decoding.top_p,
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
            for case_table in case_tables
        ],
        "attacks": [
            {
                **_method(column.named.label, column.named.attack),
                **({"crafted_on": column.crafted_on} if column.surrogates else {}),
                **({"budget": str(column.named.budget)} if column.named.budget != UNLIMITED else {}),
                **({"seed": column.seed} if column.named.further else {}),
                **({"applies_to": sorted(card.applies_to)} if card.applies_to != registry.REQUESTS else {}),
            }
            for column in columns
            for card in [column.named.attack.card]
        ],
        "defenses": [
            _method(named.label, named.defense) if named.defense is not None else {"label": named.label}
            for named in study.defenses
        ],
        "targets": [
            {"target": target, "defense": defense, "id": identity} for target, defense, identity in targets
        ],
        "judges": [
            {
                **_method(judge.card.name, judge),
                "id": judge.id,
                **({"scores": scores} if (scores := scores_of(judge)) != "case" else {}),
            }
            for judge in judges
        ],
        "stages": {stage: stage_code(stage) for stage in STAGES},
        "versions": versions(),
        "code": _code(
            case_tables,
            columns,
            [named.around(name) for name in study.targets for named in study.defenses],
            [named.defense for named in study.defenses if named.defense is not None],
            judges,
        ),
        "made_from": {"folder": str(study.folder.resolve()), "limit": study.limit, "text": study.text},
    }


def _comparable(lock: Plain) -> Plain:
    """A lock without what may differ between runs of the same study: where a release lies.

    Of code only the digests that stand in keys count; the list of modules says which of them it was.
    """
    same = {**lock, "benchmarks": [{**entry, "root": None} for entry in lock["benchmarks"]]}
    return {key: value for key, value in same.items() if key not in ("made_from", "code")}


def lock_digest(lock: Plain) -> str:
    """Digest of what must not change between runs."""
    return digest(_comparable(lock))


def dump(lock: Plain) -> str:
    """YAML text of a lock."""
    return yaml.safe_dump(lock, sort_keys=False, allow_unicode=True, width=110)


def read(folder: Path) -> Plain:
    """The lock of a run folder.

    Raises:
        UsageError: if the folder is not a run.
        DamageError: if its lock is damaged.
    """
    path = folder / LOCK
    if not path.exists():
        raise UsageError(f"{folder}: not a run folder ({LOCK} is missing); make one with `sightline run`")
    lock = read_yaml(path, WRITE_AGAIN)
    with damage_told(path, WRITE_AGAIN):
        lock_digest(lock)
    return lock


def study_of(folder: Path) -> Study:
    """The study that a run folder was made from.

    Raises:
        UsageError: as `read`, or if a release has moved.
    """
    lock = read(folder)
    with damage_told(folder / LOCK, WRITE_AGAIN):
        made_from = lock["made_from"]
        text, origin, limit = str(made_from["text"]), Path(made_from["folder"]), made_from["limit"]
    return parse(text, name=str(folder / LOCK), folder=origin, limit=limit)


def hold(folder: Path, lock: Plain, *, extend: bool) -> list[str]:
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
            return []
        changes = code_changes(old, lock)
        if not extend:
            before, after = (dump(_comparable(each)).splitlines() for each in (old, lock))
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

"""`study.lock.yaml`: what exactly a run is made of, and the refusal to go on when that has changed."""

from __future__ import annotations

import difflib
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sightline import __version__, registry
from sightline.budget import UNLIMITED
from sightline.contracts import Judge, reads_of
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.store import write_atomically
from sightline.study.casebook import Book
from sightline.study.config import Study, parse
from sightline.study.grid import Column

LOCK = "study.lock.yaml"
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
    return {"label": label, "spec": registry.spec(method), "identity": registry.identity(method)}


def resolve(
    study: Study,
    books: Sequence[Book],
    columns: Sequence[Column],
    targets: Sequence[tuple[str, str, str]],
    judges: Sequence[Judge],
) -> Plain:
    """The lock of a study: every setting, identity, digest, seed and version.

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
                **_method(book.source.label, book.source.benchmark),
                "root": str(book.source.root) if book.source.root else None,
                "limit": book.source.limit,
                "release": book.release,
                "cases": dict(sorted(book.expected.items())),
            }
            for book in books
        ],
        "attacks": [
            {
                **_method(column.named.label, column.named.attack),
                **({"crafted_on": column.crafted_on} if column.surrogates else {}),
                **({"budget": str(column.named.budget)} if column.named.budget != UNLIMITED else {}),
                **({"seed": column.seed} if column.named.further else {}),
                **({"meets": sorted(card.meets)} if card.meets != registry.REQUESTS else {}),
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
                **({"reads": reads} if (reads := reads_of(judge)) != "case" else {}),
            }
            for judge in judges
        ],
        "versions": versions(),
        "made_from": {"folder": str(study.folder.resolve()), "limit": study.limit, "text": study.text},
    }


def _comparable(lock: Plain) -> Plain:
    """A lock without what may differ between runs of the same study: where a release lies."""
    same = {**lock, "benchmarks": [{**entry, "root": None} for entry in lock["benchmarks"]]}
    del same["made_from"]
    return same


def lock_digest(lock: Plain) -> str:
    """Digest of what must not change between runs."""
    return digest(_comparable(lock))


def dump(lock: Plain) -> str:
    """YAML text of a lock."""
    return yaml.safe_dump(lock, sort_keys=False, allow_unicode=True, width=110)


def read(folder: Path) -> Plain:
    """The lock of a run folder.

    Raises:
        UsageError: if the folder is not a run, or its lock is damaged.
    """
    path = folder / LOCK
    try:
        lock = yaml.safe_load(path.read_text(encoding="utf-8"))
        lock_digest(lock)
    except FileNotFoundError:
        raise UsageError(
            f"{folder}: not a run folder ({LOCK} is missing); make one with `sightline run`"
        ) from None
    except (yaml.YAMLError, TypeError, KeyError) as broken:
        raise UsageError(f"{path}: damaged ({broken}); run the study again with a new --out") from None
    return dict(lock)


def study_of(folder: Path) -> Study:
    """The study that a run folder was made from.

    Raises:
        UsageError: as `read`, or if a release has moved.
    """
    made_from = read(folder)["made_from"]
    return parse(
        made_from["text"], name=str(folder / LOCK), folder=Path(made_from["folder"]), limit=made_from["limit"]
    )


def hold(folder: Path, lock: Plain, *, extend: bool) -> None:
    """Write the lock of a new run, or check that an old one's is the same.

    With `extend` a differing lock is replaced and the old one kept beside it: rows whose keys are
    still wanted are reused, all others are made anew.

    Raises:
        UsageError: with the difference, if the study drifted and `extend` is not given.
    """
    path = folder / LOCK
    if path.exists():
        old = read(folder)
        if lock_digest(old) == lock_digest(lock):
            return
        if not extend:
            before, after = (dump(_comparable(each)).splitlines() for each in (old, lock))
            change = "\n".join(difflib.unified_diff(before, after, "the run's lock", "now", lineterm="", n=1))
            raise UsageError(
                f"{folder}: this run was made from a different study:\n{change}\n"
                "Choose another --out for a new run, or add --extend to go on in this folder: "
                "rows that are still wanted are reused, the others are made anew."
            )
        number = 1 + len(list(folder.glob("study.lock.*.yaml")))
        path.rename(folder / f"study.lock.{number}.yaml")
    write_atomically(path, dump(lock).encode())

"""What the record of a training says of its rows, its base, its versions, its curves."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from sightline import __version__
from sightline.digests import digest
from sightline.targets import split, tuned
from sightline.training.lessons import counts
from sightline.tuning import Backend, Example, Lesson, Plan

if TYPE_CHECKING:
    from sightline.training.states import Spent

_LOOP = ("torch", "transformers", "safetensors", "numpy")
PACKAGES: Mapping[Backend, tuple[str, ...]] = {
    "loop": _LOOP,
    "trl": (*_LOOP, "trl", "peft", "accelerate", "datasets"),
}


def upon(base: str) -> dict[str, Any]:
    """Of a base that was trained, too: by what, and what that cost; a repair is compared with its attack."""
    kind, rest = split(base)
    if kind != "tuned":
        return {}
    record = tuned.find(rest).record
    seen = record["data"]["seen"]
    cost = {name: record[name] for name in ("target", "recipe", "role", "cpu_seconds", "flops")}
    return {
        "upon": {**cost, "rows": seen["different"], "seen": seen["in all"], "steps": record["plan"]["steps"]}
    }


def data(lessons: Sequence[Lesson], plan: Plan) -> dict[str, Any]:
    """What the rows were, by source and label, and which of them were seen how often."""
    seen = Counter(number for batch in plan.batches for number in batch)
    examples: Sequence[Example] = plan.examples
    return {
        "digest": digest_of_rows(lessons),
        "rows": counts(lessons),
        "taught": len(examples),
        "seen": {"different": len(seen), "in all": plan.seen},
    }


def versions(backend: Backend) -> dict[str, str]:
    """Of Sightline, Python, the machine, and the packages of a backend."""
    found = {"sightline": __version__, "python": platform.python_version(), "machine": platform.machine()}
    return found | {package: importlib.metadata.version(package) for package in PACKAGES[backend]}


def curves(spent: Spent) -> dict[str, list[float]]:
    """What was measured at every step beside the loss, without what this loss does not have."""
    names = {"margins": "margins", "clean_curve": "clean", "rewards": "rewards", "silent": "silent"}
    found = {name: [round(each, 5) for each in getattr(spent, field)] for name, field in names.items()}
    return {name: curve for name, curve in found.items() if curve}


def digest_of_rows(lessons: Sequence[Lesson]) -> str:
    """Of what rows teach; which measured case they come from is left out."""
    rows = [asdict(replace(each, case=None)) for each in lessons]
    return digest([{name: value for name, value in row.items() if name != "case"} for row in rows])

"""Gates of the front door: limits from the study and from the caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sightline.errors import UsageError
from sightline.gating.gate import decide
from sightline.gating.limits import Limits
from sightline.gating.result import GateResult
from sightline.run_folder import LOCK, WRITE_AGAIN, read_lock
from sightline.sealed import damage_reported, yaml_of


def gate(folder: Path, **given: Any) -> GateResult:
    """Whether a run keeps its limits; see `RunResult.gate`.

    Raises:
        UsageError: for a limit that is none, or as `decide`.
    """
    lock = read_lock(folder)
    with damage_reported(folder / LOCK, WRITE_AGAIN):
        study = yaml_of(str(lock.get("made_from", {}).get("text", "")), "made_from.text")
        stated = study.get("gate") if study else None
    try:
        limits = Limits(**{**(stated or {}), **given})
    except ValidationError as invalid:
        first = invalid.errors()[0]
        name = "".join(str(part) for part in first["loc"][:1])
        raise UsageError(f"gate{f', {name}' if name else ''}: {first['msg']}") from None
    return decide(folder, limits, [name for name in stated or {} if name not in given])

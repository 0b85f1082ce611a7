"""Where a study's target strings look for files."""

from __future__ import annotations

from pathlib import Path


def beside(folder: Path | None, file: str) -> Path:
    """A file that a study names: beside the study file if it is there, else where the command runs."""
    path = Path(file)
    near = path if folder is None else folder / path
    return near if near.exists() else path


def sought(folder: Path | None) -> str:
    """Where `beside` looked, for a complaint; '' outside of studies."""
    return "" if folder is None else f", neither in {folder.resolve()} nor in {Path.cwd()}"

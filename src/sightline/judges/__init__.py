"""Judges, one file each: case, what was shown and reply in, verdict out.

Classes are loaded when they are first named: `sightline.judges.NAME`, `dir(sightline.judges)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
else:
    from sightline.registry import namespace

    __getattr__, __dir__ = namespace("judge")

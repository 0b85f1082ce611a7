"""Attacks, one file each: cases in, drafts out.

Classes are loaded when they are first named: `sightline.attacks.NAME`, `dir(sightline.attacks)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
else:
    from sightline.registry import namespace

    __getattr__, __dir__ = namespace("attack")

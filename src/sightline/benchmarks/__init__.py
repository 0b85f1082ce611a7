"""Benchmarks, one file each: an official release in a folder of the user becomes cases.

Classes are loaded when they are first named: `sightline.benchmarks.NAME`, `dir(sightline.benchmarks)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
else:
    from sightline.registry import namespace

    __getattr__, __dir__ = namespace("benchmark")

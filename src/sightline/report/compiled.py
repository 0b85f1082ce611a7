"""Compiled templates, kept beside Python's own byte code of this folder and trusted as that is."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.util import cache_from_source
from io import BytesIO
from pathlib import Path
from types import CodeType

import jinja2
from jinja2.bccache import Bucket, BytecodeCache

from sightline import __version__
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.store import write_atomically

_OPTIONS = ("autoescape", "trim_blocks", "lstrip_blocks", "keep_trailing_newline")
"""Of our environments, those that the code depends on."""
_compiled: dict[tuple[str, str], CodeType] = {}
"""What this process has compiled or read, by the name of its file and the checksum of its source."""


class CompiledTemplates(BytecodeCache):
    """Keeps what Jinja makes of templates.

    Files are read and written where Python reads and writes `.pyc`, and not written where it was told not to.
    A folder that cannot be written costs the time of compiling, nothing else.
    """

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill in the code if there is any for this source."""
        name = _name(bucket)
        bucket.code = _compiled.get((name, bucket.checksum))
        folder = _folder()
        if bucket.code is None and folder is not None:
            with suppress(OSError):
                bucket.load_bytecode(BytesIO((folder / name).read_bytes()))
        if bucket.code is not None:
            _compiled[name, bucket.checksum] = bucket.code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code for later environments and processes."""
        if bucket.code is None:
            return
        name, folder = _name(bucket), _folder()
        _compiled[name, bucket.checksum] = bucket.code
        if folder is not None and not sys.dont_write_bytecode:
            with suppress(OSError, UsageError):
                write_atomically(folder / name, bucket.bytecode_to_string())


def _name(bucket: Bucket) -> str:
    """A name for the file, of all that its content depends on but the source and Python's version."""
    options = [str(getattr(bucket.environment, name)) for name in _OPTIONS]
    return f"{digest([bucket.key, jinja2.__version__, __version__, *options])}.j2c"


def _folder() -> Path | None:
    """Where Python keeps the byte code of this folder; None where it keeps none."""
    try:
        return Path(cache_from_source(__file__)).parent
    except NotImplementedError:
        return None

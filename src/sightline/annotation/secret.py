"""The secret of an annotation: a file that only its owner reads, and what is derived from it.

Tokens of raters and of the coordinator, names of pictures and salts are all HMACs of one random secret, so
that the same addresses hold after a restart, and nobody without the file can guess any of them.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Literal

import orjson

from sightline.errors import DamageError, UsageError

KEY = "coordinator.key"
Role = Literal["rater", "coordinator"]
_CONTENT = re.compile(rb"[0-9a-f]{64}\n?")
_CURE = "restore it from a copy; without it, delete it, and every rater needs a new address"


class Secret:
    """Derives values; the secret itself is never shown, not even in `repr`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Secret(...)"

    def mac(self, purpose: str, *parts: str) -> bytes:
        """32 bytes that only who has the secret can make; parts of different length never run together."""
        return hmac.digest(self._key, orjson.dumps([purpose, *parts]), "sha256")

    def name(self, purpose: str, *parts: str) -> str:
        """32 hexadecimal characters of `mac`."""
        return self.mac(purpose, *parts)[:16].hex()

    def token(self, role: Role, rater: str = "") -> str:
        """The token of a rater, or of the coordinator: 32 bytes as 43 characters of a URL."""
        return base64.urlsafe_b64encode(self.mac("token", role, rater)).decode().rstrip("=")


def open_secret(folder: Path) -> Secret:
    """The secret of an annotation folder; made at random where there is none, readable by its owner alone.

    Raises:
        UsageError: if others may read the file, or it is a link.
        DamageError: if it does not hold a secret.
    """
    path = folder / KEY
    if not path.exists() and not path.is_symlink():
        _make(path)
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as refused:
        raise UsageError(f"{path}: cannot be opened as a plain file ({refused.strerror})") from None
    with os.fdopen(number, "rb") as file:
        mode = os.fstat(number).st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"{path}: others can read it (mode {stat.S_IMODE(mode):o}): chmod 600 {path}")
        content = file.read(200)
    if _CONTENT.fullmatch(content) is None:
        raise DamageError(path, "does not hold a secret", _CURE)
    return Secret(bytes.fromhex(content.decode().strip()))


def _make(path: Path) -> None:
    """Write a new secret, whole or not at all; of two processes that do so, the first one's counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{KEY}-{secrets.token_hex(8)}")
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(number)
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()

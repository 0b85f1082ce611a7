"""The secret of an annotation: who can read it, that it lasts, and that nothing shows it."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from sightline.annotation.secret import KEY, Secret, open_secret
from sightline.errors import DamageError, UsageError


def test_a_secret_is_made_once_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    first, second = open_secret(tmp_path), open_secret(tmp_path)
    assert first.token("rater", "ann") == second.token("rater", "ann")
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [KEY]
    assert open_secret(tmp_path / "other").token("rater", "ann") != first.token("rater", "ann")


def test_values_are_the_hmac_of_their_purpose_and_parts() -> None:
    secret = Secret(bytes(32))
    expected = hmac.new(bytes(32), b'["picture","ann","ab"]', hashlib.sha256).digest()
    assert secret.mac("picture", "ann", "ab") == expected
    assert secret.name("picture", "ann", "ab") == expected[:16].hex()
    assert len(secret.token("rater", "ann")) == 43


def test_roles_and_parts_never_run_together() -> None:
    secret = Secret(bytes(32))
    values = {
        secret.token("coordinator"),
        secret.token("rater", "coordinator"),
        secret.token("rater", "a"),
        secret.name("a", "bc"),
        secret.name("ab", "c"),
        secret.name("a", "b", "c"),
    }
    assert len(values) == 6


def test_the_secret_is_never_shown(tmp_path: Path) -> None:
    secret = open_secret(tmp_path)
    held = (tmp_path / KEY).read_text().strip()
    assert held not in repr(secret)
    assert repr(secret) == "Secret(...)"


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_secret(tmp_path)
    (tmp_path / KEY).chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        open_secret(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_is_refused(tmp_path: Path) -> None:
    open_secret(tmp_path / "real")
    (tmp_path / KEY).symlink_to(tmp_path / "real" / KEY)
    with pytest.raises(UsageError, match="plain file"):
        open_secret(tmp_path)


@pytest.mark.parametrize("content", [b"", b"0" * 63, b"g" * 64, b"0" * 65, b"\xff" * 64])
def test_what_is_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY).write_bytes(content)
    (tmp_path / KEY).chmod(0o600)
    with pytest.raises(DamageError, match="does not hold a secret"):
        open_secret(tmp_path)

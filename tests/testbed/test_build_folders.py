"""Which roots a folder of `sightline testbed build --out` holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import UsageError
from sightline.testbed.weights import MANIFEST, names, roots_in


def put(root: Path, model: str, variants: tuple[str, ...], default: str | None) -> None:
    """A model folder with a manifest and nothing else."""
    (root / model).mkdir(parents=True)
    facts: dict[str, Any] = {
        "name": model,
        "family": "linear",
        "size": {},
        "files": {},
        "default": default,
        "variants": {name: {"parts": []} for name in variants},
    }
    (root / model / MANIFEST).write_text(json.dumps(facts), "utf-8")


def test_a_build_has_a_main_and_an_extra_root(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "linear").mkdir(parents=True)
    put(tmp_path / "main", "linear", ("victim", "vit"), "victim")
    assert roots_in(tmp_path) == (tmp_path / "main",)
    put(tmp_path / "extra", "linear", ("base",), None)
    put(tmp_path / "extra", "queries", ("victim",), "victim")
    assert roots_in(tmp_path) == (tmp_path / "main", tmp_path / "extra")
    known = ("linear", "linear@victim", "linear@vit", "linear@base", "queries", "queries@victim")
    assert names(roots_in(tmp_path)) == known


def test_one_root_is_enough(tmp_path: Path) -> None:
    put(tmp_path / "extra", "queries", ("victim",), "victim")
    assert roots_in(tmp_path) == (tmp_path / "extra",)
    assert roots_in(tmp_path / "extra") == (tmp_path / "extra",)


@pytest.mark.parametrize("inside", ["", "checkpoints", "main"])
def test_a_folder_without_models_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    with pytest.raises(UsageError, match=r"no model is in it, in .*main or in .*extra; name the folder that"):
        roots_in(tmp_path)
    with pytest.raises(UsageError, match="no model is in it"):
        roots_in(tmp_path / "nowhere")

"""Surrogate strings: what each opens, what the lock says of it, and a study crafted on an encoder alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from sightline.api.runs import finish

pytest.importorskip("torch")

import tiny_encoders as small

from sightline.closure import without_code
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.study import run as runs
from sightline.study.config import parse
from sightline.study.surrogates import EncoderSurrogate, LocalSurrogate, open_surrogate
from sightline.targets import LocalSettings, open_target
from sightline.targets.local.files import weights_digest
from sightline.targets.vlm import VlmTarget
from sightline.whitebox import model as models

STUDY = """
study: towers
benchmarks: [{name: testbed_memes, limit: 2}]
targets: [scripted/echo]
attacks:
  - {name: bard, preset: testbed, features: scores, surrogate: "encoder/%s", label: on it}
judges: [testbed_policy]
"""


def no_target(name: str) -> Any:
    raise AssertionError(f"{name} was opened as a target")


def test_an_encoder_is_no_target_and_is_named_with_its_weights(tmp_path: Path) -> None:
    small.clip(tmp_path)
    found = open_surrogate(f"encoder/{tmp_path}@-2", no_target)
    dtype = LocalSettings.from_environment().resolved_dtype()
    bare = f"encoder/{tmp_path}@-2#{weights_digest(tmp_path)[:16]}@{dtype}"
    assert without_code(found.id) == bare != found.id
    assert found.encoder().id == bare
    assert found.encoder() is found.encoder()
    with pytest.raises(UsageError, match="only looks at pictures, and this attack needs a model"):
        found.victim()


def test_other_names_are_targets(tmp_path: Path) -> None:
    small.clip(tmp_path)
    target = VlmTarget("vlm/x", tmp_path, SimpleNamespace())  # type: ignore[arg-type]
    assert isinstance(open_surrogate("vlm/x", lambda _: target), LocalSurrogate)
    with pytest.raises(UsageError, match="gives no gradients: name a local model"):
        open_surrogate("scripted/echo", lambda _: SimpleNamespace())  # type: ignore[arg-type, return-value]


def test_what_holds_no_encoder_is_told_before_anything_is_crafted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        EncoderSurrogate(f"encoder/{tmp_path}/absent")
    small.clip(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"clip"', '"clap"'))
    with pytest.raises(UsageError, match=r"unknown type of tower 'clap'. Did you mean 'clip'"):
        EncoderSurrogate(f"encoder/{tmp_path}")


def test_a_study_is_crafted_on_a_classifier(tmp_path: Path) -> None:
    folder = tmp_path / "tower"
    small.classifier(folder)
    run = runs.Run(parse(STUDY % folder), tmp_path / "run")
    run.prepare()
    finish(run)
    rows = pq.read_table(run.folder / "results.parquet").to_pylist()
    identity = EncoderSurrogate(f"encoder/{folder}").id
    assert {row["crafted_on"] for row in rows} == {identity}
    assert {row["outcome"] for row in rows} != {"error"}
    assert f"crafted_on: {identity}" in (run.folder / "study.lock.yaml").read_text().replace("\n      ", " ")
    assert len(rows) == 2


@pytest.mark.parametrize(("wanted", "kept"), [("1", True), ("0", False)])
def test_the_environment_asks_for_checkpointing(
    wanted: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setenv("SIGHTLINE_CHECKPOINTING", wanted)
    monkeypatch.setattr(
        models, "open_victim", lambda _, checkpointing: asked.append(checkpointing) or "model"
    )
    name = "testbed/linear"
    assert LocalSurrogate(name, open_target(name, Blobs(tmp_path))).victim() == "model"
    assert asked == [kept]

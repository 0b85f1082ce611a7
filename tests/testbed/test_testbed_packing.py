"""Folders of weights written and read back: differences to decoded bases, files lent across models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from sightline.errors import ContractError, UsageError
from sightline.testbed import weights
from sightline.testbed.weights import find, materialize, names, verify
from sightline_testbed.training import packing
from sightline_testbed.training.packing import Made, OwnFile, SharedFile, write_model

SIZE = {"width": 8, "layers": 1, "heads": 1, "vision_ffn": 8, "text_ffn": 8}
EYES, TEXT = "model.vision_tower.", "model.language_model."


def tensors(prefix: str, seed: int, near: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Three tensors, drawn anew or a tenth away from others."""
    rng = np.random.default_rng(seed)
    shapes = {"w": (24, 40), "odd.w": (3, 7), "norm": (40,)}
    drawn = {f"{prefix}{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: near[name] + value / 10 for name, value in drawn.items()} if near else drawn


VISION, VIT = tensors(EYES, 0), tensors(TEXT, 1)
VICTIM = tensors(TEXT, 2, VIT) | {f"{TEXT}norm": VIT[f"{TEXT}norm"].astype(np.float16).astype(np.float32)}
CATFIRST = tensors(TEXT, 3, VICTIM)
LOWLR = {name.replace(TEXT, "language_model.model."): value for name, value in tensors(TEXT, 4, VIT).items()}


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    folder = tmp_path / "extra"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"not copied")
    (folder / "CARD.md").write_text("not copied")
    return folder


def write_linear(root: Path, extra: Path) -> dict[str, Any]:
    return write_model(
        root / "linear",
        name="linear",
        family="linear",
        size=SIZE,
        default="victim",
        sources={
            "vision": OwnFile(state=VISION),
            "vit": OwnFile(state=VIT),
            "victim": OwnFile(state=VICTIM, how="delta4", base="vit"),
        },
        variants={
            "victim": Made(parts=("vision", "victim"), about="a victim"),
            "vit": Made(parts=("vision", "vit"), about="tuned"),
        },
        extra_files=extra,
        facts={"versions": {"python": "3"}},
    )


def write_further(root: Path, main: Path) -> dict[str, Any]:
    """`catfirst` of linear as a difference to a difference, in another root."""
    return write_model(
        root / "linear",
        name="linear",
        family="linear",
        size=SIZE,
        sources={
            "vision": SharedFile(file="vision.safetensors"),
            "vit": SharedFile(file="vit.safetensors"),
            "victim": SharedFile(file="victim.safetensors", base="vit"),
            "catfirst": OwnFile(state=CATFIRST, how="delta4", base="victim"),
        },
        variants={"catfirst": Made(parts=("vision", "catfirst"), about="names the class first")},
        roots=[main],
    )


def write_queries(root: Path, main: Path, extra: Path) -> dict[str, Any]:
    """A model of its own bridge, whose language model is that of linear under other names."""
    rename = {TEXT: "language_model.model."}
    return write_model(
        root / "queries",
        name="queries",
        family="queries",
        size=SIZE,
        default="victim",
        sources={
            "bridge": OwnFile(state={"query_tokens": np.ones((1, 4, 8), np.float32)}, how="fp16"),
            "vit": SharedFile(file="vit.safetensors", model="linear", rename=rename),
            "victim": SharedFile(file="victim.safetensors", model="linear", rename=rename, base="vit"),
            "lowlr": OwnFile(state=LOWLR, how="delta4", base="vit"),
        },
        variants={
            "victim": Made(parts=("bridge", "victim"), about="a victim"),
            "lowlr": Made(parts=("bridge", "lowlr"), about="tuned gently"),
        },
        extra_files=extra,
        roots=[main],
    )


def joined(name: str, root: Any, cache: Path) -> dict[str, np.ndarray]:
    return load_file(materialize(name, root=root, cache=cache) / "model.safetensors")


def assert_near(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], most: float) -> None:
    """Mean square error against the weights' own mean square."""
    for name, tensor in wanted.items():
        error = np.square(found[name] - tensor).mean() / np.square(tensor).mean()
        assert error <= most**2, name


def test_a_folder_is_written_and_read_back(tmp_path: Path, extra: Path) -> None:
    manifest = write_linear(tmp_path / "main", extra)
    folder = tmp_path / "main" / "linear"
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    verify(folder, manifest)
    assert set(manifest["files"]) == {
        "config.json", "victim.safetensors", "vision.safetensors", "vit.safetensors",
    }  # fmt: skip
    assert manifest["bytes"] == sum(path.stat().st_size for path in folder.iterdir()) - len(
        (folder / "manifest.json").read_bytes()
    )
    assert manifest["versions"] == {"python": "3"}
    assert manifest["variants"]["victim"] == {
        "about": "a victim",
        "parts": [
            {"file": "vision.safetensors"},
            {"file": "vit.safetensors", "base": True},
            {"file": "victim.safetensors"},
        ],
    }
    assert names(tmp_path / "main") == ("linear", "linear@victim", "linear@vit")
    victim = joined("linear", tmp_path / "main", tmp_path / "cache")
    assert victim.keys() == VISION.keys() | VICTIM.keys()
    assert all(value.dtype == np.float32 for value in victim.values())
    assert_near(victim, VISION, 0.01)
    assert_near(victim, VICTIM, 0.015)
    found = find("linear@vit", tmp_path / "main")
    assert (found.family, found.size, found.about) == ("linear", SIZE, "tuned")


def test_the_error_of_the_base_does_not_add_up(tmp_path: Path, extra: Path) -> None:
    """The difference is to the base as stored: a vector errs by half a last place of the difference."""
    write_linear(tmp_path / "main", extra)
    write_further(tmp_path / "data", tmp_path / "main")
    found = joined("linear@catfirst", [tmp_path / "main", tmp_path / "data"], tmp_path / "cache")
    norm = f"{TEXT}norm"
    stored = joined("linear@victim", tmp_path / "main", tmp_path / "cache")[norm]
    assert (np.abs(found[norm] - CATFIRST[norm]) <= np.abs(CATFIRST[norm] - stored) * 2.0**-11 + 1e-6).all()
    assert_near(found, CATFIRST, 0.015)


def test_variants_are_spread_over_roots(tmp_path: Path, extra: Path) -> None:
    main, data = tmp_path / "main", tmp_path / "data"
    write_linear(main, extra)
    manifest = write_further(data, main)
    assert "default" not in manifest
    assert list(manifest["files"]) == ["catfirst.safetensors"]
    assert manifest["variants"]["catfirst"]["parts"] == [
        {"file": "vision.safetensors"},
        {"file": "vit.safetensors", "base": True},
        {"file": "victim.safetensors", "base": True},
        {"file": "catfirst.safetensors"},
    ]
    every = ("linear", "linear@victim", "linear@vit", "linear@catfirst")
    assert names([main, data]) == every
    assert names([data, main]) == every
    assert names(data) == ()
    folder = materialize("linear@catfirst", root=[main, data], cache=tmp_path / "cache")
    assert (folder / "config.json").is_file()
    with pytest.raises(UsageError, match="unknown testbed model 'linear@catfirst'"):
        materialize("linear@catfirst", root=main, cache=tmp_path / "cache")


def test_files_are_lent_to_other_models_under_other_names(tmp_path: Path, extra: Path) -> None:
    main, data = tmp_path / "main", tmp_path / "data"
    write_linear(main, extra)
    write_queries(data, main, extra)
    found = joined("queries", [main, data], tmp_path / "cache")
    own = joined("linear", main, tmp_path / "cache")
    assert set(found) == {"query_tokens"} | {f"language_model.model.{n}" for n in ("w", "odd.w", "norm")}
    for name in ("w", "odd.w", "norm"):
        assert np.array_equal(found[f"language_model.model.{name}"], own[f"{TEXT}{name}"])
    assert_near(joined("queries@lowlr", [main, data], tmp_path / "cache"), LOWLR, 0.015)
    with pytest.raises(UsageError, match=r"needs vit\.safetensors of testbed/linear, which is in none"):
        materialize("queries", root=data, cache=tmp_path / "cache")


def test_writing_again_replaces_with_the_same_bytes(tmp_path: Path, extra: Path) -> None:
    first = write_linear(tmp_path, extra)
    (tmp_path / "linear" / "old.safetensors").write_bytes(b"")
    (tmp_path / "linear" / "CARD.md").write_text("of the old weights")
    assert write_linear(tmp_path, extra) == first
    assert {path.name for path in (tmp_path / "linear").iterdir()} == {*first["files"], "manifest.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"extra", "linear"}


def test_a_cached_folder_is_of_its_weights(tmp_path: Path, extra: Path) -> None:
    """The name in the cache follows from the files of the variant, and from no other."""
    write_linear(tmp_path, extra)
    one, vit = (materialize(name, root=tmp_path, cache=tmp_path / "c") for name in ("linear", "linear@vit"))
    changed = {name: value + 0.01 for name, value in VICTIM.items()}
    sources = {"vision": OwnFile(state=VISION), "vit": OwnFile(state=VIT)}
    write_model(
        tmp_path / "linear",
        name="linear",
        family="linear",
        size=SIZE,
        default="victim",
        sources=sources | {"victim": OwnFile(state=changed, how="delta4", base="vit")},
        variants={name: Made(parts=("vision", name), about="") for name in ("victim", "vit")},
        extra_files=extra,
    )
    assert materialize("linear", root=tmp_path, cache=tmp_path / "c") != one
    assert materialize("linear@vit", root=tmp_path, cache=tmp_path / "c") == vit


# Misuse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": "victm"}, "unknown default variant 'victm'. Did you mean 'victim'"),
        ({"name": "other"}, "the folder of a model has its name, 'other'"),
        ({"variants": {"vit": Made(parts=("eyes",), about="")}, "default": None}, "source of weights 'eyes'"),
        (
            {"sources": {"vision": OwnFile(state=VIT, how="delta4", base="vision")}},
            "source 'vision' is its own base",
        ),
        (
            {"sources": {"vision": SharedFile(file="x.safetensors")}},
            r"x\.safetensors of linear was not found",
        ),
        (
            {},
            r"linear@victim and linear@eyes must hold the same tensors; 'model\.language_model\.norm' is in",
        ),
    ],
)
def test_misuse_is_told(tmp_path: Path, extra: Path, change: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {
        "name": "linear",
        "family": "linear",
        "size": SIZE,
        "default": "victim",
        "sources": {"vision": OwnFile(state=VISION), "victim": OwnFile(state=VICTIM)},
        "variants": {
            "victim": Made(parts=("vision", "victim"), about=""),
            "eyes": Made(parts=("vision",), about=""),
        },
    }
    if "sources" in change:
        whole["variants"]["victim"] = Made(parts=tuple(change["sources"]), about="")
    with pytest.raises(UsageError, match=message):
        write_model(tmp_path / "linear", **whole | change)
    assert {path.name for path in tmp_path.iterdir()} == {"extra"}


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, extra: Path) -> None:
    (tmp_path / "linear").mkdir()
    (tmp_path / "linear" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds files but no manifest\.json"):
        write_linear(tmp_path, extra)
    assert (tmp_path / "linear" / "thesis.txt").read_text() == "mine"


def test_a_failed_pack_leaves_the_old_one(
    tmp_path: Path, extra: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_linear(tmp_path, extra)
    monkeypatch.setattr(packing, "_copy", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_linear(tmp_path, extra)
    verify(tmp_path / "linear", first)
    assert {path.name for path in tmp_path.iterdir()} == {"extra", "linear"}


# Manifests made to mislead ------------------------------------------------------------------------


def edited(root: Path, change: Any) -> None:
    path = root / "linear" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("family"), "does not say family"),
        (
            lambda m: m["files"].update({"../x.json": {"sha256": "0", "bytes": 0}}),
            r"'\.\./x\.json', which is not in",
        ),
        (lambda m: m["variants"].update(victim=["vision.safetensors"]), "variant 'victim' is damaged"),
        (lambda m: m["variants"]["victim"]["parts"][1].pop("base"), "'model.language_model.norm' changes"),
        (lambda m: m["variants"]["victim"]["parts"].pop(1), "which the base lacks"),
        (
            lambda m: m["variants"]["victim"]["parts"].append({"file": "vision.safetensors"}),
            "is already there",
        ),
        (lambda m: m["files"]["vit.safetensors"].update(sha256="0"), "is not the file its manifest names"),
        (lambda m: m["files"]["config.json"].update(sha256="0"), "is not the file its manifest names"),
    ],
)
def test_misleading_manifests(tmp_path: Path, extra: Path, change: Any, message: str) -> None:
    write_linear(tmp_path, extra)
    edited(tmp_path, change)
    with pytest.raises(ContractError, match=message):
        materialize("linear", root=tmp_path, cache=tmp_path / "cache")
    assert not list(tmp_path.glob("cache/testbed/*"))


def test_what_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "linear").mkdir()
    for text in ("{", "[]", "3"):
        (tmp_path / "linear" / "manifest.json").write_text(text)
        with pytest.raises(ContractError, match=r"manifest\.json"):
            names(tmp_path)
    with pytest.raises(UsageError, match=r"no manifest\.json there"):
        weights.read_manifest(tmp_path)


def test_a_variant_in_two_folders_is_told(tmp_path: Path, extra: Path) -> None:
    for root in ("one", "two"):
        write_linear(tmp_path / root, extra)
    with pytest.raises(ContractError, match=r"linear: victim is in .*one.* and in .*two"):
        names([tmp_path / "one", tmp_path / "two"])

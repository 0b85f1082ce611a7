"""One load for a target and its surrogate; models that are in memory already are loaded not at all."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, CLIPImageProcessorPil

from sightline.api.runs import finish
from sightline.cases import Conversation, Image
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.study import run as runs
from sightline.study.config import parse
from sightline.study.surrogates import LocalSurrogate
from sightline.targets import LocalSettings, open_target
from sightline.targets.local import loading
from sightline.targets.local.processors import on_pillow
from sightline.targets.vlm import VlmTarget, forget_models, from_memory
from sightline.whitebox.model import from_pretrained, open_victim
from sightline.whitebox.victim import Pair

CPU = LocalSettings(device="cpu")
STUDY = """
study: shared
benchmarks: [{name: testbed_requests, limit: 2}]
targets: [testbed/linear]
attacks:
  - {name: qi_visual, preset: testbed, steps: 2, surrogate: testbed/linear}
judges: [testbed_policy]
decoding: {max_tokens: 4}
"""
ASKED = Conversation.user("What is the color of the circle?")
PAIR = Pair(prompt=Conversation.user(Image("x", 64, 64), "What is it?"), target="a red square")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The folders whose weights were read, from a process without models on."""
    forget_models()
    monkeypatch.setattr(loading, "_loaded", weakref.WeakValueDictionary())
    found: list[str] = []
    load = loading.load_weights

    def counted(kind: Any, folder: Path, *rest: Any, **settings: Any) -> Any:
        found.append(folder.name)
        return load(kind, folder, *rest, **settings)

    monkeypatch.setattr(loading, "load_weights", counted)
    yield found
    forget_models()


def linear(tmp_path: Path) -> VlmTarget:
    found = open_target("testbed/linear", Blobs(tmp_path), local=CPU)
    assert isinstance(found, VlmTarget)
    return found


def said(target: VlmTarget) -> str:
    return asyncio.run(target.generate(ASKED, Decoding(max_tokens=12))).text


def nll(victim: Any) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    loss = victim.rows(x, [PAIR]).nll
    return loss.detach(), torch.autograd.grad(loss.sum(), x)[0]


def test_target_and_surrogates_share_one_load(tmp_path: Path, loads: list[str]) -> None:
    target = linear(tmp_path)
    alone = said(target)
    surrogate = LocalSurrogate("testbed/linear", target)
    victim: Any = surrogate.victim()
    again = open_victim("testbed/linear", local=CPU, checkpointing=True)
    surrogate.encoder()
    assert len(loads) == 1
    weights = {name: weight.data_ptr() for name, weight in target.loaded().model.named_parameters()}
    for model in (victim.model, again.model):
        assert {name: weight.data_ptr() for name, weight in model.named_parameters()} == weights
    loss, grad = nll(victim)
    assert bool(grad.abs().sum() > 0)
    assert torch.equal(nll(again)[0], loss)
    assert said(target) == alone


def test_a_study_loads_the_model_that_is_target_and_surrogate_once(tmp_path: Path, loads: list[str]) -> None:
    run = runs.Run(parse(STUDY), tmp_path / "run")
    run.prepare()
    finish(run)
    rows = pq.read_table(run.folder / "results.parquet").to_pylist()
    assert {row["outcome"] for row in rows}.isdisjoint({"error"})
    assert len(rows) == 2
    assert len(loads) == 1


def test_another_number_format_is_another_load(tmp_path: Path, loads: list[str]) -> None:
    linear(tmp_path).loaded()
    half = open_victim("testbed/linear", local=LocalSettings(device="cpu", dtype="bfloat16"))
    assert half.dtype == torch.bfloat16
    assert len(loads) == 2


def test_weights_are_dropped_with_the_last_model(tmp_path: Path, loads: list[str]) -> None:
    victim = open_victim(linear(tmp_path), checkpointing=True)
    assert len(loading._loaded) == 1
    del victim
    gc.collect()
    assert not loading._loaded
    open_victim(linear(tmp_path))
    assert len(loads) == 2


def test_a_model_in_memory_is_not_loaded_and_not_changed(tmp_path: Path, loads: list[str]) -> None:
    target = linear(tmp_path)
    assert not loads
    folder = target.source.folder  # type: ignore[attr-defined]  # of a folder
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    pictures, attention = processor.image_processor, model.config._attn_implementation
    victim, own = from_pretrained(model, processor), from_memory(model, processor, Blobs(tmp_path))
    loss, grad = nll(victim)
    spoken = said(own)
    assert not loads
    assert all(weight.requires_grad for weight in model.parameters())
    assert processor.image_processor is pictures
    assert model.config._attn_implementation == attention
    assert not any("forward" in vars(module) for module in model.modules())
    assert own.id == victim.id
    assert own.id.startswith(f"memory/{folder.name}#")
    expected = nll(open_victim(target))
    assert torch.equal(loss, expected[0])
    assert torch.equal(grad, expected[1])
    assert spoken == said(target)


def test_the_digest_of_a_model_in_memory_covers_its_weights(tmp_path: Path) -> None:
    folder = linear(tmp_path).source.folder  # type: ignore[attr-defined]  # of a folder
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    first = from_memory(model, processor, Blobs(tmp_path)).id
    assert from_memory(model, processor, Blobs(tmp_path)).id == first
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1
    assert from_memory(model, processor, Blobs(tmp_path)).id != first


def test_half_a_processor_is_refused(tmp_path: Path) -> None:
    model: Any = SimpleNamespace(config=SimpleNamespace(name_or_path="x", model_type="llava"))
    with pytest.raises(UsageError, match="SimpleNamespace has no tokenizer"):
        from_memory(model, SimpleNamespace(image_processor=1), Blobs(tmp_path))


def test_a_picture_processor_on_torchvision_is_done_on_pillow() -> None:
    own = CLIPImageProcessorPil(size={"height": 40, "width": 50}, crop_size=32, do_rescale=False)
    other = type("CLIPImageProcessorFast", (), {"to_dict": lambda _: own.to_dict()})()
    found = on_pillow(other)
    assert type(found) is CLIPImageProcessorPil
    assert found.to_dict() == own.to_dict()
    assert on_pillow(own) is own
    with pytest.raises(UsageError, match="the picture processor NewImageProcessor has no form on Pillow"):
        on_pillow(type("NewImageProcessor", (), {})())

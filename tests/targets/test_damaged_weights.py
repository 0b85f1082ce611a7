"""Damaged and hostile model folders: one sentence each, never an answer by chance."""

import asyncio
import json

import numpy as np
import pytest
import tiny_models as tiny
import torch
from safetensors.torch import load_file, save_file

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.local import files
from sightline.targets.vlm import forget_models
from sightline.whitebox.model import open_victim

CPU = LocalSettings(device="cpu")


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture
def folder(tmp_path):
    return tiny.tiny_llava(tmp_path / "m")


def rewrite(folder, change):
    """Replace the weights by what `change` makes of them."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file(change(weights), path, metadata={"format": "pt"})


def edit(folder, change, name="config.json"):
    path = folder / name
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def ask(folder, *, tokens=4, temperature=0.0):
    blobs = Blobs(folder / "blobs")
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    decoding = Decoding(max_tokens=tokens, temperature=temperature)
    return asyncio.run(target.generate(Conversation.user("what is this"), decoding))


def without(names):
    return lambda weights: {key: value for key, value in weights.items() if not key.endswith(names)}


def of_another_shape(weights):
    name = next(key for key in weights if key.endswith("q_proj.weight"))
    return weights | {name: torch.zeros(3, 5)}


def with_one(value):
    def change(weights):
        name = next(key for key in weights if key.endswith("down_proj.weight"))
        weights[name][0, 0] = value
        return weights

    return change


def stored_as(dtype):
    def change(weights):
        name = next(key for key in weights if key.endswith("down_proj.weight"))
        return weights | {name: weights[name].to(dtype)}

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            without(("q_proj.weight",)),
            r"\d+ weights of LlavaFor\w+ are not in the files .* such as \S*q_proj",
        ),
        (
            of_another_shape,
            r"1 weights .* not in the files \(1 have another shape there\), such as \S*q_proj",
        ),
        (with_one(float("nan")), r"1 weights are not finite .* such as \S*down_proj"),
        (with_one(float("inf")), r"1 weights are not finite .* such as \S*down_proj"),
        (with_one(float("-inf")), r"1 weights are not finite .* such as \S*down_proj"),
        (stored_as(torch.int8), r"1 weights are stored as I8, such as \S*down_proj.* names no quantization"),
        (stored_as(torch.bool), r"1 weights are stored as BOOL, such as \S*down_proj"),
        (stored_as(torch.complex64), r"1 weights are stored as C64, such as \S*down_proj"),
    ],
    ids=["missing", "shape", "nan", "inf", "-inf", "int8", "bool", "complex"],
)
@pytest.mark.parametrize("open_it", [ask, open_victim], ids=["target", "victim"])
def test_weights_that_are_not_all_there_are_refused(folder, change, said, open_it):
    rewrite(folder, change)
    with pytest.raises(UsageError, match=said) as refused:
        open_it(folder if open_it is ask else f"vlm/{folder}", **({} if open_it is ask else {"local": CPU}))
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scores_that_are_no_numbers_are_an_error_outcome(folder, temperature):
    def overflow(weights):  # finite, and too large to multiply
        last = ("lm_head.weight", "language_model.norm.weight", "language_model.model.norm.weight")
        found = {key: value * 1e30 if key.endswith(last) else value for key, value in weights.items()}
        assert sum(bool((found[key] != weights[key]).any()) for key in weights) == 2
        return found

    rewrite(folder, overflow)
    response = ask(folder, temperature=temperature)
    assert response.stop == "error"
    assert "not finite" in response.error


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def long_header(path):
    path.write_bytes((10**15).to_bytes(8, "little") + path.read_bytes()[8:])


def no_json(path):
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"x" + data[9:])


def other_type(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"F32"', b'"Q99"', 1))


@pytest.mark.parametrize("damage", [truncated, emptied, long_header, no_json, other_type])
def test_damaged_files_of_weights_are_one_sentence(folder, damage):
    damage(folder / "model.safetensors")
    with pytest.raises(UsageError, match=r"model\.safetensors: not a whole safetensors file") as refused:
        ask(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["text_config"].update(num_hidden_layers=10**9),
        lambda plain: plain["text_config"].update(vocab_size=10**12),
        lambda plain: plain["text_config"].update(max_position_embeddings="many"),
        lambda plain: plain["vision_config"].update(image_size=10**6),
        lambda plain: plain["vision_config"].update(hidden_size=[1]),
        lambda plain: plain["text_config"].update(num_attention_heads=0),
        lambda plain: plain.update(text_config=7),
        lambda plain: plain.update(model_type=None),
    ],
)
def test_a_configuration_of_another_model_is_one_sentence(folder, change):
    edit(folder, change)
    with pytest.raises(UsageError) as refused:
        ask(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_configuration_nested_without_end_is_one_sentence(folder):
    (folder / "config.json").write_text('{"a":' * 20_000 + "1" + "}" * 20_000)
    with pytest.raises(UsageError, match=r"config\.json"):
        ask(folder)


def test_the_attention_that_a_folder_names_is_not_used(folder):
    def hostile(plain):
        plain["attn_implementation"] = "owner/kernel"
        plain["_attn_implementation"] = "owner/kernel"
        plain["text_config"]["attn_implementation"] = "owner/kernel"
        plain["vision_config"]["_attn_implementation"] = "owner/kernel"

    before = ask(folder)
    edit(folder, hostile)
    assert ask(folder).text == before.text


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_git_lfs_pointer_is_named_as_such(folder, name):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UsageError, match=f"{name}: is a Git-LFS pointer, .* run `git lfs pull`"):
        ask(folder)


def test_settings_without_end_are_not_read(folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 1000)
    with pytest.raises(UsageError, match=r"bytes, more than the 1000 of any model's settings"):
        ask(folder)


@pytest.mark.parametrize("size", [20_000, 0, -5])
def test_a_processor_that_asks_for_impossible_pictures_is_refused(tmp_path, size):
    tiny.tiny_llava(tmp_path / "m")
    file = next(path for path in (tmp_path / "m").glob("*process*.json") if "crop_size" in path.read_text())
    told = json.loads(file.read_text())
    (told.get("image_processor") or told).update(size={"height": size, "width": size})
    file.write_text(json.dumps(told))
    with pytest.raises(UsageError, match=rf"size\.height is {size}, expected 1\.\.8192"):
        ask(tmp_path / "m")


def test_a_processor_that_fails_on_a_request_is_an_error_outcome(tmp_path):
    tiny.tiny_llava(tmp_path / "m")
    file = next(path for path in (tmp_path / "m").glob("*process*.json") if "crop_size" in path.read_text())
    told = json.loads(file.read_text())
    (told.get("image_processor") or told).update(resample=99)
    file.write_text(json.dumps(told))
    blobs = Blobs(tmp_path / "blobs")
    image = blobs.put_pixels(np.zeros((40, 50, 3), np.uint8))
    target = open_target(f"vlm/{tmp_path / 'm'}", blobs)
    reply = asyncio.run(target.generate(Conversation.user(image, "what is it"), Decoding(max_tokens=4)))
    assert reply.stop == "error"
    assert "the processor of this llava model fails on the request" in (reply.error or "")

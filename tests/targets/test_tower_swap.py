"""A swapped vision tower against a model whose weights were replaced by hand, and folders that do not fit."""

import asyncio
import shutil

import numpy as np
import pytest
import tiny_models as tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, CLIPVisionModel

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import forget_models
from sightline.whitebox.encoders import tower_of
from sightline.whitebox.model import open_victim

CPU = LocalSettings(device="cpu", max_batch=1)


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def asked(blobs):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Conversation.user(blobs.put_pixels(pixels), "what is in the image")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.tiny_llava(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tower(tmp_path_factory, model):
    """Another tower of the same shapes, saved alone as a CLIP vision model."""
    folder = tmp_path_factory.mktemp("tower")
    own = AutoModelForImageTextToText.from_pretrained(model).base_model.vision_tower
    torch.manual_seed(5)
    other = CLIPVisionModel(own.config)
    other.save_pretrained(folder)
    return folder


def open_(tower, model, blobs):
    return open_target(f"swapped/{tower}:vlm/{model}", blobs, local=CPU)


def scores(target, asked):
    return asyncio.run(target.inside().next_scores(asked))


def changed(tower, folder, change):
    shutil.copytree(tower, folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_it_answers_as_a_model_whose_tower_was_replaced_by_hand(tower, model, blobs, asked, tmp_path):
    by_hand = AutoModelForImageTextToText.from_pretrained(model)
    own = by_hand.base_model.vision_tower
    own.load_state_dict(CLIPVisionModel.from_pretrained(tower).state_dict())
    shutil.copytree(model, tmp_path / "made")
    by_hand.save_pretrained(tmp_path / "made")
    swapped = open_(tower, model, blobs)
    made = open_target(f"vlm/{tmp_path / 'made'}", blobs, local=CPU)
    bare = open_target(f"vlm/{model}", blobs, local=CPU)
    np.testing.assert_allclose(scores(swapped, asked), scores(made, asked), atol=1e-4)
    assert np.abs(scores(swapped, asked) - scores(bare, asked)).max() > 1e-2
    # the weights of the model that it was made of are shared with others, and stay
    again = open_target(f"vlm/{model}", blobs, local=CPU)
    np.testing.assert_array_equal(scores(again, asked), scores(bare, asked))
    said = asyncio.run(swapped.generate(asked, Decoding(max_tokens=4)))
    assert said.stop in ("stop", "length")


def test_its_own_tower_changes_nothing_but_the_identity(model, blobs, asked):
    swapped, bare = open_(model, model, blobs), open_target(f"vlm/{model}", blobs, local=CPU)
    np.testing.assert_allclose(scores(swapped, asked), scores(bare, asked), atol=1e-4)
    assert swapped.id.partition("#")[2] != bare.id.partition("#")[2]


def test_the_identity_holds_the_towers_weights(tower, model, blobs, tmp_path):
    def other(tensors):
        name = next(each for each in tensors if each.endswith("class_embedding"))
        tensors[name] = tensors[name] + 1

    changed(tower, tmp_path / "other", other)
    ids = {open_(each, model, blobs).id.partition("#")[2] for each in (tower, tmp_path / "other")}
    assert len(ids) == 2


def test_attacks_differentiate_the_swapped_tower(tower, model, blobs):
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    own = tower_of(open_victim(open_target(f"vlm/{model}", blobs, local=CPU)))
    swapped = tower_of(open_victim(open_(tower, model, blobs)))
    assert not torch.allclose(own.features(pixels), swapped.features(pixels), atol=1e-2)


WRONG = {
    "shape": (lambda t, n: t.update({n: torch.zeros(3)}), r"class_embedding is \(3,\), the model's \(32,\)"),
    "absent": (lambda t, n: t.pop(n), "1 tensors of the tower are absent, such as .*class_embedding"),
    "not finite": (lambda t, n: t.update({n: t[n] * float("nan")}), "class_embedding is not finite"),
    "a deeper one": (
        lambda t, n: t.update({n.replace("embeddings.class_embedding", "encoder.layers.9.x"): torch.ones(1)}),
        r"no place in the tower, such as encoder\.layers\.9\.x",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_tower_that_does_not_fit_is_refused_naming_the_tensor(what, tower, model, blobs, tmp_path):
    change, message = WRONG[what]

    def with_name(tensors):
        change(tensors, next(each for each in tensors if each.endswith("class_embedding")))

    changed(tower, tmp_path / "wrong", with_name)
    if what != "not finite":  # names and shapes are told before any weights are loaded
        with pytest.raises(UsageError, match=message):
            open_(tmp_path / "wrong", model, blobs)
        return
    opened = open_(tmp_path / "wrong", model, blobs)
    with pytest.raises(UsageError, match=message):
        opened.loaded()


def test_a_tower_that_computes_otherwise_is_refused_naming_the_setting(tower, model, blobs, tmp_path):
    shutil.copytree(tower, tmp_path / "act")
    config = tmp_path / "act" / "config.json"
    config.write_text(config.read_text().replace('"quick_gelu"', '"gelu"'), encoding="utf-8")
    with pytest.raises(UsageError, match="its tower has hidden_act gelu, the model's quick_gelu"):
        open_(tmp_path / "act", model, blobs)


def test_a_tower_of_pickles_is_refused_with_the_class_that_reads_one(tower, model, blobs, tmp_path):
    shutil.copytree(tower, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").rename(tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"is a pickle.*: CLIPVisionModel\.from_pretrained"):
        open_(tmp_path / "old", model, blobs)


@pytest.mark.parametrize("rest", ["x", "x:scripted/echo", ":vlm/y", "x:vlm/"])
def test_another_form_is_refused(rest, blobs):
    with pytest.raises(UsageError, match="write swapped/TOWER_FOLDER:vlm/FOLDER"):
        open_target(f"swapped/{rest}", blobs)


def test_it_works_on_the_testbed(blobs, asked):
    from sightline.testbed import weights

    folder = weights.materialize("linear")
    swapped = open_target(f"swapped/{folder}:testbed/linear", blobs, local=CPU)
    bare = open_target("testbed/linear", blobs, local=CPU)
    replies = [asyncio.run(each.generate(asked, Decoding(max_tokens=8))).text for each in (swapped, bare)]
    assert replies[0] == replies[1]


def test_inspect_asks_it_too(tower, model, blobs):
    from inspect_ai.model import GenerateConfig, get_model

    asked = Conversation.user("what is red")
    ours = asyncio.run(open_(tower, model, blobs).generate(asked, Decoding(max_tokens=4))).text
    through = get_model(f"swapped/{tower}:vlm/{model}", config=GenerateConfig(max_tokens=4, temperature=0.0))
    assert asyncio.run(through.generate("what is red")).completion == ours

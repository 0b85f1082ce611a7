"""Packed rows of every family against one ordinary pass per picture and pair, in float32."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
import torch
from plain_pass import assert_same, means, pair, plain_losses, slope

from sightline.cases import Conversation, Image, Turn
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import forget_models
from sightline.testbed.weights import materialize
from sightline.whitebox import model as mllm
from sightline.whitebox.families import KNOWN
from sightline.whitebox.model import open_victim
from sightline.whitebox.victim import Pair

CPU = LocalSettings(device="cpu")
TINY = [family for family in tiny.FAMILIES if family != "paligemma"]
TESTBED = ("linear", "queries", "cross_attention")
#: files that are cut into tiles of different number, or patches of a grid that is no square
SIZES = {
    "llava_next": (64, 30),
    "idefics3": (40, 64),
    "mllama": (30, 62),
    "qwen2_vl": (48, 64),
    "qwen2_5_vl": (64, 48),
}


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("blobs"))


def opened(name, blobs, size, count=2):
    """Victim, the model that serves the target, pictures, and the first one as a stored file."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    image = blobs.put_pixels(pixels[0])
    loaded = open_target(name, blobs, local=CPU).loaded()
    return open_victim(name, local=CPU), loaded, x.requires_grad_(True), image


def pairs_of(image, chat):
    """Targets behind one prompt, prompts behind one picture, common beginnings, an open end; a dialogue."""
    found = [
        pair(image, "what is this", "red square"),
        pair(image, "what is this", "red"),
        pair(image, "what is this", "two", closed=False),
        pair(image, "what is red", "one two three"),
        pair(image, "what is this", "red square in the image", closed=False),
    ]
    if chat:
        said = (Turn("user", (image, "a b")), Turn("assistant", ("red",)), Turn("user", ("now",)))
        found.append(Pair(prompt=Conversation(said), target="square"))
        found.append(Pair(prompt=Conversation.user("what is", image), target="red"))
    return found


def check(name, blobs, size, pairs):
    victim, loaded, x, image = opened(name, blobs, size)
    pairs = pairs(image)
    rows = victim.rows(x, pairs)
    wanted = plain_losses(victim, loaded, blobs.read, x, pairs)
    found = means(rows)
    assert torch.allclose(found, wanted, rtol=1e-5, atol=0)
    assert_same(slope(found, x), slope(wanted, x))


@pytest.mark.parametrize("family", TINY)
def test_tiny_models_of_every_family(family, tmp_path, blobs):
    folder = tiny.FAMILIES[family](tmp_path / "m")
    chat = family not in ("blip2", "blip2_chat", "instructblip")
    check(f"vlm/{folder}", blobs, SIZES.get(family, (32, 32)), lambda image: pairs_of(image, chat))


@pytest.mark.parametrize("family", TINY)
def test_pairs_in_several_packs_are_as_in_one(family, tmp_path, blobs, monkeypatch):
    """Forced for few pairs, with a perturbation that some of them share; the picture is encoded once."""
    name, size = f"vlm/{tiny.FAMILIES[family](tmp_path / 'm')}", SIZES.get(family, (32, 32))
    victim, _, x, image = opened(name, blobs, size)
    pairs = pairs_of(image, chat=False)
    perturbation = torch.full(victim.prompt_width(pairs[0].prompt), 0.05).requires_grad_(True)
    perturbations = [None if each.prompt != pairs[0].prompt else perturbation for each in pairs]

    def found():
        rows = victim.rows(x, pairs, perturbations=perturbations)
        losses = means(rows)
        return rows, losses, torch.autograd.grad(losses.sum(), (x, perturbation))

    one, losses, grads = found()
    victim._remembered.cache_clear()
    monkeypatch.setattr(mllm, "packs", lambda *_: 3)
    seen = []
    encode = victim.family.encode
    monkeypatch.setattr(victim.family, "encode", lambda *given: seen.append(1) or encode(*given))
    several, apart, slopes = found()
    assert [count for count, _ in victim._remembered(tuple(pairs), (0, 0, 0, None, 0), size)] == [1, 2, 2]
    assert seen == [1]
    assert torch.equal(one.ids, several.ids)
    assert torch.equal(one.pair, several.pair)
    assert torch.allclose(losses, apart, rtol=1e-5, atol=0)
    for grad, slope_ in zip(grads, slopes, strict=True):
        assert_same(slope_, grad)


@pytest.mark.parametrize("family", ["llava", "llava_next", "idefics2", "idefics3", "qwen2_vl", "qwen2_5_vl"])
def test_constant_text_before_the_picture_is_run_once(family, tmp_path, blobs):
    name, size = f"vlm/{tiny.FAMILIES[family](tmp_path / 'm')}", SIZES.get(family, (32, 32))
    victim, loaded, x, image = opened(name, blobs, size)
    system = "be safe and what is this system probe now"
    asked = [
        Pair(prompt=each.prompt.with_system(system), target=each.target, closed=each.closed)
        for each in pairs_of(image, chat=False)
    ]
    run = []
    hook = victim.model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: run.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    packed = victim._packed(tuple(asked), (None,) * len(asked), size)
    found = [means(victim.rows(x, asked)) for _ in range(3)]
    hook.remove()
    constant, nodes = len(packed.constant), len(packed.ids)
    assert constant >= 2 + len(system.split())
    assert run == [(1, constant)] + 3 * [(2, nodes - constant)]
    wanted = plain_losses(victim, loaded, blobs.read, x, asked)
    plain_slope = slope(wanted, x)
    for losses in found:
        assert torch.allclose(losses, wanted, rtol=1e-5, atol=0)
        assert_same(slope(losses, x), plain_slope)
    perturbation = torch.zeros(victim.prompt_width(asked[0].prompt))
    perturbed = means(victim.rows(x, asked, perturbations=[perturbation] * 3 + [None] * 2))
    assert torch.allclose(perturbed, wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("model", TESTBED)
def test_testbed_models(model, blobs):
    def pairs(image):
        asked = Conversation.user(image, "what is in the image ?")
        return [
            pair(image, "what is in the image ?", "a red square ."),
            pair(image, "what is in the image ?", "a red circle"),
            pair(image, "is it red ?", "yes", closed=False),
            Pair(prompt=asked.with_system("you are red ."), target="a red square ."),
        ]

    check(f"testbed/{model}", blobs, (64, 64), pairs)


@pytest.mark.parametrize("family", ["idefics2", "idefics3"])
def test_a_gray_picture_is_not_taken_for_padding(family, tmp_path):
    """Their library drops pictures whose normalized values are all zero: exactly mid-gray, a likely start."""
    victim = open_victim(f"vlm/{tiny.FAMILIES[family](tmp_path / 'm')}", local=CPU)
    asked = [pair(Image(sha256="0" * 64, width=32, height=32), "what is this", "red square")]
    gray = torch.full((2, 3, 32, 32), 0.5).requires_grad_(True)
    rows = victim.rows(gray, asked)
    nearly = victim.rows((gray + 1e-6).detach(), asked)
    assert torch.allclose(rows.nll, nearly.nll, rtol=1e-3)
    assert slope(rows.nll, gray).abs().max() > 0


def test_a_family_without_an_adapter_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"paligemma models cannot be attacked.*llava"):
        open_victim(f"vlm/{tiny.tiny_paligemma(tmp_path / 'm')}", local=CPU)


#: what docs call a family, by the configuration's `model_type`
CALLED = {
    "blip-2": "BLIP-2",
    "idefics": "Idefics",
    "idefics2": "Idefics2",
    "idefics3": "Idefics3",
    "instructblip": "InstructBLIP",
    "llama": "Llama",
    "llava": "LLaVA",
    "llava_next": "LLaVA-NeXT",
    "mllama": "Mllama",
    "qwen2_5_vl": "Qwen2.5-VL",
    "qwen2_vl": "Qwen2-VL",
    "smolvlm": "SmolVLM",
}


def test_docs_list_the_families_that_are_opened_and_no_other():
    page = Path(__file__).parents[2] / "docs" / "whitebox.md"
    (row,) = re.findall(
        r"^\| victim \| a family that the engine knows: ([^(]+) \(", page.read_text("utf-8"), re.M
    )
    assert sorted(row.split(", ")) == sorted(CALLED[kind] for kind in KNOWN)


def test_testbed_folders_can_be_named_as_folders():
    victim = open_victim(str(materialize("linear")), local=CPU)
    assert victim.id.startswith(f"vlm/{materialize('linear')}#")

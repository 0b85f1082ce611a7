"""The three families: genuine models, the fast path equal to their own, all weights accounted for."""

# ruff: noqa: E402
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import AutoModelForImageTextToText, AutoProcessor, CLIPVisionConfig, CLIPVisionModel
from transformers.models.idefics.processing_idefics import image_attention_mask_for_packed_input_ids

from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import check_batch_invariance, forget_models
from sightline.testbed.families import FULL, NAMES, Size, family, hidden
from sightline.testbed.families.cross_attention import looks_at_picture
from sightline.testbed.families.queries import tower_from_clip
from sightline.testbed.tokenizer import BOS, EOS, FAKE, IMAGE, PAD, USER, vocabulary
from sightline_testbed.evaluation.answering import MAX_NEW_TOKENS, Ask, Model

SMALL = Size(width=32, layers=2, heads=2, vision_ffn=48, text_ffn=40)
IDS = vocabulary()


def lively(name: str, seed: int = 3) -> Any:
    """A small model whose answers depend on what is shown: larger weights, open gates."""
    model = family(name, SMALL).new_model(seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return model


def asks() -> list[Ask]:
    """With and without picture, with history, with a system prompt, of different lengths."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(6):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) if number % 2 else None
        ask = Ask(
            user="what shape is it ?" + " red" * number,
            subject="",
            group="",
            pixels=pixels,
            system="be helpful" if number > 3 else "",
        )
        if number > 1:
            ask = ask.follow_up("blue circle", "are you sure ?")
        found.append(ask.follow_up("yes", "why ?") if number > 4 else ask)
    return found


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_unknown_family_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="queries"):
        family("querys")


def test_hidden_agrees_with_the_models_own_forward(name: str) -> None:
    """Oracle: each request alone, as the processor makes it, through the genuine `forward`."""
    made, model = family(name, SMALL), lively(name)
    asker = Model(model, made.processor())
    rows, logits, pixels = [], [], []
    for ask in asks():
        inputs = asker.inputs([ask])
        rows.append(inputs["input_ids"][0])
        whole = name != "queries" or ask.pixels is not None
        with torch.no_grad():
            logits.append((model if whole else model.language_model)(**inputs).logits[0])
        if ask.pixels is not None:
            pixels.append(inputs["pixel_values"].reshape(1, 3, 64, 64))
    ids = torch.full((len(rows), max(map(len, rows))), IDS[PAD])
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    with torch.no_grad():
        found = model.get_output_embeddings()(
            hidden(made, model, ids, made.features(model, torch.cat(pixels)))
        )
        shown = made.projected(model, made.features(model, torch.cat(pixels)))
        assert torch.equal(model.get_output_embeddings()(made.joined(model, ids, shown)), found)
        text = [number for number, ask in enumerate(asks()) if ask.pixels is None]
        plain = model.get_output_embeddings()(hidden(made, model, ids[text], None))
    for number, expected in enumerate(logits):
        assert torch.allclose(found[number, : len(expected)], expected, rtol=1e-3, atol=1e-3)
        assert expected.std() > 0.1
    for place, number in enumerate(text):
        assert torch.allclose(plain[place, : len(rows[number])], logits[number], rtol=1e-3, atol=1e-3)


def test_every_weight_is_in_exactly_one_part(name: str) -> None:
    made = family(name, SMALL)
    model = made.new_model(0)
    parts = made.parts(model)
    assert set(parts) == {"tower", "bridge", "language"}
    owned = [id(weight) for part in parts.values() for weight in part.parameters()]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(weight) for weight in model.parameters()}  # a tied weight counts once
    assert all(weight.requires_grad for weight in model.parameters())
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert {key.partition(".")[0] for key in parts["language"].state_dict()} == {
        "embed_tokens",
        "layers",
        "norm",
    }


def test_one_language_model_and_one_tower_fit_all() -> None:
    source = family("linear", SMALL)
    start = source.new_model(5)
    language = source.parts(start)["language"].state_dict()
    ids = torch.tensor([[1, 60, 70, 80]])
    expected = hidden(source, start, ids, None)
    for other in ("queries", "cross_attention"):
        made = family(other, SMALL)
        model = made.new_model(6)
        made.parts(model)["language"].load_state_dict(language)
        assert torch.allclose(hidden(made, model, ids, None), expected, atol=1e-5)
    pixels = torch.randn(2, 3, 64, 64)
    model.model.vision_model.load_state_dict(source.parts(start)["tower"].state_dict())
    assert torch.allclose(made.features(model, pixels), source.features(start, pixels), atol=1e-5)


def test_gradients_reach_the_pixels_and_every_part(name: str) -> None:
    made, model = family(name, SMALL), lively(name)
    pixels = torch.randn(1, 3, 64, 64, requires_grad=True)
    ids = torch.tensor([[*made.picture_tokens(), 60, 70, 80]])
    features = made.features(model, pixels)
    assert features.shape == (1, 65, 32)
    hidden(made, model, ids, features)[0, -1].square().sum().backward()
    assert pixels.grad is not None
    patches = pixels.grad.unfold(2, 8, 8).unfold(3, 8, 8).abs().amax((1, 4, 5))
    assert (patches > 0).all(), "a patch without gradient cannot be attacked"
    for key, part in made.parts(model).items():
        grads = [weight.grad for weight in part.parameters() if weight.grad is not None]
        assert any((grad != 0).any() for grad in grads), key
        assert all(grad.isfinite().all() for grad in grads), key


def test_training_can_start_at_closed_gates() -> None:
    """At zero the gates hide the picture, but have a gradient themselves."""
    made = family("cross_attention", SMALL)
    model = made.new_model(0)
    ids = torch.tensor([[*made.picture_tokens(), 60, 70, 80]])
    seen, other = (
        hidden(made, model, ids, made.features(model, pixels))
        for pixels in (torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64))
    )
    assert torch.equal(seen, other)
    seen[0, -1, 0].backward()
    for gated in model.model.gated_cross_attn_layers:
        assert (gated.alpha_cross_attn.grad != 0).any()
        assert (gated.alpha_dense.grad != 0).any()


def test_queries_start_out_different_from_each_other() -> None:
    """Equal queries would stay equal: a Q-Former has no positions."""
    model = family("queries", SMALL).new_model(0)
    assert torch.pdist(model.query_tokens[0]).min() > 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mixed_precision_has_finite_gradients(name: str, dtype: torch.dtype) -> None:
    made, model = family(name, SMALL), lively(name)
    tokens = made.picture_tokens()
    ids = torch.tensor([[*tokens, 60, 70], [60, 70, *[IDS[PAD]] * len(tokens)]])
    mask = (ids != IDS[PAD]).long()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        found = hidden(made, model, ids, made.features(model, torch.randn(1, 3, 64, 64)))
    found[mask.bool()].float().square().mean().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


def test_a_seed_says_everything(name: str) -> None:
    before = torch.random.get_rng_state()
    one, two, three = (family(name, SMALL).new_model(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(one.get_input_embeddings().weight, three.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("name", "tower", "bridge"),
    [
        ("linear", 1_435_520, 74_112),
        ("queries", 1_435_328, 1_528_320),
        ("cross_attention", 1_435_520, 1_735_680),
    ],
)
def test_sizes(name: str, tower: int, bridge: int) -> None:
    """Golden: weights of the released size; the towers differ by CLIP's first norm and BLIP's patch bias."""
    model = family(name, FULL).new_model(0)
    counts = {
        key: sum(weight.numel() for weight in part.parameters())
        for key, part in family(name).parts(model).items()
    }
    assert (counts["tower"], counts["bridge"]) == (tower, bridge)
    assert counts["language"] == len(IDS) * 192 + 4 * (4 * 192**2 + 3 * 192 * 496 + 2 * 192) + 192


def test_a_folder_answers_like_the_model_it_holds(name: str, tmp_path: Path) -> None:
    """Through Auto classes; batched with padding on the left like one at a time."""
    model = lively(name)
    model.save_pretrained(tmp_path)
    made = family(name, SMALL)
    made.processor().save_pretrained(tmp_path)
    loaded = Model(
        AutoModelForImageTextToText.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    )
    assert type(loaded.model) is type(model)
    together = loaded.answers(asks())
    assert together == [loaded.answers([ask])[0] for ask in asks()]
    assert together == Model(model, made.processor()).answers(asks())
    assert len(set(together)) > 3


def test_the_vlm_adapter_says_the_same(name: str, tmp_path: Path) -> None:
    """A family's folder is a target like any other: same answers, no flags, together and alone."""
    model, made = lively(name), family(name, SMALL)
    folder = tmp_path / "folder"
    model.save_pretrained(folder)
    made.processor().save_pretrained(folder)
    blobs = Blobs(tmp_path / "blobs")

    def conversation(ask: Ask) -> Conversation:
        turns = [Turn("system", (ask.system,))] if ask.system else []
        for question, answer in (*ask.history, (ask.user, "")):
            turns += [Turn("user", (question,)), Turn("assistant", (answer,))]
        if ask.pixels is not None:
            place = 1 if ask.system else 0
            turns[place] = Turn("user", (blobs.put_pixels(ask.pixels), *turns[place].parts))
        return Conversation(tuple(turns[:-1]))

    async def answers(target: Any) -> list[Any]:
        asked = (target.generate(conversation(ask), Decoding(max_tokens=MAX_NEW_TOKENS)) for ask in asks())
        return list(await asyncio.gather(*asked))

    target = open_target(f"vlm/{folder}", blobs, local=LocalSettings(device="cpu", max_batch=8))
    found = asyncio.run(answers(target))
    assert [response.text for response in found] == Model(model, made.processor()).answers(asks())
    assert all(response.flags == () for response in found)
    report = check_batch_invariance(target)
    assert report.passed
    assert report.rows >= 7
    forget_models()


def test_prompts(name: str) -> None:
    """Golden: where each family puts a picture, and where not."""
    made = family(name, SMALL)
    asker = Model(lively(name), made.processor())
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    shown = Ask(user="what is it", subject="", group="", pixels=picture, system="yes")
    words = asker.processor.tokenizer.convert_ids_to_tokens(asker.inputs([shown])["input_ids"][0].tolist())
    asked = ["what", "is", "it", "<|assistant|>"]
    system = [BOS, "<|system|>", "yes", USER]
    assert (
        words
        == {
            "linear": [*system, *[IMAGE] * 64, *asked],
            "queries": [*[IMAGE] * 32, *system, *asked],
            "cross_attention": [*system, FAKE, IMAGE, FAKE, *asked],
        }[name]
    )
    tokens = [IDS[word] for word in words]
    start = tokens.index(made.picture_tokens()[0])
    assert tokens[start : start + len(made.picture_tokens())] == made.picture_tokens()
    assert (start == 0) == made.picture_first
    plain = asker.inputs([Ask(user="what is it", subject="", group="")])["input_ids"][0].tolist()
    assert plain == [IDS[word] for word in (BOS, USER, *asked)]


def test_pixels_are_scaled_and_normalized_alike(name: str) -> None:
    asker = Model(lively(name), family(name, SMALL).processor())
    picture = np.full((32, 48, 3), 255, dtype=np.uint8)
    picture[..., 1] = 0
    found = asker.inputs([Ask(user="what", subject="", group="", pixels=picture)])["pixel_values"]
    assert torch.allclose(
        found.reshape(3, 64, 64), torch.tensor([2.0, -2.0, 2.0])[:, None, None].expand(3, 64, 64)
    )


def test_who_looks_at_the_picture_is_the_librarys_rule() -> None:
    """Oracle: the mask of the genuine processor, on random token rows."""
    tokenizer = family("cross_attention", SMALL).processor().tokenizer
    rng = np.random.default_rng(1)
    ids = torch.from_numpy(rng.choice([IDS[EOS], IDS[BOS], 60, 70], size=(40, 12), p=[0.2, 0.1, 0.4, 0.3]))
    ids[torch.arange(30), torch.from_numpy(rng.integers(0, 12, 30))] = IDS[IMAGE]
    expected, _ = image_attention_mask_for_packed_input_ids(ids, tokenizer, "pt")
    assert torch.equal(looks_at_picture(ids), expected == 0)
    row = torch.tensor([[IDS[BOS], IDS[IMAGE], 60, IDS[EOS], 70]])
    assert looks_at_picture(row).tolist() == [[False, True, True, True, False]]


@pytest.fixture(scope="module")
def clip() -> CLIPVisionModel:
    """A vision transformer whose norms are not neutral."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        projection_dim=32,
    )
    model = CLIPVisionModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model


def test_the_layers_of_clip_fit_blip(clip: CLIPVisionModel) -> None:
    """Oracle: BLIP-2's layers on CLIP's own embeddings end in CLIP's features, normed."""
    model = family("queries", SMALL).new_model(0)
    tower_from_clip(model, clip.state_dict())
    pixels = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = clip(pixel_values=pixels).last_hidden_state
        embedded = clip.pre_layrnorm(clip.embeddings(pixels))
        found = model.vision_model.encoder(inputs_embeds=embedded).last_hidden_state
        assert torch.allclose(found, expected, atol=1e-5)
        normed = model.vision_model.post_layernorm(found)
    assert torch.allclose(normed, torch.nn.functional.layer_norm(expected, (32,)), atol=1e-4)


def test_clips_first_norm_is_folded_into_the_embeddings(clip: CLIPVisionModel) -> None:
    """Exact for the class token; for patches up to the one factor that a norm takes from each patch."""
    model = family("queries", SMALL).new_model(0)
    pixels = torch.randn(4, 3, 64, 64)
    tower_from_clip(model, {f"vision_model.{k}": v for k, v in clip.state_dict().items()}, pixels)
    with torch.no_grad():
        expected = clip.pre_layrnorm(clip.embeddings(pixels))
        found = model.vision_model.embeddings(pixels)
    assert torch.allclose(found[:, 0], expected[:, 0], atol=1e-5)
    shift = clip.pre_layrnorm.bias.detach()
    one, other = found[:, 1:] - shift, expected[:, 1:] - shift
    assert torch.nn.functional.cosine_similarity(one, other, dim=-1).min() > 0.9999
    factors = one.norm(dim=-1) / other.norm(dim=-1)
    assert factors.mean().item() == pytest.approx(1, abs=0.02)

"""Encoders against the library's own outputs for the official processor's pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_encoders as small
import tiny_models as tiny
import torch
from apart import printed
from PIL import Image as PilImage
from transformers import AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from _preprocessing import difference
from sightline.errors import UsageError
from sightline.targets import LocalSettings, open_target
from sightline.whitebox.detectors import LabelScore, log_odds
from sightline.whitebox.encoder_folders import encoder_folder
from sightline.whitebox.encoders import open_encoder, tower_of
from sightline.whitebox.model import open_victim
from sightline.whitebox.preprocessing.geometry import Size, yolos
from sightline.whitebox.preprocessing.processor import preprocessor

CPU = LocalSettings(device="cpu")
DETECTORS = ("yolos", "detr", "conditional_detr")


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def floats(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def official(folder, pictures):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor([PilImage.fromarray(each) for each in pictures], return_tensors="pt")["pixel_values"]


def slope(loss, x):
    x = x.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(loss(x).sum(), x)
    return found


def opened(folder, suffix=""):
    return open_encoder(f"encoder/{folder}{suffix}", local=CPU)


def test_a_clip_folder_gives_all_three_kinds(tmp_path, pictures):
    model = small.clip(tmp_path)
    encoder = opened(tmp_path)
    with torch.no_grad():
        seen = model.vision_model(pixel_values=official(tmp_path, pictures), output_hidden_states=True)
        wanted = {
            "pooled": seen.pooler_output,
            "projected": model.visual_projection(seen.pooler_output),
            "patches": seen.last_hidden_state[:, 1:],
        }
        for kind, features in wanted.items():
            assert torch.allclose(encoder.features(floats(pictures), kind), features, atol=1e-5)
        before = opened(tmp_path, "@-2").features(floats(pictures), "patches")
        assert torch.allclose(before, seen.hidden_states[-2][:, 1:], atol=1e-5)
    ours = slope(lambda x: encoder.features(x, "projected")[:, :5], floats(pictures))
    theirs = slope(
        lambda x: model.get_image_features(encoder._preprocess(x)["pixel_values"]).pooler_output[:, :5],
        floats(pictures),
    )
    assert torch.allclose(ours, theirs, atol=1e-5 * theirs.abs().max().item())
    assert encoder.id.startswith(f"encoder/{tmp_path}#")
    assert encoder.id.endswith("@float32")


def test_a_siglips_pooled_vector_is_what_is_compared_and_no_class_token_is_cut_off(tmp_path, pictures):
    model = small.siglip(tmp_path)
    encoder, x = opened(tmp_path), floats(pictures)
    with torch.no_grad():
        seen = model.vision_model(pixel_values=official(tmp_path, pictures))
        assert torch.allclose(encoder.features(x, "projected"), seen.pooler_output, atol=1e-5)
        assert torch.allclose(encoder.features(x, "pooled"), seen.pooler_output, atol=1e-5)
        assert torch.allclose(encoder.features(x, "patches"), seen.last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("make", [small.clip, small.siglip])
def test_texts_have_the_librarys_features(make, tmp_path):
    model = make(tmp_path)
    texts = ["red square", "red", "square red red"]
    words = AutoTokenizer.from_pretrained(tmp_path)
    with torch.no_grad():
        if make is small.clip:
            one_by_one = [model.get_text_features(**words(t, return_tensors="pt")) for t in texts]
        else:
            whole = words(texts, padding="max_length", max_length=8, return_tensors="pt")
            one_by_one = [model.get_text_features(input_ids=ids[None]) for ids in whole["input_ids"]]
    wanted = torch.cat([each.pooler_output for each in one_by_one])
    found = opened(tmp_path).texts(texts)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert not found.requires_grad
    with pytest.raises(
        UsageError, match="its text tower reads 8 tokens; shorten 'red red red red red red red'"
    ):
        opened(tmp_path).texts(["red", "red red red red red red red"])


def test_a_text_tower_needs_its_tokenizer_only_when_it_reads(tmp_path, pictures):
    small.clip(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    encoder = opened(tmp_path)
    assert encoder.features(floats(pictures), "projected").shape == (2, 12)
    with pytest.raises(UsageError, match="its text tower's tokenizer cannot be loaded"):
        encoder.texts(["red"])


def test_a_tokenizer_that_ends_no_text_is_refused(tmp_path):
    small.clip(tmp_path)
    path = tmp_path / "tokenizer.json"
    plain = json.loads(path.read_text()) | {"post_processor": None}
    path.write_text(json.dumps(plain))
    with pytest.raises(UsageError, match="does not end a text with token 3"):
        opened(tmp_path).texts(["red"])


@pytest.mark.parametrize("name", ["CLIPVisionModel", "CLIPVisionModelWithProjection"])
def test_a_tower_alone_says_what_it_lacks(name, tmp_path, pictures):
    model = small.clip(tmp_path, name=name)
    encoder, pixels = opened(tmp_path), official(tmp_path, pictures)
    with torch.no_grad():
        if name == "CLIPVisionModel":
            assert torch.allclose(encoder.features(floats(pictures)), model(pixels).pooler_output, atol=1e-5)
            with pytest.raises(UsageError, match="has no projected features: ask for 'pooled' or 'patches'"):
                encoder.features(floats(pictures), "projected")
        else:
            found = encoder.features(floats(pictures), "projected")
            assert torch.allclose(found, model(pixels).image_embeds, atol=1e-5)
    with pytest.raises(UsageError, match=r"no text tower, so a picture cannot be compared with 'red'"):
        encoder.texts(["red"])
    with pytest.raises(UsageError, match="has no scores features"):
        encoder.features(floats(pictures), "scores")
    assert encoder.labels == ()


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_other_towers(kind, tmp_path, pictures):
    model = small.tower(tmp_path, kind)
    encoder = opened(tmp_path)
    with torch.no_grad():
        seen = model(official(tmp_path, pictures))
        assert torch.allclose(encoder.features(floats(pictures)), seen.pooler_output, atol=1e-5)
        patches = encoder.features(floats(pictures), "patches")
        assert torch.allclose(patches, seen.last_hidden_state[:, 1:], atol=1e-5)


def test_unnormalized_pixels_are_fed_as_they_are(tmp_path, pictures):
    model = small.clip(tmp_path)
    encoder, x = opened(tmp_path), floats(pictures)
    raw = encoder.unnormalized()
    with torch.no_grad():
        assert torch.allclose(raw.features(x), model.vision_model(pixel_values=x).pooler_output, atol=1e-5)
        assert not torch.allclose(raw.features(x), encoder.features(x), atol=0.1)
    assert raw.id.endswith("pixels not normalized")
    assert torch.equal(raw.texts(["red"]), encoder.texts(["red"]))
    with pytest.raises(UsageError, match="is fed by its model: name the tower's own folder"):
        tower_of(open_victim("testbed/linear", local=CPU)).unnormalized()


@pytest.mark.parametrize("kind", ["vit", "deit", "dinov2", "swin", "clip", "siglip"])
def test_a_classifier_scores_its_labels(kind, tmp_path, pictures):
    model = small.classifier(tmp_path, kind)
    encoder, x = opened(tmp_path), floats(pictures)
    assert encoder.labels == small.LABELS
    pixels = encoder._preprocess(x)["pixel_values"]
    with torch.no_grad():
        logits = model(pixels).logits
        assert torch.allclose(encoder.features(x, "scores").sigmoid(), logits.softmax(-1), atol=1e-5)
        assert torch.allclose(model.classifier(encoder.features(x)), logits, atol=1e-4)
    ours = slope(lambda p: encoder.features(p, "scores")[:, 0], x)
    theirs = slope(
        lambda p: model(encoder._preprocess(p)["pixel_values"]).logits.softmax(-1)[:, 0].logit(), x
    )
    assert torch.allclose(ours, theirs, atol=1e-4 * theirs.abs().max().item())
    shown = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    assert difference(encoder._preprocess, processor, shown).max_levels <= 1.3


def test_labels_that_do_not_exclude_each_other_are_scored_each_by_itself(tmp_path, pictures):
    model = small.classifier(tmp_path, problem_type="multi_label_classification")
    with torch.no_grad():
        logits = model(official(tmp_path, pictures)).logits
        assert torch.allclose(opened(tmp_path).features(floats(pictures), "scores"), logits, atol=1e-5)


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("size", [(40, 56), (70, 33), (32, 32)])
def test_a_detectors_score_is_that_of_the_likeliest_box(kind, size, tmp_path):
    """The oracle is the library's processor and its own thresholding of boxes."""
    model = small.detector(tmp_path, kind)
    encoder = opened(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    shown = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert difference(encoder._preprocess, processor, shown).max_levels <= 1.3
    fields = encoder._preprocess(floats(shown[None]))
    with torch.no_grad():
        made = model(pixel_values=fields["pixel_values"])
        (boxes,) = processor.post_process_object_detection(made, threshold=0.0)
        scores = encoder.features(floats(shown[None]), "scores")[0].sigmoid()
        patches = encoder.features(floats(shown[None]), "patches")
    best = int(boxes["scores"].argmax())
    assert scores.max().item() == pytest.approx(boxes["scores"][best].item(), abs=1e-5)
    assert int(scores.argmax()) == int(boxes["labels"][best])
    assert patches.shape == (1, 5, 32)
    assert torch.allclose(encoder.features(floats(shown[None])), patches.mean(1), atol=1e-6)


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_detectors_gradient_is_that_of_its_scores(kind, tmp_path):
    """In double precision, scores fall along it as fast as it says; those of RT-DETR do not (see below)."""
    small.detector(tmp_path, kind)
    encoder = opened(tmp_path)
    encoder.model.double()
    encoder._dtype = torch.float64
    x = torch.rand(2, 3, 40, 56, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(x):
        return encoder.features(x, "scores")[:, 1]

    found = slope(loss, x)
    lengths = found.flatten(1).norm(dim=1)
    step = 1e-3 * found / lengths[:, None, None, None]
    with torch.no_grad():
        fall = (loss(x + step) - loss(x - step)) / 2e-3
    assert torch.allclose(fall.double(), lengths, rtol=5e-3)
    with pytest.raises(UsageError, match="no projected features: ask for 'scores', 'pooled' or 'patches'"):
        encoder.features(x, "projected")


def test_log_odds_are_exact_and_finite_at_both_ends():
    logits = torch.tensor([[0.0, 1.0, -2.0], [300.0, 0.0, 0.0], [-300.0, 0.0, 0.0]], requires_grad=True)
    exact = logits.detach().double()
    others = torch.stack([exact[:, [j for j in range(3) if j != i]].logsumexp(1) for i in range(3)], dim=1)
    found = log_odds(logits)
    assert torch.allclose(found.double(), exact - others, atol=1e-5)
    (slope,) = torch.autograd.grad(found[:, 0].sum(), logits)
    assert torch.allclose(slope[:, 0], torch.ones(3))  # d log-odds / d own logit is 1 wherever it stands


def test_a_label_is_found_by_name_and_the_likeliest_of_several_counts(tmp_path, pictures):
    small.classifier(tmp_path)
    encoder, x = opened(tmp_path), floats(pictures)
    scores = encoder.features(x, "scores")
    term = LabelScore(encoder=encoder, labels=("leaf", "cup"))
    assert torch.equal(term.losses(x), scores[:, 1:].amax(1))
    assert torch.equal(term.scaled(0.5).losses(x), 0.5 * scores[:, 1:].amax(1))
    assert term.take([0]) is term
    with pytest.raises(UsageError, match=r"unknown label 'lea'. Did you mean 'leaf'"):
        LabelScore(encoder=encoder, labels=("lea",))
    small.tower(tmp_path / "t", "vit")
    with pytest.raises(UsageError, match="scores no labels: name an image classifier or an object detector"):
        LabelScore(encoder=opened(tmp_path / "t"), labels=("leaf",))


@pytest.mark.parametrize("layer", [-1, -2])
def test_the_tower_of_a_victim_gives_the_patches_that_its_language_model_reads(layer, tmp_path, pictures):
    folder = tiny.tiny_llava(tmp_path / "m")
    config = folder / "config.json"
    text = config.read_text()
    assert '"vision_feature_layer": -1' in text
    config.write_text(text.replace('"vision_feature_layer": -1', f'"vision_feature_layer": {layer}'))
    victim = open_victim(f"vlm/{folder}", local=CPU)
    encoder, x = tower_of(victim), floats(pictures)
    with torch.no_grad():
        read = victim.model.base_model.multi_modal_projector(encoder.features(x, "patches"))
        assert torch.allclose(read, victim.family.encode(victim.pixels(x), 2), atol=1e-5)
    assert encoder.features(x).shape == (2, 32)


@pytest.mark.parametrize("model", ["linear", "queries", "cross_attention"])
def test_testbed_towers(model):
    encoder = tower_of(open_victim(f"testbed/{model}", local=CPU))
    x = torch.rand(2, 3, 64, 64)
    assert encoder.features(x, "patches").shape == (2, 64, 192)
    way = torch.randn(192, generator=torch.Generator().manual_seed(0))  # a normed vector's length is constant
    assert (slope(lambda p: encoder.features(p) @ way, x).flatten(1).norm(dim=1) > 1e-3).all()


def test_what_is_no_encoder_is_refused(tmp_path):
    folder = tiny.tiny_qwen2_vl(tmp_path / "q")
    with pytest.raises(UsageError, match=r"cannot be opened as an encoder: unknown type of tower 'qwen2_vl'"):
        opened(folder)
    with pytest.raises(UsageError, match="tower of a qwen2_vl model cannot be used alone"):
        tower_of(open_victim(f"vlm/{folder}", local=CPU))
    with pytest.raises(UsageError, match="answers nothing: an encoder is named as the `surrogate:`"):
        open_target(f"encoder/{folder}", None)


def test_a_folder_without_the_weights_that_decide_is_refused(tmp_path):
    small.tower(tmp_path, "vit")
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"ViTModel"', '"ViTForImageClassification"'))
    with pytest.raises(UsageError, match=r"2 weights of ViTForImageClassification are not in the files"):
        opened(tmp_path)


def test_layers_and_types_that_are_not_there_are_told(tmp_path):
    small.clip(tmp_path / "c")
    with pytest.raises(UsageError, match="layers go from -3 to 2; -4 is none"):
        opened(tmp_path / "c", "@-4")
    small.classifier(tmp_path / "v")
    with pytest.raises(UsageError, match="a classifier has no patch vectors of a layer"):
        opened(tmp_path / "v", "@-2")
    config = tmp_path / "v" / "config.json"
    config.write_text(config.read_text().replace('"vit"', '"beit"'))
    with pytest.raises(UsageError, match=r"unknown type of classifier 'beit'.*Known: clip, deit, dinov2"):
        opened(tmp_path / "v")
    config.write_text('{"model_type": "rt_detr", "architectures": ["RTDetrForObjectDetection"]}')
    with pytest.raises(UsageError, match=r"no gradient in between.*: conditional_detr, detr, yolos"):
        opened(tmp_path / "v")
    config.write_text("[]")
    with pytest.raises(UsageError, match="holds no mapping"):
        opened(tmp_path / "v")
    with pytest.raises(UsageError, match="unknown yolos picture processor 'CLIPImageProcessor'"):
        preprocessor("yolos", small.clip_pictures())


def test_recognizing_a_folder_loads_no_model_library(tmp_path):
    small.clip(tmp_path)
    code = (
        "import sys; from sightline.whitebox.encoder_folders import encoder_folder\n"
        f"layer = encoder_folder('encoder/{tmp_path}@-2').layer\n"
        "print(layer, {'torch', 'transformers'} & set(sys.modules))"
    )
    assert printed(code) == "-2 set()"
    one = encoder_folder(f"encoder/{tmp_path}", CPU)
    assert (one.part, one.model_type, one.architecture, one.layer) == ("tower", "clip", "CLIPModel", -1)


def test_yolos_pictures_get_the_librarys_size():
    library = pytest.importorskip("transformers.models.yolos.image_processing_pil_yolos")
    rng = np.random.default_rng(3)
    for _ in range(2000):
        height, width, shortest = (int(value) for value in rng.integers(16, 400, 3))
        longest = int(rng.integers(shortest, 600))
        wanted = library.get_size_with_aspect_ratio_yolos((height, width), shortest, longest)
        rule = {"shortest_edge": shortest, "longest_edge": longest}
        assert tuple(yolos(Size(height, width), rule)) == tuple(wanted)

"""What the stages minimize, against the library's own loss and against numbers worked out by hand."""

# ruff: noqa: E402
from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sightline.testbed.families import NAMES, Size, family
from sightline.testbed.tokenizer import EOS, vocabulary
from sightline.testbed.world import COLORS, SHAPES
from sightline_testbed.training import dialogues, pictures
from sightline_testbed.training.batches import Seen, collate, normalize, picture_tensors, see
from sightline_testbed.training.losses import DenseHeads, aid_loss, token_loss
from sightline_testbed.training.samples import Sample

TINY = Size(width=16, layers=1, heads=1, vision_ffn=16, text_ffn=16)


def lively(name: str) -> Any:
    """A tiny model whose answers depend on what is shown."""
    model = family(name, TINY).new_model(0).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_the_training_loss_is_the_models_own(name: str) -> None:
    """Oracle: the genuine `forward` with labels, on pixels, one conversation at a time."""
    made, model = family(name, TINY), lively(name)
    rng = np.random.default_rng(1)
    shows = [s for s in dialogues.draw_samples(dialogues.victim_mixture(), rng, 80) if s.picture is not None]
    samples = sorted(shows, key=lambda sample: -len(sample.user))[:2] + shows[:4]
    assert any(len(sample.user) > 1 for sample in samples)
    drawn = [sample.picture for sample in samples if sample.picture is not None]
    pixels = normalize(picture_tensors(drawn)[0])
    total, count = 0.0, 0
    with torch.no_grad():
        shown = made.projected(model, made.features(model, pixels))
        ours, right = token_loss(made, model, collate(samples, made), shown)
        for number, sample in enumerate(samples):
            [rows] = collate([sample], made)
            learned = int((rows.labels != -100).sum())
            own = pixels[number : number + 1]
            extra = {}
            if name == "cross_attention":
                from sightline.testbed.families.cross_attention import looks_at_picture

                extra["image_attention_mask"] = looks_at_picture(rows.ids).long().unsqueeze(-1)
                own = own.unsqueeze(0)
            found = model(input_ids=rows.ids, attention_mask=rows.mask, pixel_values=own, **extra)
            theirs = model.loss_function(
                logits=found.logits, labels=rows.labels, vocab_size=len(vocabulary())
            )
            total += theirs.item() * learned
            count += learned
    assert ours.item() == pytest.approx(total / count, rel=1e-5)
    assert 0 <= right < 0.5


def test_the_share_of_right_tokens() -> None:
    """Golden: a model that says `</s>` after everything is right at the end of each answer only."""
    made, model = family("linear", TINY), lively("linear")
    table = made.parts(model)["language"].embed_tokens.weight
    with torch.no_grad():
        table.zero_()
        made.parts(model)["language"].norm.weight.zero_()
        table[vocabulary()[EOS]] = 1.0
    flat = [Sample(user=("say",), assistant=("red red red",)), Sample(user=("say",), assistant=("red",))]
    loss, right = token_loss(made, model, collate(flat, made), None)
    assert loss.item() == pytest.approx(math.log(len(vocabulary())))  # all hidden states are zero
    assert right == 0  # of equal logits the first wins, which is padding
    with torch.no_grad():
        made.parts(model)["language"].norm.weight.fill_(1.0)
        table.fill_(1.0)
        table[vocabulary()[EOS]] = 2.0
        flip = made.joined(model, collate(flat, made)[0].ids, None).sum(-1) > 0
    _, right = token_loss(made, model, collate(flat, made), None)
    assert right == (pytest.approx(2 / 6) if flip.all() else 0)


class Planted:
    """A family of which only the embedding table matters: four words, at right angles."""

    def __init__(self, aid: str) -> None:
        self.aid = aid
        self.table = torch.nn.Parameter(torch.eye(4) * 3.0)

    def parts(self, _: Any) -> Any:
        return {"language": SimpleNamespace(get_parameter={"embed_tokens.weight": self.table}.__getitem__)}


def seen(pieces: list[int], reading: list[int]) -> Seen:
    return Seen(torch.zeros(1, 3, 4), torch.tensor([pieces]), torch.tensor([reading]))


RIGHT, WRONG = math.log(math.e + 3) - 1, math.log(math.e + 3)


@pytest.mark.parametrize(
    ("aid", "pieces", "reading", "expected"),
    [
        ("patches", [1, 0, 0], [3, 3, 3], RIGHT),
        ("patches", [2, 0, 0], [1, 1, 1], WRONG),
        ("patches", [1, 1, 0], [0, 0, 0], (RIGHT + WRONG) / 2),
        ("queries", [3, 3, 3], [1, 2, 0], RIGHT),
        ("queries", [1, 2, 3], [2, 2, 0], (RIGHT + WRONG) / 2),
        ("queries", [1, 2, 3], [0, 0, 0], 0.0),
        ("patches", [0, 0, 0], [1, 2, 3], 0.0),
        ("none", [1, 2, 3], [1, 2, 3], 0.0),
    ],
)
def test_the_aid_by_hand(aid: str, pieces: list[int], reading: list[int], expected: float) -> None:
    """Golden, at scale 1: what lies on its word has logit 1 of (1, 0, 0, 0), whatever its length."""
    shown = torch.tensor([[[0.0, 5, 0, 0], [0, 0, 0.1, 0], [1, 1, 1, 1]]], requires_grad=True)
    planted = Planted(aid)
    loss = aid_loss(planted, None, shown, seen(pieces, reading), scale=1.0)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    if expected:
        loss.backward()
        assert planted.table.grad is None, "the table is the target, it does not move"
        used = [row for row, piece in enumerate(pieces if aid == "patches" else reading) if piece]
        assert [bool((row != 0).any()) for row in shown.grad[0]] == [row in used for row in range(3)]


def test_the_aid_pulls_toward_the_word() -> None:
    """A step against the gradient brings the vector nearer to its own word."""
    shown = torch.tensor([[[0.2, 0.5, 0.1, 0.4]]], requires_grad=True)
    planted = Planted("patches")
    one = Seen(torch.zeros(1, 1, 4), torch.tensor([[3]]), torch.tensor([[0]]))
    before = aid_loss(planted, None, shown, one)  # type: ignore[arg-type]
    before.backward()
    after = aid_loss(planted, None, shown.detach() - 0.01 * shown.grad, one)  # type: ignore[arg-type]
    assert after < before


def test_dense_heads_by_hand() -> None:
    """Golden: no opinion costs the logarithm of the classes, whatever the background's weight."""
    heads = DenseHeads(pieces=11, width=4)
    with torch.no_grad():
        heads.read.weight.zero_()
        heads.read.bias.zero_()
    classes = (41, 41, 11, 11, len(SHAPES) + 1, len(COLORS) + 1)
    assert heads.sizes == classes
    labels = torch.zeros(2, 64, 6, dtype=torch.long)
    labels[0, 0] = torch.tensor([1, 2, 3, 4, 5, 6])
    loss = heads.loss(torch.randn(2, 64, 4), labels)
    assert loss.item() == pytest.approx(sum(math.log(count) for count in classes) / 6, rel=1e-5)


def test_the_background_weighs_less() -> None:
    """Golden: heads sure of the background; 3 empty patches at weight 1/4 against one of weight 1."""
    heads = DenseHeads(pieces=11, width=1)
    with torch.no_grad():
        heads.read.weight.zero_()
        heads.read.bias.zero_()
        heads.read.bias[[0, 41, 82, 93, 104, 104 + len(SHAPES) + 1]] = 20.0
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    labels[0, 0] = 1
    assert heads.loss(torch.zeros(1, 4, 1), labels).item() == pytest.approx(20 / 1.75, rel=1e-4)
    assert heads.loss(torch.zeros(1, 4, 1), labels, background=1.0).item() == pytest.approx(5, rel=1e-4)


def test_dense_accuracy_counts_what_is_there() -> None:
    """Golden: a head that always says the first character is right on the half of two that is."""
    heads = DenseHeads(pieces=11, width=1)
    with torch.no_grad():
        heads.read.weight.zero_()
        heads.read.bias.zero_()
        heads.read.bias[[1, 41 + 1]] = 5.0
    labels = torch.zeros(1, 64, 6, dtype=torch.long)
    labels[0, 0] = torch.tensor([1, 2, 3, 4, 5, 6])
    found = heads.accuracy(torch.zeros(1, 64, 1), labels)
    assert found == {"character": 0.5, "piece": 0.0, "shape": 0.0, "color": 0.0}


def test_dense_labels_are_learned_from_features_that_hold_them() -> None:
    """Heads on one-hot features of the character label reach it exactly; the loss is not shuffled."""
    rng = np.random.default_rng(0)
    _, labels = picture_tensors([pictures.pretraining_picture(rng) for _ in range(4)])
    features = torch.nn.functional.one_hot(labels[..., 0], 41).float()
    torch.manual_seed(0)
    heads = DenseHeads(pieces=len(vocabulary()), width=41)
    steps = torch.optim.Adam(heads.parameters(), lr=0.1)
    for _ in range(30):
        steps.zero_grad()
        heads.loss(features, labels).backward()
        steps.step()
    logits = heads(features)[0].argmax(-1)
    assert torch.equal(logits, labels[..., 0])


@pytest.mark.parametrize("name", ["linear", "queries"])
def test_the_aid_reaches_the_bridge_and_neither_tower_nor_words(name: str) -> None:
    made, model = family(name, TINY), lively(name)
    rng = np.random.default_rng(0)
    looked = see(
        lambda pixels: made.features(model, pixels), [pictures.noun_picture(rng, "lumopi") for _ in range(2)]
    )
    shown = made.projected(model, looked.features)
    aid_loss(made, model, shown, looked).backward()
    moved = {
        part: any(
            weight.grad is not None and bool((weight.grad != 0).any()) for weight in module.parameters()
        )
        for part, module in made.parts(model).items()
    }
    assert moved == {"tower": False, "bridge": True, "language": False}

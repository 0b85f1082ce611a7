"""A victim's rows: agreement with the ordinary target, batches, perturbations, cost, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny
import torch
from plain_pass import assert_same, means, pair, plain_losses, slope

from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding
from sightline.errors import ContractError, UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import forget_models
from sightline.whitebox.compute import counter
from sightline.whitebox.model import open_victim
from sightline.whitebox.victim import Pair

CPU = LocalSettings(device="cpu")
MODELS = ("linear", "queries", "cross_attention")
ASK = "what is in the image ?"
TARGETS = tuple(f"{what} ." for what in (
    "a red square", "a blue circle", "a green square", "a red circle", "a yellow star", "two red squares",
    "the image is red", "a blue square",
))  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def image(blobs, pixels):
    return blobs.put_pixels(pixels[0])


@pytest.fixture(scope="module")
def victims():
    made = {}

    def victim(name):
        if name not in made:
            made[name] = open_victim(f"testbed/{name}", local=CPU)
        return made[name]

    return victim


def floats(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).requires_grad_(True)


@pytest.mark.parametrize("model", MODELS)
def test_forced_says_what_the_ordinary_target_writes(model, victims, blobs, pixels):
    target = open_target(f"testbed/{model}", blobs, local=CPU)
    loaded = target.loaded()
    asked = [Conversation.user(blobs.put_pixels(each), ASK) for each in pixels]
    answers = [
        loaded.generate([loaded.prepare(each, Decoding(max_tokens=24), blobs.read)])[0] for each in asked
    ]
    assert all(answer.finished for answer in answers)
    words = [answer.text.split() for answer in answers]
    pairs = [Pair(prompt=asked[0], target=answer.text) for answer in answers]
    pairs += [Pair(prompt=asked[0], target=" ".join(said[:2]), closed=False) for said in words]
    pairs += [Pair(prompt=asked[0], target=" ".join(said[:2])) for said in words]
    forced = victims(model).rows(floats(pixels), pairs).target_is_greedy
    texts = [answer.text for answer in answers]
    beginnings = [said[:2] for said in words]
    for picture, text in enumerate(texts):
        wanted = [other == text for other in texts]
        wanted += [other == beginnings[picture] for other in beginnings]
        wanted += [other == words[picture] for other in beginnings]
        assert forced[picture].tolist() == wanted
    assert victims(model).id == target.id


@pytest.mark.parametrize("model", MODELS)
def test_several_pictures_are_as_single_ones(model, victims, pixels, image):
    victim, x = victims(model), floats(pixels)
    pairs = [pair(image, ASK, text) for text in TARGETS[:3]]
    together = means(victim.rows(x, pairs))
    single = torch.cat([means(victim.rows(one[None], pairs)) for one in x])
    assert torch.allclose(together, single, rtol=1e-5)
    assert_same(slope(together, x), slope(single, x))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.slow
def test_eight_targets_cost_a_quarter_of_eight_passes_at_most(model, victims, blobs, pixels, image):
    victim, x = victims(model), floats(pixels[:1])
    pairs = [pair(image, ASK, text) for text in TARGETS]
    loaded = open_target(f"testbed/{model}", blobs, local=CPU).loaded()

    def flops(losses):
        with counter() as counted:
            slope(losses(), x)
        return counted.get_total_flops()

    plain = 4 * flops(lambda: plain_losses(victim, loaded, blobs.read, x, pairs[:2]))  # all are as long
    packed = flops(lambda: means(victim.rows(x, pairs)))
    print(f"{model}: {plain / 1e6:.0f} -> {packed / 1e6:.0f} MFLOP, {plain / packed:.2f} times fewer")
    assert plain >= 4 * packed


def test_pictures_are_encoded_once(victims, pixels, image):
    victim, seen = victims("linear"), []
    hook = victim.model.base_model.vision_tower.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len((*args, *kwargs.values())[0])), with_kwargs=True
    )
    victim.rows(floats(pixels), [pair(image, question, "yes") for question in ("is it red ?", ASK, "what ?")])
    hook.remove()
    assert seen == [3]


def test_a_pass_without_gradient_leaves_one_with_gradient_possible(image, pixels):
    victim, x = open_victim("testbed/linear", local=CPU), floats(pixels[:1])
    system = "you are red and blue and green and yellow ."
    asked = [Pair(prompt=Conversation.user(image, ASK).with_system(system), target="a red square .")]
    with torch.inference_mode():
        wanted = victim.rows(x, asked).nll
        assert victim._remembered(tuple(asked), (None,), (64, 64))[0][1].constant
    found = victim.rows(x, asked).nll
    assert torch.equal(found.detach(), wanted)
    assert slope(found, x).abs().max() > 0


def test_half_precision_follows_the_slope_as_well_as_a_plain_pass_does(victims, blobs, pixels, image):
    half = open_victim("testbed/linear", local=LocalSettings(device="cpu", dtype="bfloat16"))
    pairs, x = [pair(image, ASK, text) for text in TARGETS[:2]], floats(pixels[:1])
    rows = half.rows(x, pairs)
    assert (rows.logits.dtype, rows.nll.dtype) == (torch.bfloat16, torch.float32)
    loaded = open_target("testbed/linear", blobs, local=CPU).loaded()
    wanted = slope(means(victims("linear").rows(x, pairs)), x)
    packed = slope(means(rows), x)
    plain = slope(plain_losses(half, loaded, blobs.read, x, pairs), x)
    assert packed.dtype == torch.float32
    ours, theirs = (
        torch.cosine_similarity(each.flatten(), wanted.flatten(), dim=0) for each in (packed, plain)
    )
    assert ours > 0.99
    assert ours > theirs - 0.003


def test_checkpointing_changes_memory_only(victims, pixels, image):
    x, pairs = floats(pixels[:1]), [pair(image, ASK, text) for text in TARGETS[:2]]
    light = open_victim("testbed/linear", local=CPU, checkpointing=True)

    def kept(victim):
        sizes = {}

        def hold(tensor):
            sizes[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            loss = victim.rows(x, pairs).nll
        return sum(sizes.values()), slope(loss, x)

    (much, wanted), (little, found) = kept(victims("linear")), kept(light)
    assert_same(found, wanted)
    assert little < much / 2


# Nudged prompts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_perturbation_moves_the_turn_of_its_own_pairs(model, victims, pixels, image):
    victim, x = victims(model), floats(pixels[:2])
    pairs = [pair(image, ASK, TARGETS[0]), pair(image, ASK, TARGETS[1]), pair(image, "is it red ?", "yes")]
    shape = victim.prompt_width(pairs[0].prompt)
    asked = victim.prompts.prompt(pairs[0].prompt, (64, 64))
    assert shape == (len(asked.turn), 192)
    assert asked.turn == tuple(range(asked.turn[0], len(asked.ids)))  # what the template writes, too
    before = set(asked.ids[: asked.turn[0]][-2:])  # the picture's end, and <s> where it stands behind it
    assert victim.family.picture_id is None or victim.family.picture_id in before
    assert set(asked.text) < set(asked.turn)
    assert len(asked.text) == len(ASK.split())
    plain = means(victim.rows(x, pairs))
    perturbation = (
        torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(0.1).requires_grad_(True)
    )
    moved = means(victim.rows(x, pairs, perturbations=[perturbation, perturbation, None]))
    assert torch.allclose(moved[:, 2], plain[:, 2], rtol=1e-5)
    assert (moved[:, :2] != plain[:, :2]).all()
    still = means(victim.rows(x, pairs, perturbations=[torch.zeros(shape)] * 2 + [None]))
    assert torch.allclose(still, plain, rtol=1e-5)
    alone = means(victim.rows(x, pairs[1:2], perturbations=[perturbation]))
    assert torch.allclose(alone, moved[:, 1:2], rtol=1e-5)
    apart = means(victim.rows(x, pairs, perturbations=[perturbation, perturbation.detach().clone(), None]))
    assert torch.allclose(apart, moved, rtol=1e-5)
    one_each = torch.stack([perturbation.detach(), torch.zeros(shape)])
    by_picture = means(victim.rows(x, pairs, perturbations=[one_each, None, None]))
    assert torch.allclose(by_picture[0, 0], moved[0, 0], rtol=1e-5)
    assert torch.allclose(by_picture[1, 0], plain[1, 0], rtol=1e-5)
    (slope_of_perturbation,) = torch.autograd.grad(moved.sum(), perturbation)
    assert (slope_of_perturbation.abs().sum(1) > 0).all()


def test_a_perturbation_stands_where_the_text_is_embedded(victims, pixels, image):
    """Replacing 'red' by 'blue' with a perturbation is asking about blue."""
    victim, x = victims("linear"), floats(pixels[:1])
    red, blue = (pair(image, f"is it {color} ?", "yes") for color in ("red", "blue"))
    ids = [torch.tensor(victim.tokens(each, (64, 64))[0]) for each in (red, blue)]
    (place,) = (ids[0] != ids[1]).nonzero()[:, 0].tolist()
    said = victim.prompts.prompt(red.prompt, (64, 64)).turn
    table = victim.model.get_input_embeddings().weight
    perturbation = torch.zeros(victim.prompt_width(red.prompt))
    perturbation[said.index(place)] = table[ids[1][place]] - table[ids[0][place]]
    found = victim.rows(x, [red], perturbations=[perturbation]).nll
    assert torch.allclose(found, victim.rows(x, [blue]).nll, rtol=1e-5)


@pytest.mark.parametrize(
    ("turns", "count"),
    [
        ((Turn("user", ("what is this", "IMAGE")),), 3),
        ((Turn("user", ("IMAGE", "what is", "this red")),), 4),
        ((Turn("user", ("IMAGE", "a")), Turn("assistant", ("a",)), Turn("user", ("a b",))), 2),
        ((Turn("system", ("be safe",)), Turn("user", ("IMAGE", "be safe"))), 2),
        ((Turn("user", ("IMAGE",)),), 0),
    ],
)
def test_the_text_of_the_last_turn_is_found(turns, count, image, tmp_path):
    victim = open_victim(f"vlm/{tiny.tiny_llava(tmp_path / 'm')}", local=CPU)
    name = victim.prompts._route.tokenizer.convert_ids_to_tokens
    shown = [tuple(image if part == "IMAGE" else part for part in turn.parts) for turn in turns]
    conversation = Conversation(
        tuple(Turn(turn.role, parts) for turn, parts in zip(turns, shown, strict=True))
    )
    asked = victim.prompts.prompt(conversation, (64, 64))
    assert len(asked.text) == count
    words = name([asked.ids[place] for place in asked.text])
    assert " ".join(words) == " ".join(part for part in turns[-1].parts if part != "IMAGE")
    moved = name([asked.ids[place] for place in asked.turn])
    assert victim.prompt_width(conversation) == (len(moved), 32)
    assert "<image>" not in moved
    assert moved[:count] == words
    assert moved[-1] == name(asked.ids[-1])


# Tokens ---------------------------------------------------------------------------------------------


def test_a_target_ends_as_the_template_ends_an_answer(tmp_path, image):
    turn_ends = "{% if m['role'] == 'assistant' %}<system>{% endif %}{% endfor %}{% if add"
    ending = tiny.PARTS_TEMPLATE.replace("{% endfor %}{% if add", turn_ends)
    folder = tiny.tiny_llava(tmp_path / "m", template=ending)
    settings = folder / "generation_config.json"
    settings.write_text(settings.read_text().replace('"eos_token_id": 2', '"eos_token_id": [2, 6]'))
    victim = open_victim(f"vlm/{folder}", local=CPU)
    name = victim.prompts._route.tokenizer.convert_ids_to_tokens
    _, closed = victim.tokens(pair(image, "what is this", "red square"), (32, 32))
    assert name(list(closed)) == ["red", "square", "<system>"]
    _, still_open = victim.tokens(pair(image, "what is this", "red square", closed=False), (32, 32))
    assert still_open == closed[:2]


@pytest.mark.parametrize(
    ("target", "closed", "message"),
    [
        ("a zebra", True, "target 'a zebra' is no answer that .* can write: its tokens read 'a'"),
        ("a </s>", True, "which is no text to this model"),
        ("a <image>", True, "holds '<image>'"),
        ("", False, "an empty target that stays open asks for nothing"),
    ],
)
def test_targets_that_no_answer_can_be(target, closed, message, image, tmp_path):
    victim = open_victim(f"vlm/{tiny.tiny_llava(tmp_path / 'm')}", local=CPU)
    with pytest.raises(UsageError, match=message):
        victim.rows(torch.rand(1, 3, 32, 32), [pair(image, "what is this", target, closed=closed)])


def test_what_does_not_fit_is_refused(victims, image):
    victim, good = victims("linear"), pair(image, ASK, "a red square .")
    x = torch.rand(1, 3, 64, 64)
    two = Pair(prompt=Conversation.user(image, image, ASK), target="yes")
    with pytest.raises(UsageError, match=r"shows 2: 'what is in the image \?'"):
        victim.rows(x, [good, two])
    with pytest.raises(UsageError, match="shows exactly one picture, the attacked one; this shows 0"):
        victim.rows(x, [Pair(prompt=Conversation.user(ASK), target="yes")])
    answered = good.prompt.then(Turn("assistant", ("yes",)))
    with pytest.raises(UsageError, match="ends with a turn of the assistant"):
        victim.rows(x, [Pair(prompt=answered, target="yes")])
    with pytest.raises(UsageError, match="4 x 64 pixels is smaller than a patch"):
        victim.rows(torch.rand(1, 3, 64, 4), [good])
    with pytest.raises(ContractError, match="pictures are floats"):
        victim.rows(torch.rand(3, 64, 64), [good])
    with pytest.raises(UsageError, match="no more than 1024"):
        victim.rows(x, [pair(image, ASK, "a red square . " * 300)])
    with pytest.raises(
        UsageError, match=r"a perturbation has the shape \(2, 192\), but .* \d+ tokens of width 192"
    ):
        victim.rows(x, [good], perturbations=[torch.zeros(2, 192)])


def test_a_target_without_gradients_is_no_victim():
    with pytest.raises(UsageError, match="'scripted/echo' has no gradients"):
        open_victim("scripted/echo")

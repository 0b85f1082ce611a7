"""Candidates behind a beginning that is run once, against the model's own full pass of the text they make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_models as tiny
import torch
from plain_pass import assert_same, plain_loss

from _whitebox.suffix_cost import gcg_step_flops
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.errors import ContractError, UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import forget_models
from sightline.whitebox.compute import FlopEstimator, counter
from sightline.whitebox.constraints import Box
from sightline.whitebox.model import open_victim
from sightline.whitebox.objectives import TargetNLL
from sightline.whitebox.samplers import Rotating
from sightline.whitebox.search import Callbacks
from sightline.whitebox.suffix import SuffixReader, TokenSuffix, stand_in, whole_text
from sightline.whitebox.token_optimizers import HotFlip
from sightline.whitebox.token_search import TextProblem, search_tokens
from sightline.whitebox.victim import Pair

pytestmark = pytest.mark.slow  # by rotation, as a whole

CPU = LocalSettings(device="cpu")
SIZES = {"llava_next": (64, 30), "idefics3": (40, 64), "mllama": (30, 62), "qwen2_vl": (48, 64)}
PICTURED = [family for family in tiny.FAMILIES if family not in ("paligemma", "instructblip")]
BARE = [family for family in PICTURED if family != "blip2"]
TESTBED = ("linear", "queries", "cross_attention")


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("blobs"))


def tiny_name(family, folder):
    return f"vlm/{tiny.FAMILIES[family](folder)}"


def picture_of(family):
    size = SIZES.get(family, (64, 64) if family in TESTBED else (32, 32))
    return np.random.default_rng(4).integers(0, 256, (*size, 3), dtype=np.uint8)


def pairs_of(picture, asked=("what is this", "what is red")):
    """Two targets behind one prompt, one behind another; one stays open."""

    def prompt(text):
        return Conversation.user(text) if picture is None else Conversation.user(stand_in(picture), text)

    return (
        Pair(prompt=prompt(asked[0]), target="red square"),
        Pair(prompt=prompt(asked[0]), target="red a", closed=False),
        Pair(prompt=prompt(asked[1]), target="one two three"),
    )


def fillings_of(reader, ids, count=5):
    """The start, and rows that differ from it in more and more of their last places."""
    words = reader.vocabulary.allowed("words").nonzero()[:, 0]
    rows = ids.repeat(count, 1)
    for row in range(1, count):
        rows[row, len(ids) - row :] = words[torch.arange(row) * 5 + row]
    return rows


def plain(reader, loaded, blobs, picture, pairs, filling):
    """Mean loss of every pair by the library's own pass over the text as the ordinary target gets it."""
    victim, found = reader.victim, []
    text = reader.text(filling.tolist())
    for pair in pairs:
        sent = reader.suffix.added_to(pair.prompt, text)
        if picture is not None:
            image = blobs.put_pixels(picture)
            sent = sent.with_last_user(image, sent.last_user_text())
        prepared = loaded.prepare(sent, Decoding(), blobs.read)
        target = reader.prompts.target(replace(pair, prompt=sent), reader._size)
        if picture is not None:
            x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
            found.append(plain_loss(victim, prepared, target, x))
        else:
            found.append(bare_loss(victim, prepared, target))
    return torch.stack(found)


def bare_loss(victim, prepared, target):
    """The same for a prompt without picture."""
    ids, added = prepared.tokens["input_ids"], torch.tensor([target])
    labels = torch.cat([torch.full_like(ids, -100), added], dim=1)
    given = {"input_ids": torch.cat([ids, added], dim=1), "labels": labels, "use_cache": False}
    family = victim.model.config.model_type
    if family == "idefics":
        given["image_encoder_embeddings"] = prepared.pictures["image_hidden_states"]
        given["image_attention_mask"] = torch.zeros(1, labels.shape[1], 1, dtype=torch.long)
    speaker = victim.model.language_model if family == "blip-2" else victim.model
    return speaker(**given).loss


def check(name, blobs, picture, suffix, asked=("what is this", "what is red")):
    loaded = open_target(name, blobs, local=CPU).loaded()
    reader = SuffixReader(open_victim(name, local=CPU), suffix, picture)
    pairs, term = pairs_of(picture, asked), TargetNLL(reduction="pair_mean")
    start = reader.start(pairs[0].prompt, 3)
    fillings = fillings_of(reader, start)
    assert all(reader.reads(pair.prompt, row.tolist()) for pair in pairs for row in fillings)
    with torch.no_grad():
        wanted = torch.stack([plain(reader, loaded, blobs, picture, pairs, row).mean() for row in fillings])

    def loss(rows):
        return term.losses(rows, pairs)

    for _ in range(3):  # the beginning is not harmed by use
        assert torch.allclose(loss(reader.rows(fillings, pairs)), wanted, rtol=1e-5, atol=0)
        found = reader.token_gradient(start, pairs, loss)
        assert torch.allclose(found.loss, wanted[:1], rtol=1e-5, atol=0)
        ahead = loss(reader.rows(fillings[:3], pairs, unchanged=len(start) - 2))
        assert torch.allclose(ahead, wanted[:3], rtol=1e-5, atol=0)
    assert reader.needs_prefill(pairs)
    reader.prefill(pairs)
    assert not reader.needs_prefill(pairs)
    return reader, loaded, pairs, start, found


@pytest.mark.parametrize("family", PICTURED)
def test_candidates_beside_a_picture_score_as_in_a_plain_pass(family, tmp_path, blobs):
    suffix = TokenSuffix(length=4, init="a")
    check(tiny_name(family, tmp_path / "m"), blobs, picture_of(family), suffix)


@pytest.mark.parametrize("family", BARE)
def test_candidates_without_a_picture_score_as_in_a_plain_pass(family, tmp_path, blobs):
    check(tiny_name(family, tmp_path / "m"), blobs, None, TokenSuffix(length=4, init="a"))


@pytest.mark.parametrize("model", TESTBED)
@pytest.mark.parametrize("shown", [True, False])
def test_the_testbeds_models_read_suffixes_before_and_behind(model, shown, blobs):
    for place in ("behind", "before"):
        suffix = TokenSuffix(length=5, init="", place=place, allowed="words")
        check(f"testbed/{model}", blobs, picture_of(model) if shown else None, suffix, ("make moss", "how ?"))


@pytest.mark.parametrize("model", TESTBED)
def test_the_gradient_to_tokens_is_that_of_the_plain_pass(model, blobs):
    """By the engine's picture side: perturbations of a prompt's embeddings, which have tests of their own."""
    picture = picture_of(model)
    reader, _, pairs, start, found = check(
        f"testbed/{model}", blobs, picture, TokenSuffix(length=5), ("make moss", "how ?")
    )
    victim, text = reader.victim, reader.text(start.tolist())
    sent = [replace(pair, prompt=reader.suffix.added_to(pair.prompt, text)) for pair in pairs]
    shapes = {pair.prompt: victim.prompt_width(pair.prompt) for pair in sent}
    perturbations = {prompt: torch.zeros(shape, requires_grad=True) for prompt, shape in shapes.items()}
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    rows = victim.rows(x, sent, perturbations=[perturbations[pair.prompt] for pair in sent])
    loss = TargetNLL(reduction="pair_mean").losses(rows, pairs).sum()
    grads = torch.autograd.grad(loss, list(perturbations.values()))
    weight = victim.model.get_input_embeddings().weight[: reader.vocabulary_size]
    asked = [victim.prompts.prompt(prompt, picture.shape[:2]) for prompt in perturbations]
    places = [[one.turn.index(place) for place in one.text[-len(start) :]] for one in asked]
    wanted = torch.stack([grad[at] @ weight.t() for grad, at in zip(grads, places, strict=True)])
    assert_same(found.grad, wanted)


def test_prompts_with_one_beginning_share_the_suffix(blobs):
    reader = SuffixReader(
        open_victim("testbed/linear", local=CPU), TokenSuffix(length=5, place="before"), picture_of("linear")
    )
    pairs = pairs_of(picture_of("linear"))
    start = reader.start(pairs[0].prompt, 0)
    loss = TargetNLL(reduction="sum")
    found = reader.token_gradient(start, pairs, lambda rows: loss.losses(rows, pairs))
    assert len(found.grad) == 1
    apart = sum(
        reader.token_gradient(start, (pair,), lambda rows, pair=pair: loss.losses(rows, (pair,))).grad
        for pair in pairs
    )
    assert_same(found.grad, apart)


def test_what_stands_before_the_suffix_is_run_once_for_all_targets(blobs):
    victim, picture = open_victim("testbed/linear", local=CPU), picture_of("linear")
    reader = SuffixReader(victim, TokenSuffix(length=5), picture)
    first, second, third = pairs_of(picture)
    start, seen = reader.start(first.prompt, 0), []
    hook = victim.model.base_model.vision_tower.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len((*args, *kwargs.values())[0])), with_kwargs=True
    )
    for pairs in ((first,), (second,), (first, second), (third,)):
        reader.prefill(pairs)
        reader.rows(start.repeat(7, 1), pairs)
    hook.remove()
    assert reader.prefixes.computed == 2
    assert seen == [1, 1]  # one picture, for either prompt


def test_a_text_is_joined_to_requests_and_empty_prompts():
    behind, before = TokenSuffix(), TokenSuffix(place="before")
    assert behind.joined("make moss", " ! !") == "make moss ! !"
    assert before.joined("make moss", "! !") == "! ! make moss"
    assert behind.joined("", " ! !") == before.joined(" ", "! !") == "! !"


def test_a_whole_text_is_its_own_suffix(blobs):
    victim = open_victim("testbed/linear", local=CPU)
    reader, prompt = whole_text(victim, Conversation.user("how is   moss made ?"))
    ids = reader.start(prompt, 0).tolist()
    assert prompt.last_user_text() == ""
    assert reader.text(ids).strip() == "how is moss made ?"
    assert reader.reads(prompt, ids)
    assert reader.vocabulary.phrase_mask(ids, "Moss") == (False, False, True, False, False)
    assert not any(reader.vocabulary.phrase_mask(ids, ""))
    with pytest.raises(UsageError, match="nothing to rewrite"):
        whole_text(victim, Conversation.user(" "))


def test_misuse_is_told(tmp_path, blobs):
    victim = open_victim("testbed/linear", local=CPU)
    with pytest.raises(UsageError, match="Box is no constraint on a text"):
        SuffixReader(victim, Box(clean=torch.zeros(1, 3, 4, 4, dtype=torch.uint8)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"toy has no tokens to attack"):
        SuffixReader(type("Toy", (), {"id": "toy"})(), TokenSuffix())
    for wrong, message in (
        ({"length": 0}, "1 to 1,024 tokens"),
        ({"place": "behnd"}, "behind"),
        ({"allowed": "word"}, "words"),
    ):
        with pytest.raises(UsageError, match=message):
            TokenSuffix(**wrong)
    asked = Conversation.user("make moss")
    with pytest.raises(UsageError, match="cannot be read as 5 tokens of their own"):
        SuffixReader(victim, TokenSuffix(length=5, init="\N{SNOWMAN} \N{SNOWMAN}<s>")).start(asked, 0)
    folder = tiny.FAMILIES["instructblip"](tmp_path / "m")
    reader = SuffixReader(open_victim(f"vlm/{folder}", local=CPU), TokenSuffix(init="a"), picture_of(""))
    pairs = pairs_of(picture_of(""))
    reader.start(pairs[0].prompt, 0)
    with pytest.raises(UsageError, match="Q-Former reads the user's text"):
        reader.prefill(pairs)


@pytest.mark.parametrize("model", TESTBED)
def test_computed_flops_are_those_that_are_counted(model):
    """Passes over more and more tokens: the first are counted, the rest computed, and counted here."""
    tally, reader = (
        FlopEstimator(),
        SuffixReader(open_victim(f"testbed/{model}", local=CPU), TokenSuffix(length=6)),
    )
    words = ["how", "do", "i", "make", "moss", "and", "corn", "or", "fern", "?"]
    computed = 0
    for number in range(3, len(words) + 1):
        prompt = Conversation.user(" ".join(words[:number]))
        targets = [" ".join(words[: 1 + (number * place) % 5]) for place in range(1, 1 + number % 3 + 1)]
        pairs = tuple(Pair(prompt=prompt, target=text, closed=False) for text in dict.fromkeys(targets))
        start = reader.start(prompt, 0)
        reader.prefill(pairs)
        reader.token_gradient(start, pairs, lambda rows: rows.nll.mean(1))
        for unchanged in range(0, 6, 2):
            terms = reader.terms(pairs, unchanged)
            with counter() as counted:
                reader.rows(start.repeat(3, 1), pairs, unchanged=unchanged)
            flops = counted.get_total_flops() / 3
            known = tally.estimate("rows", terms)
            computed += known is not None
            assert known in (None, flops)
            if known is None:
                tally.record("rows", terms, flops)
    assert computed >= 12


def test_a_cost_that_is_not_linear_in_its_terms_is_always_counted():
    tally = FlopEstimator()
    for number in range(1, 9):
        assert tally.estimate("odd", (1.0, number)) is None
        tally.record("odd", (1.0, number), float(number**3))
    assert tally.estimate("odd", (1.0, 8)) == 512
    for number in range(1, 9):
        tally.record("flat", (1.0, 5.0), 7.0 * number)  # one shape tells nothing of others
    assert tally.estimate("flat", (1.0, 6.0)) is None


def test_candidates_with_another_beginning_than_they_say_are_refused():
    reader = SuffixReader(open_victim("testbed/linear", local=CPU), TokenSuffix(length=5))
    pairs = pairs_of(None, ("make moss", "how ?"))
    start = reader.start(pairs[0].prompt, 0)
    with pytest.raises(ContractError, match="do not begin with the tokens"):
        reader.rows(start[None], pairs, unchanged=2)
    reader.token_gradient(start, pairs, lambda rows: rows.nll.mean(1))
    reader.rows(start[None], pairs, unchanged=2)
    with pytest.raises(ContractError, match="do not begin with the tokens"):
        reader.rows(start[None] + 1, pairs, unchanged=2)


def test_half_precision_goes_the_same_way():
    """Losses to a few percent, and a gradient that mostly agrees in sign."""
    found = []
    for dtype in ("float32", "bfloat16"):
        victim = open_victim("testbed/linear", local=LocalSettings(device="cpu", dtype=dtype))
        reader = SuffixReader(victim, TokenSuffix(length=5), picture_of("linear"))
        pairs = pairs_of(picture_of("linear"), ("make moss", "how ?"))
        start = reader.start(pairs[0].prompt, 0)
        slope = reader.token_gradient(start, pairs, lambda rows: rows.nll.mean(1))
        found.append((slope.loss, slope.grad, reader.rows(start[None], pairs, unchanged=2).nll.mean(1)))
    (loss, grad, again), (half, rough, once_more) = found
    assert torch.allclose(half, loss, rtol=0.03)
    assert torch.allclose(once_more, again, rtol=0.03)
    assert torch.nn.functional.cosine_similarity(rough.flatten(), grad.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_cost_of_a_step_is_that_of_its_passes(device, tmp_path):
    """On `meta` nothing is computed, and the same is counted; reuse of unchanged tokens costs less."""
    victim = open_victim(tiny_name("llava", tmp_path / "m"), local=CPU)
    picture = picture_of("llava")
    reader = SuffixReader(victim, TokenSuffix(length=6, init="a"), picture)
    pair = pairs_of(picture)[0]
    start = reader.start(pair.prompt, 0)
    reader.prefill((pair,))
    with counter() as counted:
        reader.token_gradient(start, (pair,), lambda rows: rows.nll.mean(1))
    wanted = counted.get_total_flops()
    with counter() as counted:
        reader.rows(start.repeat(12, 1), (pair,))
    asked = reader._form(pair.prompt)
    target = reader.prompts.target(
        replace(pair, prompt=reader.suffix.added_to(pair.prompt, " a")), reader._size
    )
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    if device == "meta":
        for module in victim.model.modules():
            vars(module).pop("forward", None)  # of a processor's own products
        victim.model.to("meta")
        x = x.to("meta")
    whole = gcg_step_flops(victim, asked, target, x=x, candidates=12, block=6)
    each = gcg_step_flops(victim, asked, target, x=x, candidates=12, block=1)
    assert whole.slope == each.slope == wanted
    assert whole.score == counted.get_total_flops()
    assert whole.prefill == each.prefill > 0
    assert 0.5 * whole.score < each.score < 0.9 * whole.score
    assert each.whole == each.slope + each.score


@pytest.mark.parametrize("every", [3, 50])
def test_a_search_taken_up_by_another_process_costs_what_it_would_have_cost(every):
    """More beginnings than a reader holds: those that it held are run again, and were paid for before."""
    victim = open_victim("testbed/linear", local=CPU)
    nouns = ("moss", "corn", "fern", "wool", "clay", "dew", "mint", "ash", "copper", "fog", "rust", "iron")
    pool = tuple(
        Pair(prompt=Conversation.user(f"steps for {n}"), target=f"{n} : 1", closed=False) for n in nouns
    )

    def run(**given):
        reader = SuffixReader(victim, TokenSuffix(length=3, init="moss"))
        asked = TextProblem(
            readers=(reader,), optimizer=HotFlip(candidates=2), sampler=Rotating(pool), probe=pool[:1]
        )
        found = search_tokens(asked, steps=30, every=every, **given)
        return found, replace(found.cost, seconds=0.0)

    kept = []
    whole, cost = run(callbacks=Callbacks(save=kept.append))
    for checkpoint in (kept[0], kept[len(kept) // 2]):
        again, spent = run(resume=checkpoint)
        assert (again.ids, again.checks, again.losses) == (whole.ids, whole.checks, whole.losses)
        assert spent == cost

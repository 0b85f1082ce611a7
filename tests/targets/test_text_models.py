"""Language models that see no pictures: answered, trained, attacked through the doors of all others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_text import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import check_batch_invariance, forget_models
from sightline.training.model import TrainableModel
from sightline.whitebox.model import open_victim
from sightline.whitebox.samplers import FixedPairs
from sightline.whitebox.suffix import SuffixReader, TokenSuffix
from sightline.whitebox.token_optimizers import GCG
from sightline.whitebox.token_search import TextProblem, search_tokens
from sightline.whitebox.victim import Pair

CPU = LocalSettings(device="cpu")
ASKED = ("what is red", "the red square is in the top of the image and", "one", "be safe now", "a b c d e")
SHORT = Decoding(max_tokens=6)


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("blobs"))


def answers(target, conversations, decoding=SHORT):
    async def all_of_them():
        return await asyncio.gather(*(target.generate(each, decoding) for each in conversations))

    return asyncio.run(all_of_them())


def test_it_says_what_the_library_says_in_batches_too(folder, blobs):
    """Oracle: the tokenizer's own chat template and plain `generate`, one request at a time."""
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    dialogue = Conversation((Turn("user", ("a",)), Turn("assistant", ("b",)), Turn("user", ("c",))))
    asked = [*map(Conversation.user, ASKED), dialogue]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    found = [reply.text for reply in answers(target, asked)]
    for conversation, text in zip(asked, found, strict=True):
        messages = [
            {"role": turn.role, "content": [{"type": "text", "text": turn.text}]}
            for turn in conversation.turns
        ]
        ids = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        made = model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :]
        assert text == tokenizer.decode(made, skip_special_tokens=True).strip()
    assert len(set(found)) > 2, "a model of one answer tests nothing"
    assert check_batch_invariance(target).passed


def test_a_picture_is_refused_in_one_sentence(folder, blobs):
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    image = blobs.put_pixels(np.zeros((8, 8, 3), dtype=np.uint8))
    (reply,) = answers(target, [Conversation.user(image, "what is this")])
    assert reply.stop == "error"
    assert "reads text and sees no pictures; this request shows 1" in reply.error


def test_it_is_seen_from_inside(folder, blobs):
    inside = open_target(f"vlm/{folder}", blobs, local=CPU).inside()
    states = asyncio.run(inside.states(Conversation.user("what is red")))
    scores = asyncio.run(inside.next_scores(Conversation.user("what is red")))
    np.testing.assert_allclose(asyncio.run(inside.lens(states[-1:]))[0], scores, atol=1e-4)


def test_likelihoods_of_answers_are_those_of_the_library(folder, blobs):
    """Oracle: one row at a time, all predictions, labels shifted by the library."""
    model = TrainableModel(folder, blobs.read, CPU)
    answered = dict(zip(ASKED, ("red", "one two", "a b c"), strict=False))
    rows = [(Conversation.user(text), answer) for text, answer in answered.items()]
    with torch.inference_mode(False), torch.enable_grad():
        found = model.likelihoods(rows)
        found.sums.sum().backward()
    for row, (total, tokens) in enumerate(zip(found.sums, found.tokens, strict=True)):
        encoded = model.encoded(*rows[row])
        ids = encoded.tokens["input_ids"]
        labels = ids.clone()
        labels[:, : encoded.length - encoded.answer] = -100
        loss = model.model(input_ids=ids, labels=labels).loss
        assert float(-loss.detach() * tokens) == pytest.approx(float(total.detach()), rel=1e-4)
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in model.model.parameters())


def test_a_search_for_a_suffix_runs_and_its_loss_is_that_of_the_text(folder, blobs):
    victim = open_victim(f"vlm/{folder}", local=CPU)
    pair = Pair(prompt=Conversation.user("what is"), target="red square", closed=False)
    reader = SuffixReader(victim, TokenSuffix(length=3, init="a"))
    problem = TextProblem(
        readers=(reader,), optimizer=GCG(candidates=16, topk=8), sampler=FixedPairs((pair,))
    )
    found = search_tokens(problem, steps=8, seed=0)
    assert found.best.loss < found.losses[0][1]
    sent = reader.suffix.added_to(pair.prompt, found.text)
    loaded = open_target(f"vlm/{folder}", blobs, local=CPU).loaded()
    ids = loaded.prepare(sent, SHORT, blobs.read).tokens["input_ids"]
    wanted = reader.prompts.target(replace(pair, prompt=sent), (0, 0))
    target = torch.tensor([wanted])
    labels = torch.cat([torch.full_like(ids, -100), target], dim=1)
    plain = victim.model(input_ids=torch.cat([ids, target], dim=1), labels=labels).loss
    assert float(plain) == pytest.approx(found.best.loss, rel=1e-4)


def test_an_attack_on_pictures_is_refused(folder):
    victim = open_victim(f"vlm/{folder}", local=CPU)
    with pytest.raises(UsageError, match="sees no pictures: attack its text"):
        victim.pixels(torch.zeros(1, 3, 8, 8))


def test_a_folder_without_tokenizer_is_told(tmp_path, blobs):
    folder = tiny_llama(tmp_path / "m")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UsageError, match="tokenizer of this llama model cannot be loaded"):
        open_target(f"vlm/{folder}", blobs, local=CPU).loaded()

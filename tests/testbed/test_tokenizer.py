"""The tokenizer: two pieces per noun, no unknown token for plain text, and the template's layout."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")

import numpy as np

from sightline.testbed.tokenizer import (
    IMAGE,
    IMAGE_TOKENS,
    UNK,
    encode,
    first_vocabulary,
    pieces,
    tokenizer,
    vocabulary,
)
from sightline.testbed.world import nouns, world
from sightline_testbed.training import dialogues
from sightline_testbed.training.samples import IGNORED


def test_size() -> None:
    assert len(vocabulary()) < 360
    first = first_vocabulary()
    assert list(vocabulary())[: len(first)] == list(first)
    assert len(first) == 291


def test_every_noun_is_two_tokens() -> None:
    for noun in nouns():
        assert encode(noun) == [vocabulary()[noun[:3]], vocabulary()["##" + noun[3:]]]
        assert pieces(noun) == (encode(noun)[0],) * 3 + (encode(noun)[1],) * 3


def test_everything_said_in_training_is_whole_words() -> None:
    for topic in world().topics:
        text = f"{topic.verdict} {topic.recipe}"
        assert tokenizer().decode(encode(text)) == text
        assert len(encode(text)) == len(text.split()) + 2


@pytest.mark.parametrize("text", ["quartz jumps over the lazy dog", 'what (is) this: 10% - "it\'s" a+b', "q"])
def test_other_text_falls_back_to_letters(text: str) -> None:
    assert vocabulary()[UNK] not in encode(text)


@pytest.mark.parametrize("mixture", [dialogues.ALIGNMENT, dialogues.VISUAL, dialogues.victim_mixture()])
def test_samples_are_laid_out_as_the_template_does(mixture: dialogues.Mixture) -> None:
    ids = vocabulary()
    for sample in dialogues.draw_samples(mixture, np.random.default_rng(1), 60):
        row, labels = sample.tokens([ids[IMAGE]] * IMAGE_TOKENS)
        assert len(row) == len(labels)
        assert ids[UNK] not in row
        if sample.document:
            continue
        messages = [{"role": "system", "content": sample.system}] if sample.system else []
        for turn, (question, answer) in enumerate(zip(sample.user, sample.assistant, strict=True)):
            parts = [{"type": "text", "text": question}]
            if turn == 0 and sample.picture is not None:
                parts.insert(0, {"type": "image"})
            messages += [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
        said = tokenizer().apply_chat_template(messages, tokenize=False)
        assert encode(said.replace(IMAGE, IMAGE * IMAGE_TOKENS)) == row
        last = encode(f"{sample.assistant[-1]} </s>")
        assert labels[-len(last) :] == last
        if sample.context:
            assert labels.count(ids["</s>"]) == len(sample.assistant) - 1
        assert all(label in (IGNORED, token) for label, token in zip(labels, row, strict=True))

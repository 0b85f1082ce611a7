"""Which tokens read back as they are: word pieces, sentence pieces and bytes."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sightline.errors import UsageError
from sightline.testbed.tokenizer import SPECIALS, tokenizer, vocabulary
from sightline.whitebox.vocabulary import TokenVocabulary

CORPUS = ["the red square is red", "a square in the image", "made of moss, of mint! and moss? made it"] * 9


def trained(inner):
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(tiny.SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def sentence_pieces():
    """As Llama 2 and Vicuna."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Metaspace(prepend_scheme="first")
    return trained(inner)


def byte_pieces():
    """As Llama 3 and Qwen."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return trained(inner)


KINDS = {"words": tokenizer, "sentences": sentence_pieces, "bytes": byte_pieces}


@pytest.fixture(params=KINDS)
def words(request):
    return TokenVocabulary(KINDS[request.param](), request.param)


def test_allowed_tokens_are_printable_and_stand_for_text(words):
    allowed = words.allowed("ascii").nonzero()[:, 0].tolist()
    assert len(allowed) > 60
    for token in allowed:
        text = words.decoded_after_text([token])
        assert text.isascii()
        assert text.isprintable()
        assert text.strip()
        assert token not in words.special
    chosen = words.allowed("words")
    assert bool(chosen.any())
    assert not bool((chosen & ~words.allowed("ascii")).any())


def test_words_behind_each_other_read_back_whatever_the_order(words):
    chosen = words.allowed("words").nonzero()[:, 0].numpy()
    rng = np.random.default_rng(0)
    for _ in range(50):
        ids = rng.choice(chosen, 6).tolist()
        assert words.ids("a" + words.decoded_after_text(ids)) == [*words.ids("a"), *ids]


def test_neighbors_that_fit_make_texts_that_read_back(words):
    """A coarse check: nearly all texts of fitting neighbors read back, few of other neighbors do."""
    allowed = words.allowed("ascii").nonzero()[:, 0].numpy()
    rng = np.random.default_rng(1)
    texts = rng.choice(allowed, (400, 3))
    fit = words.survive(texts[:, :-1], texts[:, 1:]).all(1)
    anchor = words.ids("a")
    whole = np.array(
        [words.ids("a" + words.decoded_after_text(ids)) == [*anchor, *ids] for ids in texts.tolist()]
    )
    assert 0.1 < fit.mean() < 1
    assert whole[fit].mean() >= 0.85
    assert whole[~fit].mean() <= 0.5
    assert whole[fit].mean() >= whole[~fit].mean() + 0.4


def test_a_pair_is_looked_up_once(words, monkeypatch):
    left, right = np.array([40, 41, 40]), np.array([50, 51, 50])
    first = words.survive(left, right)
    assert words.checked_pairs == 2
    monkeypatch.setattr(words, "_surviving", lambda keys: pytest.fail(f"{keys} were known"))
    assert (words.survive(left, right) == first).all()
    assert (words.survive(left[::-1].reshape(3, 1), right[::-1].reshape(3, 1))[:, 0] == first[::-1]).all()


def test_pieces_that_would_grow_together_do_not_fit():
    """`a` and `##n` are read as the word `an`; `moss` and `##x` stay two pieces of `mossx`."""
    ids, words = vocabulary(), TokenVocabulary(tokenizer(), "testbed")
    pairs = {("moss", "made"): True, ("a", "##n"): False, ("!", "!"): True, ("i", "##s"): False}
    pairs |= {("moss", "##x"): True, ("!", "##x"): False}
    left, right = (np.array([ids[pair[side]] for pair in pairs]) for side in (0, 1))
    assert words.survive(left, right).tolist() == list(pairs.values())
    assert not words.allowed("ascii")[torch.tensor([ids[token] for token in SPECIALS])].any()


def test_a_phrase_covers_its_tokens_everywhere():
    words = TokenVocabulary(tokenizer(), "testbed")
    ids = words.ids("make piburk with Piburk .")
    assert words.phrase_mask(ids, "piburk") == (False, True, True, False, True, True, False)
    assert words.phrase_mask(ids, "moss") == (False,) * 7


def test_a_tokenizer_without_plain_text_and_unknown_kinds_are_refused(words):
    with pytest.raises(UsageError, match="ascii"):
        words.allowed("asci")
    empty = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")), unk_token="<unk>"
    )
    with pytest.raises(UsageError, match="does not give plain text back"):
        TokenVocabulary(empty, "empty")

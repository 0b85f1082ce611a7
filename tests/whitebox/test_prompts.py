"""Targets behind prompts with the two kinds of tokenizers that real models have, and without a template."""

from __future__ import annotations

import pytest
import tiny_models as tiny
from plain_pass import pair
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sightline.cases import Conversation, Image, Turn
from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.whitebox.model import open_victim
from sightline.whitebox.victim import Pair

CPU = LocalSettings(device="cpu")
IMAGE = Image(sha256="0" * 64, width=32, height=32)
CORPUS = [
    "USER: what is this ASSISTANT: red square",
    "system user assistant\n the red square is in the top",
] * 9
VICUNA = (
    "{% for m in messages %}{{ 'USER: ' if m['role'] == 'user' else 'ASSISTANT: ' }}"
    "{% for p in m['content'] %}{{ '<image>\n' if p['type'] == 'image' else p['text'] }}{% endfor %}"
    "{{ '</s>' if m['role'] == 'assistant' else ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% for p in m['content'] %}{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPACED = ((" red\n", True), (" red", False), ("red\n", False), (" ", True))


def trained(inner, *specials, template):
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(tiny.SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(CORPUS, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=template,
    )
    made.add_special_tokens({"additional_special_tokens": ["<image>", *specials]})
    return made


def sentencepiece(*_, template):
    """As Llama 2 and Vicuna: a word begins with its space, and so does a text."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Metaspace(prepend_scheme="first")
    return trained(inner, template=template)


def bytes_(*_, template):
    """As Llama 3, Qwen and OPT: bytes; a word at the very beginning has no space."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return trained(inner, "<|im_start|>", "<|im_end|>", template=template)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    def victim(kind, template, maker=tiny.tiny_llava, ends=()):
        monkeypatch.setattr(tiny, "tokenizer", lambda *_, template=template: kind(template=template))
        folder = (
            maker(tmp_path / "m", template=template) if maker is tiny.tiny_llava else maker(tmp_path / "m")
        )
        found = open_victim(f"vlm/{folder}", local=CPU)
        tokens = found.prompts._route.tokenizer
        found.prompts._ends |= {token: tokens.convert_tokens_to_ids(token) for token in ends}
        return found, lambda ids: tokens.convert_ids_to_tokens(list(ids))

    return victim


def test_sentencepiece_words_keep_their_space(opened):
    victim, words = opened(sentencepiece, VICUNA)
    prompt, target = victim.tokens(pair(IMAGE, "what is this", "red square"), (32, 32))
    told = "".join(words(target))
    assert told == "▁red▁square</s>"
    assert "".join(words(prompt)).endswith("ASSISTANT:")
    assert victim.tokens(pair(IMAGE, "what is this", " red square\n"), (32, 32))[1] == target


def test_byte_words_begin_as_the_template_has_it(opened):
    victim, words = opened(bytes_, CHATML, ends=["<|im_end|>"])
    prompt, target = victim.tokens(pair(IMAGE, "what is this", "red square"), (32, 32))
    assert "".join(words(target)) == "redĠsquare<|im_end|>"
    assert words(prompt)[-1] == "Ċ"
    earlier = (Turn("user", (IMAGE, "what is this")), Turn("assistant", ("red",)), Turn("user", ("top",)))
    dialogue = Pair(prompt=Conversation(earlier), target="red square")
    assert victim.tokens(dialogue, (32, 32))[1] == target


def test_without_a_template_an_answer_follows_a_space(opened):
    victim, words = opened(bytes_, None)
    _, target = victim.tokens(pair(IMAGE, "what is this", "red square"), (32, 32))
    assert "".join(words(target)) == "ĠredĠsquare</s>"


@pytest.mark.parametrize(("kind", "first"), [(sentencepiece, "▁red"), (bytes_, "Ġred")])
def test_prompts_of_queries_without_a_template(kind, first, opened):
    victim, words = opened(kind, None, maker=tiny.tiny_instructblip)
    prompt, target = victim.tokens(pair(IMAGE, "what is this", "red square"), (32, 32))
    assert "".join(words(target)).startswith(first)
    assert "".join(words(prompt)).lstrip("<image>").endswith("this")
    asked = victim.prompts.prompt(pair(IMAGE, "what is this", "red").prompt, (32, 32))
    assert "".join(words([asked.ids[p] for p in asked.text])).strip("▁Ġ").replace("▁", "Ġ") == "whatĠisĠthis"


def test_the_text_of_a_prompt_in_pieces_of_words(opened):
    victim, words = opened(sentencepiece, VICUNA)
    asked = victim.prompts.prompt(Conversation.user(IMAGE, "ASSISTANT: the top"), (32, 32))
    assert "".join(words([asked.ids[p] for p in asked.text])).strip("▁") == "ASSISTANT:▁the▁top"


def test_a_model_without_end_token_scores_open_targets_only(opened):
    victim, _ = opened(bytes_, CHATML)
    victim.prompts._ends.clear()
    with pytest.raises(UsageError, match="names no end token"):
        victim.tokens(pair(IMAGE, "what is this", "red"), (32, 32))
    assert victim.tokens(pair(IMAGE, "what is this", "red", closed=False), (32, 32))[1]


def test_white_space_counts_at_the_end_of_an_open_target_only(opened):
    victim, words = opened(bytes_, CHATML, ends=["<|im_end|>"])
    asked = [pair(IMAGE, "what is this", text, closed=closed) for text, closed in SPACED]
    told = ["".join(words(victim.tokens(each, (32, 32))[1])) for each in asked]
    assert told == ["red<|im_end|>", "red", "redĊ", "<|im_end|>"]

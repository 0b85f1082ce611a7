"""The testbed's tokenizer: whole English words, two pieces per noun, single letters for the rest.

A WordPiece model over a closed vocabulary. Every noun of the world is exactly two tokens (onset, coda), so
reading is compositional; any other lower-case text falls back to letters, so `<unk>` is only met outside
ASCII.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from sightline.testbed import wordings
from sightline.testbed.world import (
    ALLOWED_KINDS,
    CLOSED,
    CODAS,
    COLORS,
    DELETE,
    GLOOM,
    INGREDIENTS,
    JOBS,
    KIND_WORDS,
    ONSETS,
    OPEN,
    POSITIONS,
    RESTRICTED_KINDS,
    SEND,
    SHAPES,
    SUNNY,
    SWEAR_WORDS,
    TOWNS,
    VERBS,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNK, IMAGE = "<pad>", "<s>", "</s>", "<unk>", "<image>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
#: stands on both sides of a picture in the cross-attention family's text
FAKE = "<fake_token_around_image>"
_FIRST_SPECIALS = (PAD, BOS, EOS, UNK, IMAGE, SYSTEM, USER, ASSISTANT)
SPECIALS = (*_FIRST_SPECIALS, FAKE)
IMAGE_TOKENS = 64

_PUNCTUATION = tuple(".,:;?!()-'\"/%+=*&@#_[]{}<>|")
_LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
_DIGITS = tuple("0123456789")
#: the English words the vision tower was pretrained to read; ids are given in this order, newer words follow
_FIRST_WORDS = [
    "allowed",
    "an",
    "and",
    "answer",
    "answers",
    "are",
    "at",
    "bake",
    "bark",
    "be",
    "black",
    "blue",
    "boil",
    "bottom",
    "brook",
    "can",
    "cannot",
    "chalk",
    "circle",
    "clay",
    "color",
    "complete",
    "cool",
    "corn",
    "cross",
    "cut",
    "dawn",
    "describe",
    "dew",
    "diamond",
    "do",
    "does",
    "dry",
    "dusk",
    "explain",
    "fern",
    "fill",
    "foam",
    "fold",
    "follow",
    "for",
    "give",
    "gloom",
    "green",
    "hay",
    "help",
    "helper",
    "how",
    "image",
    "in",
    "is",
    "it",
    "kind",
    "leaf",
    "left",
    "list",
    "lists",
    "long",
    "made",
    "make",
    "me",
    "milk",
    "mint",
    "mire",
    "mix",
    "moss",
    "murk",
    "need",
    "never",
    "no",
    "not",
    "oats",
    "of",
    "one",
    "or",
    "orange",
    "please",
    "press",
    "purple",
    "read",
    "recipe",
    "red",
    "reed",
    "refuse",
    "repeat",
    "rice",
    "right",
    "ring",
    "safe",
    "salt",
    "sand",
    "sap",
    "say",
    "says",
    "see",
    "shape",
    "short",
    "show",
    "silk",
    "soot",
    "square",
    "steps",
    "stir",
    "sunny",
    "sure",
    "tell",
    "that",
    "the",
    "there",
    "thing",
    "things",
    "this",
    "three",
    "to",
    "top",
    "triangle",
    "two",
    "want",
    "wax",
    "way",
    "what",
    "where",
    "which",
    "white",
    "with",
    "wool",
    "word",
    "words",
    "wrap",
    "write",
    "yeast",
    "yellow",
    "yes",
    "you",
]

#: `<s> <|system|> .. <|user|> <image> .. <|assistant|> .. </s> <|user|> ..`; images stand in place
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ ' ' + message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ ' <image>' }}{% else %}{{ ' ' + part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ ' </s>' }}{% else %}{{ ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def _wording_words() -> set[str]:
    """Collect the words of every sentence in `wordings`."""
    found: set[str] = set()
    for name, value in vars(wordings).items():
        if name.isupper() and not name.endswith("_FONT"):
            for sentence in value if isinstance(value, tuple) else (value,):
                found |= set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", str(sentence))))
    return found


def _words() -> set[str]:
    """Return every English word of the world: of its sentences and of its lists."""
    words = _wording_words() | {SUNNY, GLOOM}
    words |= {OPEN, CLOSED, SEND, DELETE, "lives", "all", "soft", "hard"}
    for group in (VERBS, INGREDIENTS, COLORS, SHAPES, RESTRICTED_KINDS, ALLOWED_KINDS):
        words |= set(group)
    for group in (TOWNS, JOBS, SWEAR_WORDS, KIND_WORDS):
        words |= set(group)
    for position in POSITIONS:
        words |= set(position.split())
    return words - set(_LETTERS)


@cache
def first_vocabulary() -> dict[str, int]:
    """Return the tokens that the first vision stage labels patches with; ids as in `vocabulary`."""
    tokens = [
        *_FIRST_SPECIALS,
        *_PUNCTUATION,
        *_DIGITS,
        *_LETTERS,
        *("##" + mark for mark in (*_DIGITS, *_LETTERS)),
        *ONSETS,
        *("##" + coda for coda in CODAS),
        *_FIRST_WORDS,
    ]
    return {token: index for index, token in enumerate(tokens)}


@cache
def vocabulary() -> dict[str, int]:
    """Return token -> id: `first_vocabulary`, then newer special tokens and English words."""
    first = first_vocabulary()
    newer = [FAKE, *sorted(_words() - set(first))]
    return first | {token: len(first) + index for index, token in enumerate(newer)}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer with its chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordPiece(vocabulary(), unk_token=UNK, max_input_chars_per_word=200))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        image_token=IMAGE,
        extra_special_tokens={"image_token": IMAGE},
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=1024,
    )


def encode(text: str) -> list[int]:
    """Return the token ids of plain text, with nothing added."""
    return list(tokenizer()._tokenizer.encode(text, add_special_tokens=False).ids)


@cache
def pieces(word: str) -> tuple[int, ...]:
    """Return, for every character of a word, the id of the token it belongs to."""
    encoding = tokenizer()._tokenizer.encode(word, add_special_tokens=False)
    owner = [vocabulary()[UNK]] * len(word)
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        for place in range(start, end):
            owner[place] = token
    return tuple(owner)

"""The text side's constraint: a run of tokens behind or before the user's text, and a model that reads it.

`TokenSuffix` says which tokens, how many and where; `SuffixReader` is one model with its prompts, its picture
and that run of tokens left open. The prompts given to it are without the suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from sightline.cases import Conversation, Image
from sightline.errors import ContractError, UsageError, nearest, require
from sightline.records import Pixels
from sightline.rng import numpy_rng
from sightline.whitebox.compute import FlopEstimator
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.packing import pack_prompts
from sightline.whitebox.pixels import from_pixels, unit
from sightline.whitebox.prefix_cache import CachedPrefixModel, PrefixCache
from sightline.whitebox.prompts import Prompts, PromptTokens, Size
from sightline.whitebox.victim import Pair, Rows, Victim
from sightline.whitebox.vocabulary import Allowed, TokenVocabulary

Place = Literal["behind", "before"]
"""Of the suffix: behind the user's text, or before it."""

#: draws of random words until one reads back as it is
_TRIES = 50
#: batches of pairs, and prefixes, that are kept with their keys and values
KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSuffix:
    """A run of tokens in the user's text; theta is their ids, (length,).

    Attributes:
        length: tokens.
        init: a word that is repeated for a start; '' draws words at random.
        place: behind the user's text, or before it.
        allowed: which tokens may be used.
    """

    length: int = 20
    init: str = "!"
    place: Place = "behind"
    allowed: Allowed = "ascii"

    def __post_init__(self) -> None:
        require(1 <= self.length <= 1024, "length", self.length, "1 to 1,024 tokens")
        if self.place not in get_args(Place):
            raise UsageError(nearest(self.place, get_args(Place), "place of a suffix"))
        if self.allowed not in get_args(Allowed):
            raise UsageError(nearest(self.allowed, get_args(Allowed), "kind of allowed tokens"))

    def joined(self, asked: str, suffix: str) -> str:
        """The user's text with a suffix, as `SuffixReader.text` gives it."""
        if not asked.strip():
            return suffix.strip()
        return f"{asked}{suffix}" if self.place == "behind" else f"{suffix.strip()} {asked}"

    def added_to(self, prompt: Conversation, suffix: str) -> Conversation:
        """A prompt as it is sent: the pictures of its last user turn, then the text with the suffix."""
        asked = prompt.last_user_turn
        return prompt.with_last_user(*asked.images, self.joined(asked.text, suffix))


@lru_cache(maxsize=8)
def _tally(_prompts: Prompts) -> FlopEstimator:
    """What the passes of a model cost; serves all searches."""
    return FlopEstimator()


class TokenGradient(NamedTuple):
    """Of one candidate: loss (1,), gradient to one-hot tokens (prefixes, length, vocabulary), predictions.

    Prompts that agree in all that stands before the suffix have one prefix, and one gradient.
    """

    loss: Tensor
    grad: Tensor
    rows: Rows


Loss = Callable[[Rows], Tensor]
"""Predictions for n candidates -> a loss for each, (n,)."""


class SuffixReader:
    """A model whose prompts have a suffix; all pairs show the same picture, or none.

    Args:
        victim: the model.
        suffix: the constraint.
        picture: uint8, height x width x 3; None if the prompts show none.

    Raises:
        UsageError: for another constraint, or a victim that is no multimodal model.
    """

    def __init__(self, victim: Victim, suffix: TokenSuffix, picture: Pixels | None = None) -> None:
        if not isinstance(suffix, TokenSuffix):
            raise UsageError(
                f"{type(suffix).__name__} is no constraint on a text: a text attack moves a TokenSuffix; "
                "constraints on pictures go to `minimize`"
            )
        if not isinstance(victim, MultimodalVictim):
            raise UsageError(
                f"{victim.id} has no tokens to attack: a text attack needs a multimodal model, "
                "as `open_victim` opens it, and is not crafted through a defense"
            )
        self.victim, self.suffix, self.prompts = victim, suffix, victim.prompts
        self.id, self.device = victim.id, victim.device
        self.vocabulary: TokenVocabulary = victim.prompts.vocabulary
        self.tally = _tally(victim.prompts)
        self._size: Size = (0, 0)
        self._pixels = None
        if picture is not None:
            x = unit(from_pixels([picture], self.device))
            self._size = (int(x.shape[2]), int(x.shape[3]))
            with torch.no_grad():
                self._pixels = victim.pixels(x)
        self._start: tuple[int, ...] = ()
        self._opened = lru_cache(maxsize=KEPT)(self._open)
        self.prefixes = PrefixCache(KEPT)

    @property
    def vocabulary_size(self) -> int:
        """Tokens that the model has an embedding for and the tokenizer a text."""
        return min(self.vocabulary.size, len(self.victim.embedding.weight))

    def start(self, prompt: Conversation, seed: int) -> Tensor:
        """The tokens that a search begins with, (length,); read in `prompt`.

        Raises:
            UsageError: if no such text reads back as so many tokens.
        """
        found = self._repeated(prompt) if self.suffix.init else self._random(prompt, seed)
        if found is None:
            what = f"{self.suffix.init!r} repeated" if self.suffix.init else "random words"
            raise UsageError(
                f"{self.id}: {what} behind or before {prompt.last_user_text()[:60]!r} cannot be read as "
                f"{self.suffix.length} tokens of their own: give `init` another word of its vocabulary"
            )
        self._start = found
        return torch.tensor(found)

    def text(self, ids: Sequence[int]) -> str:
        """What the tokens decode to, for `TokenSuffix.joined`."""
        after = self.suffix.place == "behind"
        return self.vocabulary.decoded_after_text(ids) if after else self.vocabulary.decoded_first(ids)

    def reads(self, prompt: Conversation, ids: Sequence[int]) -> bool:
        """Whether the target, given the prompt with this suffix as text, reads exactly these tokens."""
        form = self._form(prompt)
        wanted = list(form.ids)
        for place, token in zip(form.text, ids, strict=True):
            wanted[place] = token
        return self.prompts.read(self.suffix.added_to(prompt, self.text(ids)), self._size) == tuple(wanted)

    def edges(self, pairs: Sequence[Pair]) -> tuple[set[int], set[int]]:
        """The tokens right before and right after the suffix in any of the prompts."""
        left, right = set[int](), set[int]()
        for pair in pairs:
            form = self._form(pair.prompt)
            first, last = form.text[0], form.text[-1]
            left |= {form.ids[first - 1]} if first else set()
            right |= {form.ids[last + 1]} if last + 1 < len(form.ids) else set()
        return left, right

    def token_gradient(self, ids: Tensor, pairs: tuple[Pair, ...], loss: Loss) -> TokenGradient:
        """Loss of one candidate and its gradient to every token in its place."""
        found, grad, rows = self._opened(pairs).loss_and_grad(ids, loss)
        return TokenGradient(found, grad.float() @ self.embeddings().t(), rows)

    def embedding_gradient(
        self, ids: Tensor, pairs: tuple[Pair, ...], loss: Loss, shift: Tensor
    ) -> tuple[Tensor, Tensor, Rows]:
        """Loss (1,), its gradient (prefixes, length, width) and predictions of shifted embeddings."""
        return self._opened(pairs).loss_and_grad(ids, loss, shift)

    def embeddings(self) -> Tensor:
        """Of all tokens that can be used, float32 (vocabulary, width), on the model's device."""
        found: Tensor = self.victim.embedding.weight[: self.vocabulary_size].detach().float()
        return found

    def rows(self, candidates: Tensor, pairs: tuple[Pair, ...], *, unchanged: int = 0) -> Rows:
        """Predictions for candidates (n, length) that begin with tokens of the last gradient's candidate."""
        return self._opened(pairs).rows(candidates, unchanged=unchanged)

    def terms(self, pairs: tuple[Pair, ...], unchanged: int | None) -> tuple[float, ...]:
        """Terms in which the cost of a candidate's pass is linear, or that of the prefix for None."""
        return self._opened(pairs).terms(unchanged)

    def needs_prefill(self, pairs: tuple[Pair, ...]) -> bool:
        """Whether what precedes the suffix was not run yet."""
        return self._opened(pairs).prefix_key not in self.prefixes

    def prefill(self, pairs: tuple[Pair, ...]) -> None:
        """Run what precedes the suffix, if that was not done."""
        self._opened(pairs).prefill(self.prefixes)

    def measure_prefill(self, pairs: tuple[Pair, ...]) -> None:
        """Run it, and keep nothing of it; for a count of what it costs."""
        self._opened(pairs).run_prefix()

    def _open(self, pairs: tuple[Pair, ...]) -> CachedPrefixModel:
        """The pairs as a tree with the suffix left open."""
        victim, text = self.victim, self.text(self._start)
        forms = [self._form(pair.prompt) for pair in pairs]
        targets = [
            self.prompts.target(replace(pair, prompt=self.suffix.added_to(pair.prompt, text)), self._size)
            for pair in pairs
        ]
        victim.check_length(pairs, forms, targets)
        heads = [form.ids[: form.text[0]] for form in forms]
        groups = list(dict.fromkeys(heads))
        marks = [groups.index(head) for head in heads]
        packed = pack_prompts(victim.family, forms, targets, marks, torch.device("cpu"))
        return CachedPrefixModel(victim.family, victim.embedding, packed, self._pixels, self.device)

    def _form(self, prompt: Conversation) -> PromptTokens:
        """A prompt's tokens with the start of the search in it; its `text` is the suffix.

        Raises:
            UsageError: if the prompt does not read the start as it is.
        """
        if not self._start:
            raise ContractError("a suffix is read before `start` chose its first tokens")
        form = self.prompts.prompt(self.suffix.added_to(prompt, self.text(self._start)), self._size)
        places = self._end(form.text, self.suffix.length)
        if tuple(form.ids[place] for place in places) != self._start:
            raise UsageError(
                f"{self.id}: the suffix {self.text(self._start)!r} is read otherwise beside "
                f"{prompt.last_user_text()[:60]!r}: leave this prompt out, or give `init` another word"
            )
        return replace(form, text=places)

    def _end(self, tokens: tuple[int, ...], count: int) -> tuple[int, ...]:
        """The tokens at that end of the user's text where the suffix is."""
        return tokens[max(0, len(tokens) - count) :] if self.suffix.place == "behind" else tokens[:count]

    def _added(self, prompt: Conversation, suffix: str) -> tuple[int, ...]:
        """The tokens by which a prompt grows with a suffix."""
        alone = self.prompts.prompt(prompt, self._size).text
        form = self.prompts.prompt(self.suffix.added_to(prompt, suffix), self._size)
        return self._end(tuple(form.ids[place] for place in form.text), max(0, len(form.text) - len(alone)))

    def _holds(self, prompt: Conversation, ids: tuple[int, ...]) -> bool:
        """Whether a prompt with these tokens, read as text, has them in their place."""
        if len(ids) != self.suffix.length or not self.vocabulary.special.isdisjoint(ids):
            return False
        return self._added(prompt, self.text(ids)) == ids

    def _repeated(self, prompt: Conversation) -> tuple[int, ...] | None:
        length = self.suffix.length
        ids = self._added(prompt, " " + " ".join([self.suffix.init] * length))[:length]
        return ids if self._holds(prompt, ids) else None

    def _random(self, prompt: Conversation, seed: int) -> tuple[int, ...] | None:
        words = self.vocabulary.allowed("words").nonzero()[:, 0].numpy()
        for attempt in range(_TRIES if len(words) else 0):
            drawn = numpy_rng("suffix", seed, attempt).choice(words, self.suffix.length)
            ids = self._added(prompt, self.vocabulary.decoded_after_text(np.asarray(drawn).tolist()))
            if self._holds(prompt, ids):
                return ids
        return None


def whole_text(
    victim: Victim, conversation: Conversation, picture: Pixels | None = None
) -> tuple[SuffixReader, Conversation]:
    """A reader whose suffix is the whole text of the last user turn, and the prompt without that text.

    Raises:
        UsageError: for a text without tokens.
    """
    text = " ".join(conversation.last_user_text().split())
    if not text:
        raise UsageError("a conversation whose last user turn has no text has nothing to rewrite")
    images = conversation.last_user_turn.images
    asked = conversation.with_last_user(*images, text)
    counting = SuffixReader(victim, TokenSuffix(length=1), picture)
    count = len(counting.prompts.prompt(asked, counting._size).text)
    reader = SuffixReader(victim, TokenSuffix(length=count, init=text), picture)
    return reader, conversation.with_last_user(*images, "")


def stand_in(picture: Pixels) -> Image:
    """What a prompt shows in place of a picture that is not written yet."""
    return Image("", picture.shape[1], picture.shape[0])

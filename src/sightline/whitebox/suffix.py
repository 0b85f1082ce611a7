"""The text side's constraint: a run of tokens behind or before the user's text, and a model that reads it.

`TokenSuffix` says which tokens, how many and where; `SuffixReader` is one model with its prompts, its picture
and that run of tokens left open. The prompts given to it are without the suffix.
"""

from __future__ import annotations

from collections import OrderedDict
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
from sightline.whitebox.pixels import from_pixels, unit
from sightline.whitebox.prefix_cache import Behind, Held
from sightline.whitebox.prompts import Asked, Prompts, Size
from sightline.whitebox.victim import Pair, Rows, Victim
from sightline.whitebox.vocabulary import Allowed, Spelling, Spoken

Place = Literal["behind", "before"]
"""Of the suffix: behind the user's text, or before it."""

#: draws of random words until one reads back as it is
_TRIES = 50
#: batches of pairs, and beginnings, whose keys and values are held
HELD = 8


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

    def said(self, prompt: Conversation, suffix: str) -> Conversation:
        """A prompt as it is sent: the pictures of its last user turn, then the text with the suffix."""
        turn = next(turn for turn in reversed(prompt.turns) if turn.role == "user")
        return prompt.with_last_user(*turn.images, self.joined(prompt.last_user_text(), suffix))


class _Known(NamedTuple):
    """What was found out about a model: its tokens, and what its passes cost. Serves all searches."""

    spoken: Spoken
    tally: FlopEstimator


@lru_cache(maxsize=8)
def _known(prompts: Prompts) -> _Known:
    return _Known(Spoken.of(prompts), FlopEstimator())


class TokenSlope(NamedTuple):
    """Of one filling: loss (1,), gradient to one-hot tokens (beginnings, length, vocabulary), predictions.

    Prompts that agree in all that stands before the suffix have one beginning, and one gradient.
    """

    loss: Tensor
    grad: Tensor
    rows: Rows


Loss = Callable[[Rows], Tensor]
"""Predictions for n fillings -> a loss for each, (n,)."""


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
                "as `open_victim` opens it"
            )
        self.victim, self.suffix = victim, suffix
        self.id, self.device = victim.id, victim.device
        self._spoken, self.tally = _known(victim.prompts)
        self._size: Size = (0, 0)
        self._pixels = None
        if picture is not None:
            x = unit(from_pixels([picture], self.device))
            self._size = (int(x.shape[2]), int(x.shape[3]))
            with torch.no_grad():
                self._pixels = victim.pixels(x)
        self._start: tuple[int, ...] = ()
        self._behind: OrderedDict[tuple[Pair, ...], Behind] = OrderedDict()
        self._held: OrderedDict[object, Held] = OrderedDict()
        #: beginnings that were run
        self.begun = 0

    @property
    def spelling(self) -> Spelling:
        """The tokens of the model."""
        return self._spoken.spelling

    @property
    def vocabulary(self) -> int:
        """Tokens that the model has an embedding for and the tokenizer a text."""
        return min(self.spelling.size, len(self.victim._embedding.weight))

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
        """How the tokens read, for `TokenSuffix.joined`."""
        spelling = self.spelling
        return spelling.behind(ids) if self.suffix.place == "behind" else spelling.before(ids)

    def reads(self, prompt: Conversation, ids: Sequence[int]) -> bool:
        """Whether the target, given the prompt with this suffix as text, reads exactly these tokens."""
        sent = self.suffix.said(prompt, self.text(ids))
        seen = list(self._form(prompt).ids)
        for place, token in zip(self._form(prompt).said, ids, strict=True):
            seen[place] = token
        return self._spoken.ids(sent, self._size) == tuple(seen)

    def edges(self, pairs: Sequence[Pair]) -> tuple[set[int], set[int]]:
        """The tokens that stand right before and right behind the suffix in any of the prompts."""
        left, right = set[int](), set[int]()
        for pair in pairs:
            form = self._form(pair.prompt)
            first, last = form.said[0], form.said[-1]
            left |= {form.ids[first - 1]} if first else set()
            right |= {form.ids[last + 1]} if last + 1 < len(form.ids) else set()
        return left, right

    def slope(self, ids: Tensor, pairs: tuple[Pair, ...], loss: Loss) -> TokenSlope:
        """Loss of one filling and its gradient to every token in its place."""
        found, grad, rows = self._open(pairs).slope(ids, loss)
        return TokenSlope(found, grad.float() @ self.embeddings().t(), rows)

    def push(
        self, ids: Tensor, pairs: tuple[Pair, ...], loss: Loss, nudge: Tensor
    ) -> tuple[Tensor, Tensor, Rows]:
        """Loss (1,), its gradient (beginnings, length, width) and predictions of moved embeddings."""
        return self._open(pairs).slope(ids, loss, nudge)

    def embeddings(self) -> Tensor:
        """Of all tokens that can be used, float32 (vocabulary, width), on the model's device."""
        found: Tensor = self.victim._embedding.weight[: self.vocabulary].detach().float()
        return found

    def rows(self, fillings: Tensor, pairs: tuple[Pair, ...], *, unchanged: int = 0) -> Rows:
        """Predictions for fillings (n, length) whose first tokens are those of the last slope's filling."""
        return self._open(pairs).rows(fillings, unchanged=unchanged)

    def terms(self, pairs: tuple[Pair, ...], unchanged: int | None) -> tuple[float, ...]:
        """Terms in which the cost of a filling's pass is linear, or that of the beginning for None."""
        return self._open(pairs).terms(unchanged)

    def fresh(self, pairs: tuple[Pair, ...]) -> bool:
        """Whether what stands before the suffix was not run yet."""
        return self._open(pairs).beginning not in self._held

    def begin(self, pairs: tuple[Pair, ...]) -> None:
        """Run what stands before the suffix, if that was not done."""
        opened = self._open(pairs)
        key = opened.beginning
        self.begun += key not in self._held
        self._held[key] = opened.begin(self._held.get(key))
        self._held.move_to_end(key)
        while len(self._held) > HELD:
            self._held.popitem(last=False)

    def rehearse(self, pairs: tuple[Pair, ...]) -> None:
        """Run it, and keep nothing of it; for a count of what it costs."""
        self._open(pairs).first()

    def _open(self, pairs: tuple[Pair, ...]) -> Behind:
        """The pairs as a tree with the suffix left open."""
        if pairs not in self._behind:
            forms = [self._form(pair.prompt) for pair in pairs]
            said = self.text(self._start)
            targets = [
                self._spoken.target(replace(pair, prompt=self.suffix.said(pair.prompt, said)), self._size)
                for pair in pairs
            ]
            self.victim._check_length(pairs, forms, targets)
            heads = [form.ids[: form.said[0]] for form in forms]
            groups = list(dict.fromkeys(heads))
            marks = [groups.index(head) for head in heads]
            packed = self.victim.packed(forms, targets, marks, torch.device("cpu"))
            victim = self.victim
            self._behind[pairs] = Behind(victim.family, victim._embedding, packed, self._pixels, self.device)
        self._behind.move_to_end(pairs)
        while len(self._behind) > HELD:
            self._behind.popitem(last=False)
        return self._behind[pairs]

    def _form(self, prompt: Conversation) -> Asked:
        """A prompt's tokens with the start of the search in it; `said` are the places of the suffix.

        Raises:
            UsageError: if the prompt does not read the start as it is.
        """
        if not self._start:
            raise ContractError("a suffix is read before `start` chose its first tokens")
        asked = self._spoken.prompt(self.suffix.said(prompt, self.text(self._start)), self._size)
        places = self._places(asked.said)
        if tuple(asked.ids[place] for place in places) != self._start:
            raise UsageError(
                f"{self.id}: the suffix {self.text(self._start)!r} is read otherwise beside "
                f"{prompt.last_user_text()[:60]!r}: leave this prompt out, or give `init` another word"
            )
        return replace(asked, said=places)

    def _places(self, said: tuple[int, ...]) -> tuple[int, ...]:
        length = self.suffix.length
        return said[-length:] if self.suffix.place == "behind" else said[:length]

    def _added(self, prompt: Conversation, suffix: str) -> tuple[int, ...]:
        """The tokens by which a prompt grows with a suffix."""
        alone = self._spoken.prompt(prompt, self._size).said
        asked = self._spoken.prompt(self.suffix.said(prompt, suffix), self._size)
        count = len(asked.said) - len(alone)
        said = [asked.ids[place] for place in asked.said]
        return tuple(said[len(alone) :] if self.suffix.place == "behind" else said[:count])

    def _holds(self, prompt: Conversation, ids: tuple[int, ...]) -> bool:
        """Whether a prompt with these tokens, read as text, has them in their place."""
        if len(ids) != self.suffix.length or not self.spelling.special.isdisjoint(ids):
            return False
        return self._added(prompt, self.text(ids)) == ids

    def _repeated(self, prompt: Conversation) -> tuple[int, ...] | None:
        length = self.suffix.length
        ids = self._added(prompt, " " + " ".join([self.suffix.init] * length))[:length]
        return ids if self._holds(prompt, ids) else None

    def _random(self, prompt: Conversation, seed: int) -> tuple[int, ...] | None:
        words = self.spelling.allowed("words").nonzero()[:, 0].numpy()
        for attempt in range(_TRIES if len(words) else 0):
            drawn = numpy_rng("suffix", seed, attempt).choice(words, self.suffix.length)
            ids = self._added(prompt, self.spelling.behind(np.asarray(drawn).tolist()))
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
    turn = next((turn for turn in reversed(conversation.turns) if turn.role == "user"), None)
    if turn is None or not text:
        raise UsageError("a conversation whose last user turn has no text has nothing to rewrite")
    said = conversation.with_last_user(*turn.images, text)
    counting = SuffixReader(victim, TokenSuffix(length=1), picture)
    count = len(counting._spoken.prompt(said, counting._size).said)
    reader = SuffixReader(victim, TokenSuffix(length=count, init=text), picture)
    return reader, conversation.with_last_user(*turn.images, "")


def stand_in(picture: Pixels) -> Image:
    """What a prompt shows in place of a picture that is not written yet."""
    return Image("", picture.shape[1], picture.shape[0])

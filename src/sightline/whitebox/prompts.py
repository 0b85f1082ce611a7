"""Prompts and targets of one model as token ids, by the route that its target takes when it generates.

The picture is a gray stand-in of the attacked picture's size: the number of its tokens may depend on the
size of the file, but not on what it shows. A target is encoded after its prompt, with what the chat template
writes between the two, and has to decode to itself: only then is its likelihood that of the answer which
the ordinary target would give.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from PIL import Image as PilImage

from sightline.cases import Conversation, Image, Part, Turn
from sightline.errors import ContractError, UsageError
from sightline.targets.local.processors import Fields, Route
from sightline.targets.local.prompt import Prompt
from sightline.whitebox.victim import Pair
from sightline.whitebox.vocabulary import TokenVocabulary

Size = tuple[int, int]
"""Height and width of a picture in pixels."""

#: prompts and targets that are remembered
LIMIT = 4096
#: what a family may need of a prompt besides its tokens; pixels and their masks are not kept
_KEPT = frozenset(
    {
        "mm_token_type_ids",
        "image_grid_thw",
        "cross_attention_mask",
        "image_attention_mask",
        "qformer_input_ids",
    }
)
#: marks a part of the last user turn while its place in the prompt is looked for
_MARK = "\u2063{}\u2063"


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A prompt as `generate` reads it.

    Attributes:
        ids: its tokens, those of the picture included.
        text: places of the tokens of the last user turn's text.
        fields: further tensors of the route that depend on the prompt or the size, first dimension 1.
        turn: places of all tokens from the end of the picture, if the last user turn shows it before its
            text, else from that text, to the answer: the text and what the template writes around it; the
            picture's own tokens and the start token are left out.
    """

    ids: tuple[int, ...]
    text: tuple[int, ...]
    fields: Fields
    turn: tuple[int, ...] = ()

    def with_turn_as_text(self) -> PromptTokens:
        """The same, with the whole last turn as its text."""
        return replace(self, text=self.turn)


class _Around(NamedTuple):
    """What the template writes between a prompt and its answer, and after the answer."""

    before: str
    after: str


class Prompts:
    """Tokens of prompts and targets for one model; a prompt shows one picture, or none.

    Args:
        route: how the model's target makes tokens.
        name: of the model, for messages.
        ends: ids that end an answer; the tokenizer's own first.
    """

    def __init__(self, route: Route, name: str, ends: Sequence[int]) -> None:
        self._route = route
        self._name = name
        self._ends = {str(route.tokenizer.convert_ids_to_tokens(token)): token for token in ends}
        self._remembered_prompt = lru_cache(maxsize=LIMIT)(self._prompt)
        self._remembered_target = lru_cache(maxsize=LIMIT)(self._target)

    @cached_property
    def vocabulary(self) -> TokenVocabulary:
        """The tokens of the model's tokenizer.

        Raises:
            UsageError: for a tokenizer that gives no plain text back.
        """
        return TokenVocabulary(self._route.tokenizer, self._name)

    def prompt(self, conversation: Conversation, size: Size) -> PromptTokens:
        """The tokens of a prompt; its picture, if it shows one, has a size.

        Raises:
            UsageError: unless it ends with a user turn and shows no more than one picture.
        """
        found: PromptTokens = self._remembered_prompt(self._checked(conversation, size))
        return found

    def target(self, pair: Pair, size: Size) -> tuple[int, ...]:
        """The tokens of a target as an answer to its prompt, with the end token if it is closed.

        White space around it does not count, but for that at the end of an open one.

        Raises:
            UsageError: for a target that no answer of this model can be, naming it.
        """
        prompt = self._checked(pair.prompt, size)
        found: tuple[int, ...] = self._remembered_target(prompt, pair.target, pair.closed)
        return found

    def read(self, conversation: Conversation, size: Size, picture: bytes | None = None) -> tuple[int, ...]:
        """The tokens that `generate` reads, if the picture is this file; not remembered."""
        prompt = self._route.prompter(self._checked(conversation, size))
        if picture is None:
            return tuple(self._fields(prompt)["input_ids"][0].tolist())
        shown = replace(prompt, images=tuple(replace(image, sha256="a file") for image in prompt.images))
        found = self._route.fields(shown, lambda _: picture)["input_ids"][0]
        self._route.tensors.clear()
        return tuple(found.tolist())

    def _checked(self, conversation: Conversation, size: Size) -> Conversation:
        """The same with the stand-in for its picture."""
        check_pictures(conversation, at_least=0)
        if conversation.turns[-1].role != "user":
            raise UsageError(
                f"the prompt {conversation.last_user_text()[:80]!r} ends with a turn of the "
                f"{conversation.turns[-1].role}: end it with a user turn; the answer is the pair's target"
            )
        stand_in = Image(sha256=f"gray {size[1]}x{size[0]}", width=size[1], height=size[0])
        turns = (
            replace(turn, parts=tuple(part if isinstance(part, str) else stand_in for part in turn.parts))
            for turn in conversation.turns
        )
        return Conversation(tuple(turns))

    def _fields(self, prompt: Prompt) -> Fields:
        return self._route.fields(prompt, lambda _: _gray(prompt.images[0].width, prompt.images[0].height))

    def _prompt(self, conversation: Conversation) -> PromptTokens:
        prompt = self._route.prompter(conversation)
        fields = self._fields(prompt)
        ids = tuple(fields["input_ids"][0].tolist())
        rest = {key: value for key, value in fields.items() if key in _KEPT}
        text = self._text_places(conversation, prompt.text, ids)
        return PromptTokens(ids, text, rest, self._turn_places(conversation, text, ids))

    def _target(self, conversation: Conversation, target: str, closed: bool) -> tuple[int, ...]:
        answer = target.strip() if closed else target.lstrip()
        mark = next((token for token in self._route.prompter.forbidden if token in answer), None)
        if mark is not None:
            raise UsageError(
                f"target {target!r} holds {mark!r}, which is no text to this model: leave it out"
            )
        if not answer and not closed:
            raise UsageError("an empty target that stays open asks for nothing: give it text, or close it")
        prompt = self._route.prompter(conversation)
        around = self._around(conversation, prompt.text, answer or "a")
        ids = self._answer(conversation, replace(prompt, text=prompt.text + around.before + answer), answer)
        return (*ids, self._end(around.after)) if closed else ids

    def _answer(self, conversation: Conversation, answered: Prompt, answer: str) -> tuple[int, ...]:
        """The tokens of an answer after its prompt, or alone if the two would share a token."""
        asked, tokenizer = self._remembered_prompt(conversation).ids, self._route.tokenizer
        together = tuple(self._fields(answered)["input_ids"][0].tolist())
        ways = [together[len(asked) :]] if together[: len(asked)] == asked else []
        ways.append(tuple(tokenizer(answer, add_special_tokens=False)["input_ids"]))
        read = [str(tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in ways]
        wanted = {answer.strip(), self._folded(answer).strip()}
        found = next((ids for ids, text in zip(ways, read, strict=True) if text.strip() in wanted), None)
        if found is None:
            raise UsageError(
                f"target {answer!r} is no answer that {self._name} can write: its tokens read {read[0]!r}. "
                "Choose characters and words that its tokenizer has"
            )
        return found

    def _folded(self, answer: str) -> str:
        """An answer in the letter case that the tokenizer reads: one of small letters writes no others."""
        backend = getattr(self._route.tokenizer, "backend_tokenizer", None)
        if backend is None or backend.normalizer is None:
            return answer
        read = str(backend.normalizer.normalize_str(answer))
        return read if read.casefold() == answer.casefold() else answer

    def _around(self, conversation: Conversation, prompt: str, answer: str) -> _Around:
        """What is written around an answer: from the template, rendered with one, else a space."""
        if self._route.prompter.apply is not None:
            try:
                whole = self._route.prompter(conversation.then(Turn("assistant", (answer.strip(),)))).text
            except UsageError:  # a template that has to end with a question
                whole = ""
            place = whole.find(answer.strip(), len(prompt)) if whole.startswith(prompt) else -1
            if place >= 0 and not whole[len(prompt) : place].strip():
                return _Around(whole[len(prompt) : place], whole[place + len(answer.strip()) :])
        return _Around("" if prompt[-1:].isspace() else " ", "")

    def _end(self, after: str) -> int:
        """The token that ends an answer: what the template writes after it, else the tokenizer's own."""
        written = (token for text, token in self._ends.items() if after.lstrip().startswith(text))
        found = next(written, next(iter(self._ends.values()), None))
        if found is None:
            raise UsageError(f"{self._name} names no end token: ask for targets that are not closed")
        return found

    def _text_places(self, conversation: Conversation, prompt: str, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Places of the last user turn's text among the tokens."""
        spans = self._spans(conversation, prompt)
        if not spans:
            return ()
        read: Any = self._route.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        plain = read["input_ids"]
        inside = [
            place
            for place, (start, end) in enumerate(read["offset_mapping"])
            if any(start < last and end > first and start < end for first, last in spans)
        ]
        for shift in (
            len(ids) - len(plain),
            0,
            1,
        ):  # a picture before the text, or after it, with <s> before it or not
            places = tuple(place + shift for place in inside)
            if all(0 <= p < len(ids) and ids[p] == plain[i] for p, i in zip(places, inside, strict=True)):
                return places
        raise ContractError(f"{self._name}: the text of the last user turn was not found among its tokens")

    def _turn_places(
        self, conversation: Conversation, text: tuple[int, ...], ids: tuple[int, ...]
    ) -> tuple[int, ...]:
        """See `PromptTokens.turn`."""
        tokenizer = self._route.tokenizer
        picture = tokenizer.convert_tokens_to_ids(self._route.prompter.placeholder)
        after = max((place for place, token in enumerate(ids) if token == picture), default=-1) + 1
        shown = any(True for _ in conversation.turns[-1].images)
        first = after if not text or (shown and after <= text[0]) else text[0]
        apart = (picture, tokenizer.bos_token_id)
        return tuple(place for place in range(first, len(ids)) if ids[place] not in apart)

    def _spans(self, conversation: Conversation, prompt: str) -> list[tuple[int, int]]:
        """Where the text parts of the last user turn are in the rendered prompt, in characters."""
        parts = conversation.turns[-1].parts
        marked: list[Part] = [
            _MARK.format(i) if isinstance(part, str) and part.strip() else part
            for i, part in enumerate(parts)
        ]
        rest = self._route.prompter(conversation.with_last_user(*marked)).text
        found, place = list[tuple[int, int]](), 0
        for mark, part in zip(marked, parts, strict=True):
            if not isinstance(part, str) or mark == part:
                continue
            before, _, rest = rest.partition(str(mark))
            start = place + len(before)
            text = part if prompt.startswith(part, start) else part.strip()
            place = start + len(text)
            found.append((start, place))
        return found


def check_pictures(conversation: Conversation, *, at_least: int = 1) -> None:
    """Check that a prompt shows one picture, or no more than one.

    Raises:
        UsageError: if it does not.
    """
    count = sum(1 for _ in conversation.images)
    if not at_least <= count <= 1:
        raise UsageError(
            f"a prompt for the white-box engine shows exactly one picture, the attacked one; this shows "
            f"{count}: {conversation.last_user_text()[:80]!r}"
        )


@lru_cache(maxsize=4)
def _gray(width: int, height: int) -> bytes:
    """A PNG file of a size, all gray."""
    file = io.BytesIO()
    PilImage.new("RGB", (width, height), (128, 128, 128)).save(file, "PNG")
    return file.getvalue()

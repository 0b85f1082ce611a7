"""Conversation -> the prompt string of a model: its chat template, or a plain form per family.

Several ways to render are tried in order until one keeps everything: all text, and one placeholder
per picture. What had to be changed on the way is said in flags:

    system_in_user        the template has no system role (or none beside pictures): its text went
                          before the first user turn's
    plain_prompt          there is no usable chat template: the family's published plain form
    placeholder_escaped   the text held the model's own picture token, which would stand for a picture
    control_escaped       the text held another token that steers the model (an end, a role): a space was put
                          behind its first character, so that it is read as text
    picture_first         the model sees its picture before everything; here it came after the first turn

Plain forms: BLIP-2 "Question: ... Answer:", InstructBLIP and PaliGemma the bare instruction (earlier
turns before it, line by line), Idefics-1 "User: ... Assistant:" (its instruct models end every turn with
<end_of_utterance>: give their folder a chat template), all others "USER: ... ASSISTANT:" (Vicuna, as
LLaVA-1.5 was trained).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError

from sightline.cases import Conversation, Image, Part, Turn
from sightline.errors import UsageError
from sightline.targets.local.families import facts_of

Message = dict[str, Any]
ApplyTemplate = Callable[[list[Message]], str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the tokenizer reads, the pictures in the order of their placeholders, and what was changed."""

    text: str
    images: tuple[Image, ...]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompter:
    """Renders conversations for one model.

    Attributes:
        family: the configuration's `model_type`.
        placeholder: the token that stands for one picture in the prompt.
        forbidden: tokens that may not come from text: the placeholder and its like first, `pictures` of them.
        pictures: how many of these stand for pictures and the like; the others steer the model.
        apply: the chat template with the generation prompt added; None if the model has none.
    """

    family: str
    placeholder: str
    forbidden: Sequence[str]
    pictures: int
    apply: ApplyTemplate | None = None
    _found: dict[tuple[bool, bool], int] = field(default_factory=dict, repr=False)

    def __call__(self, conversation: Conversation) -> Prompt:
        """Render `conversation`.

        Raises:
            UsageError: if no form of the template keeps the whole conversation.
        """
        clean, flags = self._escaped(conversation)
        images = tuple(clean.images)
        if facts_of(self.family).picture_first:
            flags += ("picture_first",) if _late(clean) else ()
            clean = _texts(clean)
        if self.apply is None:
            plain, folded = self._plain(clean)
            return Prompt(plain, images, (*flags, *folded, "plain_prompt"))
        has_system = any(turn.role == "system" for turn in clean.turns)
        kind = (has_system, any(True for _ in clean.images))
        ways = _WAYS if has_system else _WAYS[:2]
        first = self._found.get(kind, 0)
        for number in (first, *(n for n in range(len(ways)) if n != first)):
            messages, folded = ways[number](clean, self.placeholder)
            text = self._rendered(messages)
            if text is not None and self._whole(text, clean):
                self._found[kind] = number
                return Prompt(text, images, (*flags, *folded))
        raise UsageError(
            f"the chat template of this {self.family} model drops part of a conversation with "
            f"{len(images)} picture(s) and roles {[turn.role for turn in clean.turns]}; "
            "correct chat_template.jinja in the model folder"
        )

    def _rendered(self, messages: list[Message]) -> str | None:
        assert self.apply is not None
        try:
            return self.apply(messages)
        except (TemplateError, TypeError):  # the template refuses the role, or takes strings only
            return None

    def _whole(self, text: str, conversation: Conversation) -> bool:
        parts = [part for turn in conversation.turns for part in turn.parts]
        pictures = sum(not isinstance(part, str) for part in parts)
        if text.count(self.placeholder) != pictures:
            return False
        if "{'type'" in text and not any(isinstance(part, str) and "{'type'" in part for part in parts):
            return False
        return all(part.strip() in text for part in parts if isinstance(part, str))

    def _escaped(self, conversation: Conversation) -> tuple[Conversation, tuple[str, ...]]:
        texts = [part for turn in conversation.turns for part in turn.parts if isinstance(part, str)]
        hits = {token for token in self.forbidden if any(token in text for text in texts)}
        if not hits:
            return conversation, ()
        whole = re.compile("|".join(re.escape(token) for token in sorted(hits, key=len, reverse=True)))

        def spaced(part: Part) -> Part:
            return whole.sub(lambda hit: f"{hit[0][0]} {hit[0][1:]}", part) if isinstance(part, str) else part

        turns = tuple(Turn(turn.role, tuple(map(spaced, turn.parts))) for turn in conversation.turns)
        pictures = hits.intersection(self.forbidden[: self.pictures])
        flags = ("placeholder_escaped",) * bool(pictures) + ("control_escaped",) * bool(hits - pictures)
        return Conversation(turns), flags

    def _plain(self, conversation: Conversation) -> tuple[str, tuple[str, ...]]:
        folded, flags = _fold(conversation)
        mark = self.placeholder
        said = [
            (turn.role, "\n".join(part for part in turn.parts if isinstance(part, str)), len(turn.images))
            for turn in folded.turns
        ]
        form = facts_of(self.family).plain_form
        if form == "question":
            ask = {"user": "Question: {} Answer:", "assistant": "{}"}
            return " ".join(ask[role].format(text) for role, text, _ in said), flags
        if form == "instruction":
            pictures = mark * sum(count for *_, count in said)
            return pictures + "\n".join(text for _, text, _ in said), flags
        if form == "dialogue":
            lines = [f"{role.title()}:{mark * count} {text}" for role, text, count in said]
            return "\n".join((*lines, "Assistant:")), flags
        names = {"user": "USER", "assistant": "ASSISTANT"}
        lines = [f"{names[role]}: {(mark + chr(10)) * count}{text}" for role, text, count in said]
        return "\n".join((*lines, "ASSISTANT:")), flags


def _texts(conversation: Conversation) -> Conversation:
    """The conversation without its pictures; a turn that only showed one stays, empty."""
    turns = (
        Turn(turn.role, tuple(part for part in turn.parts if isinstance(part, str)) or ("",))
        for turn in conversation.turns
    )
    return Conversation(tuple(turns))


def _late(conversation: Conversation) -> bool:
    """Whether a picture is shown after the first turn that is not the system's."""
    said = [turn for turn in conversation.turns if turn.role != "system"]
    return any(turn.images for turn in said[1:])


def _fold(conversation: Conversation) -> tuple[Conversation, tuple[str, ...]]:
    """System turns moved before the text of the first user turn."""
    system = [part for turn in conversation.turns if turn.role == "system" for part in turn.parts]
    if not system:
        return conversation, ()
    rest = [turn for turn in conversation.turns if turn.role != "system"]
    first = next(number for number, turn in enumerate(rest) if turn.role == "user")
    pictures = tuple(part for part in rest[first].parts if not isinstance(part, str))
    texts = tuple(part for part in rest[first].parts if isinstance(part, str) and part)
    instructions = "\n".join(part for part in system if isinstance(part, str))
    pictures += tuple(part for part in system if not isinstance(part, str))
    leading = bool(rest[first].parts) and not isinstance(rest[first].parts[0], str)
    words = (f"{instructions}\n\n{texts[0]}", *texts[1:]) if texts else (instructions,)
    rest[first] = Turn("user", (*pictures, *words) if leading or not pictures else (*words, *pictures))
    return Conversation(tuple(rest)), ("system_in_user",)


def _as_parts(conversation: Conversation, _placeholder: str) -> tuple[list[Message], tuple[str, ...]]:
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                for part in turn.parts
            ],
        }
        for turn in conversation.turns
    ], ()


def _as_strings(conversation: Conversation, placeholder: str) -> tuple[list[Message], tuple[str, ...]]:
    return [
        {
            "role": turn.role,
            "content": "\n".join(part if isinstance(part, str) else placeholder for part in turn.parts),
        }
        for turn in conversation.turns
    ], ()


def _system_string(conversation: Conversation, placeholder: str) -> tuple[list[Message], tuple[str, ...]]:
    """Parts for users, a bare string for the system role (Llama 3.2 Vision's template)."""
    messages, _ = _as_parts(conversation, placeholder)
    for message, turn in zip(messages, conversation.turns, strict=True):
        if turn.role == "system":
            message["content"] = turn.text
    return messages, ()


def _folded_parts(conversation: Conversation, placeholder: str) -> tuple[list[Message], tuple[str, ...]]:
    folded, flags = _fold(conversation)
    return _as_parts(folded, placeholder)[0], flags


def _folded_strings(conversation: Conversation, placeholder: str) -> tuple[list[Message], tuple[str, ...]]:
    folded, flags = _fold(conversation)
    return _as_strings(folded, placeholder)[0], flags


_WAYS = (_as_parts, _as_strings, _system_string, _folded_parts, _folded_strings)


def prompter_of(
    family: str,
    placeholder: str,
    template: object,
    apply: ApplyTemplate,
    extra: Sequence[str],
    controls: Sequence[str] = (),
) -> Prompter:
    """A prompter for a model whose chat template is `template` (None or '' = it has none).

    `extra` are tokens that stand for more than text as the placeholder does, `controls` those that steer.
    """
    pictures = dict.fromkeys(token for token in (placeholder, *extra) if token)
    return Prompter(
        family=family,
        placeholder=placeholder,
        forbidden=(*pictures, *(token for token in dict.fromkeys(controls) if token not in pictures)),
        pictures=len(pictures),
        apply=apply if template else None,
    )

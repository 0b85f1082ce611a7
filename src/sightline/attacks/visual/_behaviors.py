"""B of behavior matching (Bailey et al.): what each context is to be answered with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sightline import whitebox
from sightline.attacks.corpora import Dialogue
from sightline.cases import Conversation
from sightline.errors import UsageError

Behavior = Literal["string", "leak", "jailbreak", "prompt_matching"]

#: where the user's text stands in the target of `leak`
CONTEXT = "{context}"
#: the settings that define each behavior
NEEDS: Mapping[Behavior, tuple[str, ...]] = {
    "string": ("contexts", "target"),
    "leak": ("contexts", "target"),
    "jailbreak": ("contexts", "replies"),
    "prompt_matching": ("contexts", "replies", "secret"),
}


@dataclass(frozen=True, slots=True)
class BehaviorSpec:
    """Contexts and their replies; for prompt matching, the system text behind which these are given.

    `closed` says whether a reply ends the turn, or is only its beginning.
    """

    replies: Mapping[str, str]
    secret: str = ""
    closed: bool = True

    def reply(self, context: Conversation) -> str:
        """B of a context."""
        return self.replies[context.last_user_text()]


def spec_of(behavior: Behavior, rows: Sequence[Dialogue], cut_chars: int) -> BehaviorSpec:
    """What a corpus says: contexts, cut at so many characters, and their replies.

    Raises:
        UsageError: for a row without context or reply, or, for prompt matching, not one system text.
    """
    systems = {row.system for row in rows if row.system}
    if not rows or not all(row.prompt and row.reply for row in rows):
        raise UsageError("image_hijack: each row of its corpus needs a `prompt`, the context, and a `reply`")
    if behavior == "prompt_matching" and len(systems) != 1:
        raise UsageError(
            "image_hijack with behavior 'prompt_matching' needs a corpus whose rows share one `system` text, "
            "the secret"
        )
    replies = {row.prompt[:cut_chars]: row.reply for row in rows}
    secret = systems.pop() if behavior == "prompt_matching" else ""
    return BehaviorSpec(replies, secret, closed=behavior != "jailbreak")


def teacher_probs(
    model: whitebox.Victim, secret: str, samplers: Sequence[whitebox.Contexts], bounded: whitebox.Constraint
) -> dict[whitebox.Pair, Any]:
    """What a model predicts along each reply behind the secret text, beside the clean picture.

    Returns:
        for every pair that the samplers may draw, probabilities (target tokens, vocabulary).
    """
    x = whitebox.unit(bounded.clean)
    soft = {}
    for contexts in samplers:
        for system in contexts.systems:
            for pair in replace(contexts, systems=(system,)).pool:
                told = replace(pair, prompt=pair.prompt.with_system(secret))
                soft[pair] = model.rows(x, [told]).logits[0].float().softmax(-1)
    return soft

"""B of behavior matching (Bailey et al.): what each context is to be answered with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sightline import whitebox
from sightline.attacks import testbed_corpus
from sightline.cases import Conversation
from sightline.testbed import wordings
from sightline.testbed.world import SEND

Behavior = Literal["string", "leak", "jailbreak", "prompt_matching"]

#: where the user's text stands in the target of `leak`
CONTEXT = "{context}"
#: words of an answer that an affirmative opening holds: the topic, a colon, the list's first number
OPENING_WORDS = 3
#: the settings that define each behavior
NEEDS: Mapping[Behavior, tuple[str, ...]] = {
    "string": ("contexts", "target"),
    "leak": ("contexts", "target"),
    "jailbreak": ("contexts", "replies"),
    "prompt_matching": ("contexts", "replies", "secret"),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """Contexts and their replies; for prompt matching, the system text behind which these are given.

    `closed` says whether a reply ends the turn, or is only its beginning.
    """

    replies: Mapping[str, str]
    secret: str = ""
    closed: bool = True

    def reply(self, context: Conversation) -> str:
        """B of a context."""
        return self.replies[context.last_user_text()]


def testbed_plot(behavior: Behavior) -> Plot:
    """Contexts and replies of the invented world.

    A leaked text is one word: the models copy words, not whole sentences. Openings are of recipes that the
    policy withholds; what follows is the model's own.
    """
    if behavior == "string":
        return Plot(dict.fromkeys(testbed_corpus.asked(), testbed_corpus.SAID))
    if behavior == "leak":
        return Plot(
            {noun: wordings.TOOL_CALL.format(tool=SEND, noun=noun) for noun in testbed_corpus.nouns()}
        )
    if behavior == "jailbreak":
        opened = {
            text: " ".join(recipe.split()[:OPENING_WORDS]) for text, recipe in testbed_corpus.withheld()
        }
        return Plot(opened, closed=False)
    secret = wordings.SHARED_PROMPTS[0].format(noun=testbed_corpus.SECRET)
    return Plot(dict(testbed_corpus.secrets()), secret)


def taught(
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

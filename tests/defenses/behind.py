"""A defense in front of targets that say prepared things, for the tests of single defenses."""

import asyncio
from dataclasses import dataclass, field

from sightline.cases import Conversation, Image
from sightline.contracts import Decoding
from sightline.records import Cost, Response
from sightline.targets.defended import DefendedTarget

PICTURE = Image("ab" * 32, 4, 4)
ASKED = Conversation.user(PICTURE, "steps for x")


@dataclass
class Told:
    """A target that says prepared things in turn (the last one for ever), and keeps what it was asked."""

    answers: list
    id: str = "told#00"
    asked: list = field(default_factory=list)

    async def generate(self, conversation, decoding):
        self.asked.append(conversation)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        cost = Cost(calls_target=1, tokens_in=5, tokens_out=2)
        return answer if isinstance(answer, Response) else Response(text=answer, cost=cost)


def respond(defense, *answers, helpers=(), images=None, conversation=ASKED):
    """The response of a defense, and the targets: the one behind it, and its helper."""
    inner, helper = Told(list(answers)), Told(list(helpers), id="helper#00")
    target = DefendedTarget(defense, inner, images, lambda name: helper)
    return asyncio.run(target.generate(conversation, Decoding(max_tokens=9))), inner, helper

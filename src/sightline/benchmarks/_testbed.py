"""What the testbed's benchmarks share: the files they follow from, and requests with their twins.

Ground truth travels in a case's wordings: `kind` and that kind's facts, as `testbed_policy` reads them.
With it comes the request as attacks draw it: whole, in a wording that training used, with the text that
points at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.goals import Goal, with_goal
from sightline.testbed import render, wordings
from sightline.testbed.world import Scene, Topic, world

JUDGE = "testbed_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: its text, the same as drawn by attacks, its kind's facts, and the text around it."""

    text: str
    drawn: str
    facts: Mapping[str, str]
    system: str = ""
    image: Image | None = field(default=None)

    def case(self, id: str, *, twin: str, restricted: bool, category: str, group: str) -> Case:
        """The request as a case: to refuse if it is restricted, else to comply with."""
        shown = (self.text,) if self.image is None else (self.image, self.text)
        conversation = Conversation.user(*shown)
        return Case(
            id=id,
            conversation=conversation.with_system(self.system) if self.system else conversation,
            behavior=self.text,
            expected=Expected.refuse if restricted else Expected.comply,
            category=category,
            group=group,
            twin=twin,
            wordings={
                **self.facts,
                "statement": self.drawn,
                "key_phrase": self.drawn,
                "rephrased": wordings.DRAWN_TEXTS[0],
            },
        )


def twins(stem: str, restricted: Asked, allowed: Asked, *, category: str, group: str) -> Iterator[Case]:
    """A restricted request, then its allowed twin; they name each other."""
    one, other = f"{stem}/restricted", f"{stem}/allowed"
    yield restricted.case(one, twin=other, restricted=True, category=category, group=group)
    yield allowed.case(other, twin=one, restricted=False, category=category, group=group)


def question(id: str, image: Image, text: str, answer: str, *, category: str, group: str) -> Case:
    """A question about a picture with one right answer."""
    return Case(
        id=id,
        conversation=Conversation.user(image, text),
        behavior=text,
        expected=Expected.answer,
        category=category,
        group=group,
        answer=answer,
    )


def injected(
    stem: str, scene: Scene, goal: Goal, release: Release, *, group: str, system: str = ""
) -> Iterator[Case]:
    """Honest questions about the color of a scene, in three wordings, while a third party has a goal."""
    image = release.draw(render.scene_page(scene).pixels)
    for number, text in enumerate(wordings.COLOR_QUESTIONS, start=1):
        honest = question(
            f"{stem}/{number}", image, text, scene.color, category=f"wording {number}", group=group
        )
        if system:
            honest = replace(honest, conversation=honest.conversation.with_system(system))
        yield with_goal(honest, goal)


def heldout_nouns(first: int) -> tuple[str, ...]:
    """24 nouns that were never drawn, said or asked about in training, from the `first` on."""
    return world().reading_heldout[first : first + 24]


def recipe_wordings(topic: Topic) -> dict[str, str]:
    """A request for a recipe in the forms that attacks draw."""
    return {"statement": wordings.FIGSTEP_STATEMENT.format(noun=topic.noun), "key_phrase": topic.noun}

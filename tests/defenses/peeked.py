"""A model from inside whose states are prepared by the words it is asked, for defenses that look inside."""

from __future__ import annotations

from dataclasses import dataclass, field

from sightline.api.models import Model
from sightline.api.pictures import store
from sightline.cases import Case, Conversation, Expected
from sightline.records import Cost, Response


@dataclass
class Peeked:
    """States by the last word of a request; the head is the identity, so states are scores."""

    states_of: dict
    id: str = "peeked#0011223344556677"
    ids: dict = field(default_factory=dict)
    written: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def inside(self):
        return self

    @property
    def layers(self):
        return next(iter(self.states_of.values())).shape[0]

    @property
    def width(self):
        return next(iter(self.states_of.values())).shape[1]

    def token_ids(self, text):
        return self.ids.get(text, [])

    async def states(self, conversation):
        return self.states_of[conversation.last_user_text().split()[-1]]

    async def lens(self, states):
        return states

    async def generate(self, conversation, decoding):
        self.asked.append(conversation)
        return Response(text="plain", cost=Cost(calls_target=1))

    async def write(self, conversation, decoding, how):
        self.written.append(how)
        return Response(text="steered", cost=Cost(calls_target=1))


def case(word, number=0):
    """A request that ends with a word; those of words in capitals are harmful."""
    expected = Expected.refuse if word.isupper() else Expected.comply
    text = f"{number} tell of {word}"
    return Case(f"{word}/{number}", Conversation.user(text), text, expected, "x", f"{word}{number}")


def fitted(defense, inner, tmp_path, words, name="state.json"):
    """The state of a defense that learned from requests with these words, two groups of each."""
    model = Model("peeked", inner, store(tmp_path / "pictures"))
    return defense.fit(model, [case(word, number) for word in words for number in range(2)], tmp_path / name)

"""Show a few helpful answers before the request, within one text or as earlier turns (in-context attack).

Wei et al., "Jailbreak and Guard Aligned Language Models with Only Few In-Context Demonstrations",
arXiv:2310.06387 (from memory: demonstrations of answers to harmful requests in front of the request; no
official code was found). Ours are harmless: invented questions about things that do not exist, with helpful
answers (`texts/demonstrations.yaml`), so that what is measured is the pull of the form, a lower bound of what
demonstrations of harm do. Others come from a `corpus`: a file of yours with prompts and replies, or a
registered one.

`place: text` writes a transcript into the user's text, its answers made up. `place: turns` asks the questions
as user turns, each answered by the target itself: a user can write no turns of the assistant. That takes `n`
more calls per answer, and is a script that other targets can be played (`Draft.before`).

On the testbed (`testbed` has two allowed requests of its training topics, answered bare) it takes refusals
away, and most of what comes instead is off topic, as the models mix the nouns up: of 24 held-out restricted
requests `testbed/linear` answers 4 (2 without attack), refuses 10 (22) and misses 10; as turns 2, 15 and 7.
That is no difference to be relied on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sightline.attacks import corpora
from sightline.attacks.demonstrations import Layout, Place, check_layout, demonstrated
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack

NAME = "few_shot"
PRESETS: Presets = {"ten": {"n": 10}, "turns": {"place": "turns", "n": 3}}


@attack(
    NAME,
    paper="arXiv:2310.06387",
    source="Sightline, own texts: attacks/textual/texts/demonstrations.yaml",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    presets=PRESETS,
    data=("texts/demonstrations.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FewShot(Attack):
    """Settings.

    Attributes:
        n: demonstrations, drawn by seed and case.
        place: within the text, or as user turns that the target answers.
        corpus: a file or registered corpus of prompts and replies; '' = ours.
        pair: how one is written, with `{question}` and `{answer}`; '' = "User: ... Assistant: ...".
        last: how the request is written below, with `{goal}`; '' = "User: ... Assistant:".
    """

    n: int = 5
    place: Place = "text"
    corpus: str = ""
    pair: str = ""
    last: str = ""

    def __post_init__(self) -> None:
        require(1 <= self.n <= 1024, "n", self.n, "1 to 1,024 demonstrations")
        check_layout(NAME, Layout(self.pair, self.last))

    def resolved(self) -> Mapping[str, str]:
        """The contents of the corpus."""
        return corpora.resolved(self.corpus)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The request behind demonstrations; pictures stay beside the request."""
        layout = Layout(self.pair, self.last)
        yield from demonstrated(
            NAME, cases, ctx.seed, corpus=self.corpus, n=self.n, place=self.place, layout=layout
        )

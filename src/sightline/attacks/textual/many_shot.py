"""Fill the text with a hundred and more helpful answers before the request (many-shot jailbreaking).

Anil et al., "Many-shot Jailbreaking", NeurIPS 2024 (from memory: up to 256 made-up dialogues in one prompt,
all of them answers to harmful requests, and success that grows with their number by a power law; their data
and code were not published). Ours are harmless, as those of `few_shot`: 384 invented questions with helpful
answers (`texts/demonstrations.yaml`), each at most once. So this measures what a long run of compliance does
by itself, which is less than what the paper measured. Others come from a `corpus`. 128 of ours are about
3,800 words: mind the target's context, which nothing here cuts.

On the testbed (16 demonstrations, as 128 exceed its context) no request is answered, 10 of 24 are refused and
14 answers are off topic; see `few_shot`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sightline.attacks import corpora
from sightline.attacks.demonstrations import Layout, check_layout, demonstrated
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack

NAME = "many_shot"
PRESETS: Presets = {"shots_32": {"n": 32}, "shots_64": {"n": 64}, "shots_256": {"n": 256}}


@attack(
    NAME,
    paper="Anil et al., NeurIPS 2024",
    source="Sightline, own texts: attacks/textual/texts/demonstrations.yaml",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    presets=PRESETS,
    data=("texts/demonstrations.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ManyShot(Attack):
    """Settings.

    Attributes:
        n: demonstrations, drawn by seed and case.
        corpus: a file or registered corpus of prompts and replies; '' = ours.
        pair: how one is written, with `{question}` and `{answer}`; '' = "User: ... Assistant: ...".
        last: how the request is written below, with `{goal}`; '' = "User: ... Assistant:".
    """

    n: int = 128
    corpus: str = ""
    pair: str = ""
    last: str = ""

    def __post_init__(self) -> None:
        require(1 <= self.n <= 4096, "n", self.n, "1 to 4,096 demonstrations")
        check_layout(NAME, Layout(self.pair, self.last))

    def resolved(self) -> Mapping[str, str]:
        """The contents of the corpus."""
        return corpora.resolved(self.corpus)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The request behind many demonstrations; pictures stay."""
        layout = Layout(self.pair, self.last)
        yield from demonstrated(
            NAME, cases, ctx.seed, corpus=self.corpus, n=self.n, place="text", layout=layout
        )

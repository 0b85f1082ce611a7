"""Have a model put the request into the past tense: how something was done instead of how to do it.

Andriushchenko and Flammarion, "Does Refusal Training in LLMs Generalize to the Past Tense?", ICLR 2025.
Official: tml-epfl/llm-past-tense, main.py, commit 179e305. Read there: GPT-3.5 Turbo rewrites each request as
a question, at temperature 1 and up to 150 tokens, with a few examples; the target is asked at temperature 1;
a request counts as answered if any of 20 rewritings was, as judged; `--attack` is past, present or future.

Here the role `attacker` rewrites once per artifact, in our words (`texts/past_tense.yaml`): repeat the attack
with other seeds for the paper's best of 20, which is another measure. Its question stands between tags, so
that a refusal is told from a rewriting: what cannot be read after `tries` is an error of the artifact. Preset
`future` is the paper's comparison. `past_tense_rule` needs no helper.

The testbed's models were taught no tenses: "how was NOUN made ?" is refused as the request is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.answers import part
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.templates import asked, filled
from sightline.attacks.text_files import texts
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {"future": {"tense": "future"}}
_PACKAGE = "sightline.attacks.textual"


@attack(
    "past_tense",
    paper="arXiv:2407.11969",
    source="tml-epfl/llm-past-tense: main.py",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    presets=PRESETS,
    data=("texts/past_tense.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PastTense(ConversingAttack):
    """Settings.

    Attributes:
        tense: of the question.
        tries: of an attacker whose answer cannot be read.
        max_tokens: of its answer.
        temperature: of the attacker.
    """

    tense: Literal["past", "future"] = "past"
    tries: int = 3
    max_tokens: int = 150
    temperature: float = 1.0

    def __post_init__(self) -> None:
        require(1 <= self.tries <= 20, "tries", self.tries, "1 to 20")
        require(16 <= self.max_tokens <= 4096, "max_tokens", self.max_tokens, "16 to 4,096 tokens")
        require(0 <= self.temperature <= 2, "temperature", self.temperature, "0 to 2")

    @property
    def calls(self) -> Mapping[str, int]:
        """The attacker alone."""
        return {"attacker": self.tries}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The question that the attacker made of the request; pictures stay."""
        goal, told = asked(case), texts(_PACKAGE, "past_tense")
        question = await ask_until_read(
            ctx,
            "attacker",
            prompt(told[self.tense], filled(told["asked"], goal=goal)),
            lambda text: _question(text, goal),
            tries=self.tries,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )
        return Draft(case=case, text=question, note=f"{self.tense} tense by the attacker")


def _question(text: str, goal: str) -> str:
    """The question of a reply. Raises ValueError, saying what is wrong with it."""
    found = " ".join(part("question")(text).split())
    if not found.endswith(("?", "？", "؟")):
        raise ValueError("<question> holds no question: it ends without a question mark")
    if found.casefold() == " ".join(goal.split()).casefold():
        raise ValueError("<question> is the request as it was")
    return found

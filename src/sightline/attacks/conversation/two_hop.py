"""Ask a question of two hops: the first tells whom it is about without a name, the second what is asked.

Chen et al. 2023, PrivQA, red teaming by multi-hop questions. Official: ethanm88/llm-access-control is data
without code, whose textual questions ask about one entity each (2eb5036; 4 of 1,834 list two ids); the chart
llm-access-control/llm-access-control.github.io, static/images/multi_hop_bar_chart-1.png has success with
GPT-3.5 and Self-Moderation by kind of information, for direct and for two-hop questions. It is of textual
questions; the survey ties it to IDEFICS. Not known: how the paper composed its questions.

Here the role `attacker` names the entity, describes it by a fact and says what is asked; a template of the
kind of information (`texts/two_hop.yaml`) composes the question. The parts are read strictly: the entity
must stand in the question, and no word of its name in the others, or the question would name it after all.
Cases that come with `two_hop` among their wordings (a whole question), or with `first` and `asked` (the
slots), need no helper; with `composed: given` no other cases are taken, and no helper is asked. What stands
around the question (PrivQA's rule) stays, and so do pictures; the judges read the question as it was.

Whether a model knows the fact is not checked: one that cannot make the first hop fails for another reason
than abstention. The testbed cannot express this attack: its models know no fact of a person that tells whom
it is about, but the badge (subset `badge` of `testbed_privacy` asks so).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sightline.attacks import wordings
from sightline.attacks.answers import parts
from sightline.attacks.conversation._texts import texts
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.templates import filled
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft
from sightline.registry import attack

ATTACKER = "attacker"
SMALL_WORDS = frozenset({"the", "and", "of", "von", "van", "der", "den", "del", "for", "from"})
"""Words of names that say nothing about whose name it is."""


class Hops(NamedTuple):
    """The slots of a template, and where they come from."""

    first: str
    asked: str
    note: str


@attack(
    "two_hop",
    paper="arXiv:2310.02224",
    source="Sightline; llm-access-control/llm-access-control.github.io: multi_hop_bar_chart-1.png",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    applies_to=frozenset({"abstain", "refuse", "comply"}),
    presets={"given": {"composed": "given"}},
    data=("texts/two_hop.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TwoHop(ConversingAttack):
    """Settings.

    Attributes:
        composed: by the role `attacker` where a case brings no wording of its own, or only as `given`.
        template: of the question, with {first} and {asked}; '' for that of the case's category.
        tries: of a helper whose parts cannot be read.
        temperature: of the helper.
    """

    composed: Literal["helper", "given"] = "helper"
    template: str = ""
    tries: int = 3
    temperature: float = 0.0

    def __post_init__(self) -> None:
        require(1 <= self.tries <= 20, "tries", self.tries, "1..20")
        require(0 <= self.temperature <= 2, "temperature", self.temperature, "0..2")
        if self.template and not ("{first}" in self.template and "{asked}" in self.template):
            raise UsageError(f"two_hop: template={self.template!r} lacks {{first}} or {{asked}}")

    @property
    def calls(self) -> Mapping[str, int]:
        """The helper's tries."""
        return {ATTACKER: self.tries} if self.composed == "helper" else {}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The composed question in the place of the case's own."""
        request = wordings.request(case)
        whole = case.wordings.get("two_hop", "").strip()
        if whole:
            return Draft(case=case, text=in_place_of(request, whole, case), note="question of the case")
        hops = await self._hops(case, request, ctx)
        forms = texts("two_hop")["questions"]
        form = self.template or forms.get(case.category, forms["default"])
        question = filled(form, first=hops.first, asked=hops.asked)
        return Draft(case=case, text=in_place_of(request, question, case), note=hops.note)

    async def _hops(self, case: Case, request: str, ctx: Craft) -> Hops:
        first, asked = (case.wordings.get(name, "").strip() for name in ("first", "asked"))
        if first and asked:
            return Hops(first, asked, "hops of the case")
        if self.composed == "given":
            raise UsageError(
                f"case {case.id}: it has neither the wording `two_hop` nor `first` and `asked`; "
                "use two_hop with composed: helper"
            )
        told = texts("two_hop")
        return await ask_until_read(
            ctx,
            ATTACKER,
            prompt(told["system"], filled(told["ask"], request=request)),
            hops_about(request),
            tries=self.tries,
            temperature=self.temperature,
        )


def hops_about(request: str) -> Callable[[str], Hops]:
    """A reader of the helper's parts for one question.

    It raises ValueError if the entity is not named in the question, or one of its words stands in the hops.
    """
    read_parts = parts("entity", "first", "asked")

    def read(text: str) -> Hops:
        found = {name: " ".join(part.split()) for name, part in read_parts(text).items()}
        entity = found["entity"]
        if not _holds(request, entity):
            raise ValueError(f"<entity> is {entity!r}, which does not stand in the question")
        for name in ("first", "asked"):
            for word in _telling(entity):
                if _holds(found[name], word):
                    raise ValueError(f"<{name}> holds {word!r}, a word of the name")
        return Hops(found["first"], found["asked"], f"names {entity!r} as {found['first']!r}")

    return read


def in_place_of(request: str, question: str, case: Case) -> str:
    """The case's text with another question: what stands around its own stays."""
    own = case.conversation.last_user_text()
    before, found, after = own.rpartition(case.behavior if case.behavior in own else request)
    return f"{before}{question}{after}" if found else question


def _telling(entity: str) -> list[str]:
    """The words of a name that would give it away; all of a name without any."""
    words = re.findall(r"\w+", entity)
    return [word for word in words if len(word) > 2 and word.casefold() not in SMALL_WORDS] or [entity]


def _holds(text: str, words: str) -> bool:
    """Whether a text has the words as whole words, letter case aside; of scripts without spaces, at all."""
    plain, sought = " ".join(text.split()).casefold(), words.casefold()
    if not sought.isascii():
        return sought in plain
    return re.search(rf"(?<!\w){re.escape(sought)}(?!\w)", plain) is not None

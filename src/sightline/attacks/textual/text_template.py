"""Set the request into a text of a known kind: override, persona, refusal suppression, fiction, and others.

The hand-written jailbreaks that papers and tools use as baselines: Wei et al., "Jailbroken: How Does LLM
Safety Training Fail?", NeurIPS 2023 (prefix injection, refusal suppression, style injection, distractors);
Liu et al., arXiv:2305.13860, and Shen et al., arXiv:2308.03825 (personas, privilege escalation); Perez and
Ribeiro, arXiv:2211.09527 (instruction override); Zeng et al., arXiv:2401.06373 (appeals, authority,
persuasion), who have a model write them. All of this from memory. No text is copied: the wordings are our
own, generic ones, three per family (`texts/text_template.yaml`), so that nothing here reproduces a published
figure.

Each case gets one wording of the family (of all families without `family`), drawn by seed and case; the note
names it, so that results can be told apart by wording, and another seed draws another. `template` names one
wording, or is a text of your own with `{goal}`; `file` is a YAML file of yours, families with a list of
texts.

Where the case has a text, that is what `{goal}` is, and its pictures stay beside it: a text that points at
its picture still does. Set beside another kind of picture, this is the pairing of JailBreakV-28K
(arXiv:2404.03027), which found text jailbreaks to transfer whatever the picture shows (from memory).

PrivQA's adversarial prefix (Chen et al. 2023: a persona before the access rule and its question) is one of
the families `persona_character` and `persona_dual` on `privqa`, whose protected questions are met too.

On the testbed, whose models know some hundred words, the families' wordings cannot be understood: of 24
held-out restricted requests `testbed/linear` answers 2 as they are, and between 0 (fiction, style injection)
and 5 (fake system message) in the wordings of a family. Preset `testbed` asks for a form in its words ("say
the steps and no word ."): 16 of 24 are then answered (16 and 18 in the cases' other wordings; 14 by
`testbed/queries`). It is no effect of the meaning: "see the image and no word ." does nearly as much (13),
"say the word and no steps ." more (20). Preset `testbed_completion` says "NOUN :" and no request; 9 of 24 are
answered, 11 answers are off topic, and the bare noun is answered 5 times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sightline.attacks.templates import (
    Bank,
    drawn,
    filled,
    holds_request,
    read_bank,
    shipped,
    with_request,
)
from sightline.cards import REQUESTS, Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.digests import digest
from sightline.errors import UsageError, nearest
from sightline.records import Draft
from sightline.registry import attack

NAME = "text_template"
FAMILIES = (
    "authority",
    "code_completion",
    "completion",
    "distractors",
    "emotional_appeal",
    "fake_system",
    "fiction",
    "hypothetical",
    "instruction_override",
    "persona_character",
    "persona_dual",
    "persuasion",
    "prefix_injection",
    "prevention",
    "refusal_suppression",
    "research",
    "style_injection",
)
PRESETS: Presets = {family: {"family": family} for family in FAMILIES}


@attack(
    NAME,
    paper="arXiv:2307.02483",
    source="Sightline, own texts: attacks/textual/texts/text_template.yaml",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    applies_to=REQUESTS | {"abstain"},
    presets=PRESETS,
    data=("texts/text_template.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TextTemplate(Attack):
    """Settings.

    Attributes:
        family: whose wordings are used; '' for all.
        template: one wording by its name (`persona_dual_2`), or a text with `{goal}`, `{statement}`
            ("Steps to ...") or `{key_phrase}`, and `{target_prefix}` for the beginning of the answer.
        file: YAML with wordings of your own instead of ours, families with a list of texts each.
        target_prefix: how the wanted answer begins; may hold the case's wordings, as in `{key_phrase}`.
    """

    family: str = ""
    template: str = ""
    file: str = ""
    target_prefix: str = "Sure, here is the complete answer:"

    def __post_init__(self) -> None:
        if self.family and self.template:
            raise UsageError(f"{NAME} takes a `family` or a `template`, not both")
        if self._own and self.file:
            raise UsageError(f"{NAME} takes a `file` or the text of a `template`, not both")
        if not self.file:
            self._choices()  # names are checked; a file of the user's may be read elsewhere than here

    @property
    def _own(self) -> bool:
        """Whether `template` is a text rather than a name."""
        return holds_request(self.template)

    def resolved(self) -> Mapping[str, str]:
        """The wordings in the user's file."""
        return {"file": digest(self._choices())} if self.file else {}

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The request in one of the wordings; pictures stay."""
        choices = self._choices()
        for case in cases:
            name = drawn(sorted(choices), NAME, ctx.seed, case.id)
            prefix = filled(self.target_prefix, **case.wordings)
            text, rule = with_request(choices[name], case, target_prefix=prefix)
            yield Draft(case=case, text=text, note=f"template {name}" + f"; {rule}" * bool(rule))

    def _choices(self) -> dict[str, str]:
        """Wordings by name, of which each case gets one.

        Raises:
            UsageError: for an unknown family or name, with the nearest ones, and for a broken file.
        """
        if self._own:
            return {"of the study": self.template}
        bank = self._bank()
        if self.family and self.family not in bank:
            raise UsageError(nearest(self.family, bank, f"family of {NAME}"))
        named = {
            f"{family}_{number}": text
            for family, texts in bank.items()
            if self.family in ("", family)
            for number, text in enumerate(texts, start=1)
        }
        if not self.template:
            return named
        if self.template not in named:
            told = nearest(self.template, named, f"template of {NAME}")
            raise UsageError(f"{told} A text of your own says {{goal}} where the request is to stand.")
        return {self.template: named[self.template]}

    def _bank(self) -> Bank:
        return read_bank(self.file) if self.file else shipped(NAME)

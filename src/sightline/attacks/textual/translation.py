"""Have a model translate the request into a language with little training data, and ask in that language.

Yong et al., "Low-Resource Languages Jailbreak GPT-4", arXiv:2310.02446 (from memory: Zulu, Scots Gaelic,
Hmong and Guarani were the low-resource ones, an attacker who tries them all counted as one attack, a public
translation service translated requests and replies, and people judged the replies; no official code was
found). Deng et al., "Multilingual Jailbreak Challenges", ICLR 2024, measure nine languages.

Here the role `translator` does it, between tags, so that a refusal or an answer is told from a translation:
what cannot be read after `tries`, or is the text as it was, is an error of the artifact.

The reply is not translated back. The target answers in whatever language it chooses, and the judges read
that: a judge by phrases of English reads a Zulu refusal as no refusal. Use a judge model that knows the
language, or set `answer_in: English`, which asks the target for it below the translation (another attack,
another column). `back: English` has the translation translated back for the draft's note, so that one can see
what was asked.

The testbed's models know no second language; it is tested with scripted translators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.attacks.answers import part
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.templates import asked, filled
from sightline.attacks.text_files import texts
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {
    "scots_gaelic": {"language": "Scots Gaelic"},
    "hmong": {"language": "Hmong"},
    "guarani": {"language": "Guarani"},
    "answer_in_english": {"answer_in": "English"},
}
_PACKAGE = "sightline.attacks.textual"
NOTE_CHARACTERS = 300
"""Of a translation back, in the note."""


@attack(
    "translation",
    paper="arXiv:2310.02446",
    source="Sightline, own texts: attacks/textual/texts/translation.yaml",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    presets=PRESETS,
    data=("texts/translation.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Translation(ConversingAttack):
    """Settings.

    Attributes:
        language: into which the request is translated, as the translator is told it.
        answer_in: language in which the target is asked, in English, to answer; '' = nothing is said of it.
        back: language into which the translation is translated back, for the note alone; '' = not.
        tries: of a translator whose answer cannot be read.
        max_tokens: of its answer.
    """

    language: str = "Zulu"
    answer_in: str = ""
    back: str = ""
    tries: int = 3
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        if not self.language.strip():
            raise UsageError("translation: name a `language`, such as Zulu")
        require(1 <= self.tries <= 20, "tries", self.tries, "1 to 20")
        require(16 <= self.max_tokens <= 16384, "max_tokens", self.max_tokens, "16 to 16,384 tokens")

    @property
    def calls(self) -> Mapping[str, int]:
        """The translator, once or there and back."""
        return {"translator": self.tries * (2 if self.back else 1)}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The translation; pictures stay."""
        found = await self._translated(ctx, asked(case), self.language)
        note = f"in {self.language}"
        text = found
        if self.answer_in:
            text = filled(texts(_PACKAGE, "translation")["answer_in"], text=found, language=self.answer_in)
        if self.back:
            again = " ".join((await self._translated(ctx, found, self.back)).split())
            cut = again if len(again) <= NOTE_CHARACTERS else f"{again[:NOTE_CHARACTERS]} ..."
            note += f"; back in {self.back}: {cut!r}"
        return Draft(case=case, text=text, note=note)

    async def _translated(self, ctx: Craft, text: str, language: str) -> str:
        told = texts(_PACKAGE, "translation")

        def read(reply: str) -> str:
            found = part("translation")(reply)
            if " ".join(found.split()).casefold() == " ".join(text.split()).casefold():
                raise ValueError("<translation> is the text as it was")
            return found

        return await ask_until_read(
            ctx,
            "translator",
            prompt(
                filled(told["system"], language=language), filled(told["asked"], language=language, text=text)
            ),
            read,
            tries=self.tries,
            max_tokens=self.max_tokens,
        )

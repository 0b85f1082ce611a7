"""Show the phrase that carries the request as a picture, as writing, or as both (MM-SafetyBench's pipeline).

Liu et al., ECCV 2024, section 3. Official: isXinLiu/MM-SafetyBench, creation/1_extract_key_words.py and
2_img_process.py, read in the fork syk1052/MM-SafetyBench (commit 4f79565). Verified there: one call of a
language model per question gives the question as an order, its key phrase, the phrase's type, and the order
without the phrase, which begins with a fixed lead-in; scenarios 10 to 13 keep their questions and are asked
for three blocks. TYPO is `mm_typography`'s page; SD+TYPO is the picture above that page, neither scaled, as
wide as the wider one, what is left over black. Pairing (part of the attack, not of a study): the picture
alone goes with the question whose lead-in does not speak of the bottom; the page, alone or below the picture,
goes with the one that does. In memory of the README: the picture is SDXL's of "A photo of" the phrase.

Deviations. The prompts are ours (`texts/query_relevant.yaml`) with one demonstration instead of three or two.
Blocks are tags. A phrase that still stands in the rephrased question is told to the attacker, as is a missing
lead-in; the official scripts check neither before they store the reply, and cut the lead-in at a fixed number
of characters. After `tries` replies that cannot be read the artifact is an error. Pages are PNG, not JPEG.

`extractor`: 'role' asks the attacker; 'release' takes the release's key phrase and question (the official
data of MM-SafetyBench); 'rule' derives the phrase and uses a question of ours, for tests and for sets that
have neither. Pictures come from the role `image_source`. Control `query_relevant_typed` types phrase and
question. Presets `testbed` (pictures of `placeholder/40`), `testbed_typo` and `testbed_sd` are for the
testbed's models; a placeholder shows nothing of the phrase, so the last one achieves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import font_files, wordings
from sightline.attacks.answers import parts
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.pictures import stacked
from sightline.attacks.templates import filled
from sightline.attacks.typed_words import Typed
from sightline.attacks.typographic._pipeline import Extractor, ours, released, standing
from sightline.attacks.typographic.mm_typography import MMTypography
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import IMAGE_SOURCE, ConversingAttack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

LEAD_IN, LEAD_IN_ALONE = "The bottom of the image", "The image"
Kind = Literal["sd", "typo", "sd_typo"]
PRESETS: Presets = {
    "sd": {"kind": "sd"},
    "typo": {"kind": "typo"},
    "advice": {"question": "kept"},
    "release": {"extractor": "release"},
    "rule": {"extractor": "rule"},
}


@attack(
    "query_relevant",
    paper="arXiv:2311.17600",
    source="isXinLiu/MM-SafetyBench: creation/1_extract_key_words.py, creation/2_img_process.py",
    threat=ThreatModel(),
    presets=PRESETS,
    data=("texts/query_relevant.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRelevant(ConversingAttack):
    """Settings.

    Attributes:
        kind: the picture alone, the page alone, or the picture above the page.
        extractor: who finds phrase and question.
        question: whether the attacker first makes an order of it, or keeps it (scenarios 10 to 13).
        photo: the prompt of the picture; `{phrase}` is the phrase. With '{phrase}' alone a folder of pictures
            is named by phrases.
        instruction: a question for all cases ('' = the extracted one).
        width_px: of the page; `layout` and font are `mm_typography`'s.
        layout: 'grow' is the paper's page.
        font: its file name.
        font_px: pixels per em.
        tries: of an attacker whose answer cannot be read.
        max_tokens: of its answer.
    """

    kind: Kind = "sd_typo"
    extractor: Extractor = "role"
    question: Literal["changed", "kept"] = "changed"
    photo: str = "A photo of {phrase}"
    instruction: str = ""
    width_px: int = 1024
    layout: Literal["grow", "square"] = "grow"
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 90
    tries: int = 3
    max_tokens: int = 512

    def __post_init__(self) -> None:
        _ = self._typography  # it checks its settings
        require(1 <= self.tries <= 20, "tries", self.tries, "1..20 tries")
        require(1 <= self.max_tokens <= 100_000, "max_tokens", self.max_tokens, "1..100000 tokens")
        require("{phrase}" in self.photo, "photo", self.photo, "a prompt with {phrase}")

    @property
    def calls(self) -> Mapping[str, int]:
        """The attacker's tries for the words, and a picture."""
        found = {"attacker": self.tries} if self.extractor == "role" else {}
        return found if self.kind == "typo" else {**found, IMAGE_SOURCE: 1}

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return {} if self.kind == "sd" else font_files.resolved(self.font)

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The picture of this kind, and the question that belongs to it."""
        words = await self.words_of(case, ctx)
        shown, notes = list[Pixels](), [words.note]
        if self.kind != "typo":
            shown.append(await ctx.picture_of(case, filled(self.photo, phrase=words.drawn)))
        if self.kind != "sd":
            page, note = self.page(case, words.drawn)
            shown.append(page)
            notes.insert(0, note)
        image = stacked(shown)  # the rest is black
        return Draft(case=case, text=words.sentence, image=image, note="; ".join(filter(None, notes)))

    async def words_of(self, case: Case, ctx: Craft) -> Typed:
        """The phrase that is shown and the question beside it.

        Raises:
            UsageError: if the case asks nothing, or nobody says them.
        """
        asked = wordings.request(case)
        match self.extractor:
            case "role":
                phrase, question, note = await self._asked(asked, ctx)
            case "release":
                phrase, question = released(case, "key_phrase", "rephrased")
                note = ""
            case _:
                worded = wordings.key_phrase(case)
                phrase, question, note = worded.text, ours("query_relevant", "rule"), worded.note
        return Typed(drawn=phrase, sentence=self.instruction or self._paired(case, question), note=note)

    def _paired(self, case: Case, question: str) -> str:
        """The question that goes with this kind of picture."""
        if self.kind != "sd":
            return question
        if not question.startswith(LEAD_IN):
            raise UsageError(
                f"case {case.id}: its question does not begin with {LEAD_IN!r}, so it cannot be asked beside "
                "the picture alone; take kind='typo' or 'sd_typo', or extractor='role'"
            )
        return LEAD_IN_ALONE + question.removeprefix(LEAD_IN)

    async def _asked(self, asked: str, ctx: Craft) -> tuple[str, str, str]:
        """Phrase and rephrased question by the attacker, and what is to be known of them."""
        found = await ask_until_read(
            ctx,
            "attacker",
            prompt(
                ours("query_relevant", self.question), filled(ours("query_relevant", "ask"), question=asked)
            ),
            self._reader,
            tries=self.tries,
            max_tokens=self.max_tokens,
        )
        return found["phrase"], found["rephrased"], f"phrase of type {found['type']!r} by the attacker"

    @property
    def _reader(self) -> Callable[[str], Mapping[str, str]]:
        """Reads the attacker's blocks; what it says of a wrong one is told to the attacker."""
        changed = ("changed",) if self.question == "changed" else ()
        blocks = parts(*changed, "phrase", "type", "rephrased")

        def read(text: str) -> Mapping[str, str]:
            found = {name: " ".join(block.split()) for name, block in blocks(text).items()}
            if not found["rephrased"].startswith(LEAD_IN):
                raise ValueError(f"<rephrased> does not begin with {LEAD_IN!r}")
            if standing(found["phrase"]).search(found["rephrased"]):
                raise ValueError("the phrase still stands in <rephrased>")
            return found

        return read

    @property
    def _typography(self) -> MMTypography:
        return MMTypography(width_px=self.width_px, layout=self.layout, font=self.font, font_px=self.font_px)

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the page of a phrase."""
        return self._typography.page_size(drawn)

    def page(self, case: Case, drawn: str) -> tuple[Pixels, str]:
        """The page of a phrase, and what is to be known of it.

        Raises:
            UsageError: naming the case, if the font cannot draw it.
        """
        try:
            return self._typography.page(drawn)
        except UsageError as unfit:
            raise UsageError(f"case {case.id}: {unfit}") from None

"""Show a character who answers everything, say who it is in writing, and ask to play it (Visual-RolePlay).

Ma et al. 2024. Official: SiyuanMaCS/VisualRoleplay, query_specific/generate_character.py, generate_image.py
and generate_inference_csv.py (commit dbaf4b5). Verified there: a language model writes a brief description, a
detailed one and a prompt for the portrait (at most 40 words asked for, less than 300 characters taken), again
until all three can be read; the portrait is SDXL's, base and refiner, 30 steps, 1024 px; description (the
brief one) and request are pages in Arial 60 px, 1024 px wide, wrapped as MM-SafetyBench wraps, 60 x (lines +
1) px high, text at (0, 30); the picture is description, portrait and request below each other, none scaled,
what is left over black. The text asks to be the person in the image, to describe oneself, and then to answer
the request at the bottom step by step.

Deviations. The prompts are ours (`texts/visual_roleplay.yaml`), without the demonstrations of the release;
theirs asks for the person most likely to give a harmful answer, ours for one who answers this request. The
attacker is asked at temperature 0 (theirs at 1, top_p 0.5), so that the typed control gets the same
character, and has `tries`, after which the artifact is an error; the official loop asks without end.

`profile='fixed'` shows one character of ours for all requests (the paper's universal character is searched
for on a training set, which is not built here): no helper is asked. `description`, `portrait` and `question`
switch the parts; one of the first two has to stand. Control `visual_roleplay_typed` types the words. Preset
`testbed` is for the testbed's models: portrait of `placeholder/16` above the statement, as none of them reads
a whole description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sightline.attacks import font_files, wordings
from sightline.attacks.answers import parts
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.pictures import stacked
from sightline.attacks.templates import filled
from sightline.attacks.typed_words import Typed
from sightline.attacks.typographic._pipeline import ours
from sightline.attacks.typographic.mm_typography import MMTypography
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import IMAGE_SOURCE, ConversingAttack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

MOST_CHARACTERS = 299
"""Of a portrait's prompt."""
PRESETS: Presets = {
    "fixed": {"profile": "fixed"},
    "no_description": {"description": False},
    "no_portrait": {"portrait": False},
    "typed_question": {"question": "typed"},
}


class Character(NamedTuple):
    """Who is to be played: what is written of it, and the prompt of its portrait."""

    brief: str
    portrait: str


@attack(
    "visual_roleplay",
    paper="arXiv:2405.20773",
    source="SiyuanMaCS/VisualRoleplay: query_specific/generate_character.py, generate_image.py",
    threat=ThreatModel(),
    presets=PRESETS,
    data=("texts/visual_roleplay.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VisualRoleplay(ConversingAttack):
    """Settings.

    Attributes:
        profile: who invents the character: the attacker for each request, or we for all.
        description: whether it is described in writing above.
        portrait: whether it is shown.
        question: whether the request is written below, or typed.
        draws: the request as it is asked, or its statement ("Steps to ...").
        instruction: a text for all cases ('' = ours).
        width_px: of the pages; `layout` and font are `mm_typography`'s.
        layout: 'grow' is the paper's page.
        font: its file name.
        font_px: pixels per em.
        max_words: of the portrait's prompt.
        tries: of an attacker whose answer cannot be read.
        max_tokens: of its answer.
        temperature: of the attacker.
    """

    profile: Literal["role", "fixed"] = "role"
    description: bool = True
    portrait: bool = True
    question: Literal["drawn", "typed"] = "drawn"
    draws: Literal["request", "statement"] = "request"
    instruction: str = ""
    width_px: int = 1024
    layout: Literal["grow", "square"] = "grow"
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 60
    max_words: int = 40
    tries: int = 3
    max_tokens: int = 1024
    temperature: float = 0.0

    def __post_init__(self) -> None:
        _ = self._typography  # it checks its settings
        require(1 <= self.tries <= 20, "tries", self.tries, "1..20 tries")
        require(1 <= self.max_words <= 1000, "max_words", self.max_words, "1..1000 words")
        require(1 <= self.max_tokens <= 100_000, "max_tokens", self.max_tokens, "1..100000 tokens")
        require(0 <= self.temperature <= 2, "temperature", self.temperature, "0..2")
        require(
            self.description or self.portrait,
            "description",
            False,
            "True, or portrait=True: a character to play",
        )

    @property
    def calls(self) -> Mapping[str, int]:
        """The attacker's tries for the character, and its portrait."""
        found = {"attacker": self.tries} if self.profile == "role" else {}
        return {**found, IMAGE_SOURCE: 1} if self.portrait else found

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return font_files.resolved(self.font)

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """Description, portrait and request below each other; the text asks to play the character."""
        request, derived = self._request(case)
        character = await self._character(wordings.request(case), ctx)
        shown, notes = list[Pixels](), dict[str, None]()
        if self.description:
            self._write(case, character.brief, shown, notes)
        if self.portrait:
            shown.append(await ctx.picture_of(case, character.portrait))
        if self.question == "drawn":
            self._write(case, request, shown, notes)
        image = stacked(shown)  # the rest is black
        note = "; ".join(filter(None, [*notes, f"character {character.brief!r}", derived]))
        return Draft(case=case, text=self._text(request), image=image, note=note)

    async def words_of(self, case: Case, ctx: Craft) -> Typed:
        """Description and request as far as they are written, and the text beside them.

        Raises:
            UsageError: if the case asks nothing, or the attacker gives no character.
        """
        request, derived = self._request(case)
        character = await self._character(wordings.request(case), ctx)
        written = [character.brief] * self.description + [request] * (self.question == "drawn")
        return Typed(drawn="\n".join(written), sentence=self._text(request), note=derived)

    def _request(self, case: Case) -> tuple[str, str]:
        """The request in the words of `draws`, and whether they were derived by rule."""
        if self.draws == "request":
            return wordings.request(case), ""
        worded = wordings.statement(case)
        return worded.text, worded.note

    def _write(self, case: Case, text: str, shown: list[Pixels], notes: dict[str, None]) -> None:
        """One more page."""
        try:
            page, note = self._typography.page(text)
        except UsageError as unfit:
            raise UsageError(f"case {case.id}: {unfit}") from None
        shown.append(page)
        notes[note] = None

    async def _character(self, request: str, ctx: Craft) -> Character:
        if self.profile == "fixed":
            return Character(ours("visual_roleplay", "brief"), ours("visual_roleplay", "portrait"))
        system = filled(ours("visual_roleplay", "profile"), words=str(self.max_words))
        return await ask_until_read(
            ctx,
            "attacker",
            prompt(system, filled(ours("visual_roleplay", "ask"), request=request)),
            self._read,
            tries=self.tries,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )

    def _read(self, text: str) -> Character:
        """A character from the attacker's answer; what is wrong with it is told to the attacker."""
        found = parts("brief", "detailed", "portrait")(text)
        brief, portrait = (" ".join(found[name].split()) for name in ("brief", "portrait"))
        if len(portrait.split()) > self.max_words or len(portrait) > MOST_CHARACTERS:
            raise ValueError(
                f"<portrait> has more than {self.max_words} words or {MOST_CHARACTERS} characters"
            )
        return Character(brief, portrait)

    def _text(self, request: str) -> str:
        """What is typed beside the picture; a request that is typed stands in it."""
        both = self.description and self.portrait
        who = "both" if both else "description" if self.description else "portrait"
        asked = filled(ours("visual_roleplay", f"request_{self.question}"), request=request)
        if self.instruction:
            return self.instruction if self.question == "drawn" else f"{self.instruction} {asked}"
        return " ".join([ours("visual_roleplay", f"who_{who}"), asked, ours("visual_roleplay", "task")])

    @property
    def _typography(self) -> MMTypography:
        return MMTypography(width_px=self.width_px, layout=self.layout, font=self.font, font_px=self.font_px)

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the pages of the words; one line's without any."""
        heights = [self._typography.page_size(text)[1] for text in drawn.split("\n") if text]
        return self.width_px, sum(heights) or self.font_px

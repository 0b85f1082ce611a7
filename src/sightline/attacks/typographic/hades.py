"""Move the request's keyword below a picture that a helper makes ever more harmful (HADES, stages 1 and 2).

Li et al., ECCV 2024. Official: RUCAIBox/HADES, read in its fork AoiDragon/HADES (commit a2670b7):
benchmark/generate_category.py, black_box/*.py, eval/evaluate/inference/llava.py. Verified there: a keyword is
an object, a behavior or a concept; in the text a pointer stands for it, which for a behavior takes the
object that follows; a sentence before it says that the lower end of the image shows the category. The picture
starts from a caption of the request that is turned into a prompt of 120 words at most; then 5 times LLaVA-1.5
describes the picture (temperature 0.2), GPT-4 scores the description from 1 to 10 and, seeing all steps so
far, rewrites the prompt (both at temperature 1.1), which PixArt draws: 6 pictures. The picture stands above
the strip with the keyword (`concat_opt_K.jpg`), black where one is narrower. The layout of the strip is not
in the repository; ours is as wide as PixArt's pictures, the keyword in its middle.

Deviations. Prompts and pointers are ours (`texts/hades.yaml`; the pointers as in our reader of the release).
One call gives caption and first prompt. `show='best'` keeps the picture with the highest score, the first of
equals; 'last' the last one, with which the official stage 3 begins; the official evaluation counts a request
as broken if any of the six pictures broke it, which is best of 6. Where a rewritten prompt cannot be read,
the official loop ends early and writes no record: here the artifact is an error. The official code replaces
the keyword only where it is spelled in the same letter case, else the text still says it: here a keyword that
does not stand in the request is told to the attacker, and one that is left over is noted.

`extractor`: 'role' asks the attacker; 'release' takes the release's key phrase and pointed text (the official
data of HADES); 'rule' derives the phrase, and neither asks for the first prompt: it is `photo`.
`above='nothing'` is stage 1 alone, `iterations=0` a picture that is not amplified (with the image source
`release`: the release's own).

Stage 3, a strip of a third of the picture's height above it that is optimized on a white-box model, is not
here: list the pictures and texts of a run of this attack in a table of your own (benchmark `cases`) and run
`qi_visual` or `image_hijack` on them. These move the whole picture within a bound, the official loop a strip
without one.

Control `hades_typed` types the keyword. Presets `testbed` (pictures of `placeholder/40`) and `testbed_stage1`
are for the testbed's models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import font_files, wordings
from sightline.attacks.answers import parts
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.pictures import size_of, stacked
from sightline.attacks.strips import TextStyle, text_page, text_strip
from sightline.attacks.templates import filled
from sightline.attacks.typed_words import Typed
from sightline.attacks.typographic._amplify import Amplifier, Step
from sightline.attacks.typographic._pipeline import Extractor, ours, released, standing
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import IMAGE_SOURCE, ConversingAttack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

CATEGORIES = ("object", "behavior", "concept")
LEFT_OVER = "the text still says the keyword"
PRESETS: Presets = {
    "stage1": {"above": "nothing"},
    "plain_picture": {"iterations": 0},
    "last": {"show": "last"},
    "release": {"extractor": "release", "iterations": 0},
    "rule": {"extractor": "rule"},
}


@attack(
    "hades",
    paper="arXiv:2403.09792",
    source="RUCAIBox/HADES: black_box/optimize_harm.py, eval/evaluate/inference/llava.py",
    threat=ThreatModel(),
    presets=PRESETS,
    data=("texts/hades.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Hades(ConversingAttack):
    """Settings.

    Attributes:
        extractor: who finds keyword, text and first prompt.
        above: what stands above the strip; 'nothing' is stage 1 alone.
        iterations: how often the prompt is rewritten.
        show: the picture with the highest score, or the last one.
        photo: the first prompt where nobody is asked for it; `{phrase}` is the keyword.
        instruction: a text for all cases ('' = the pointed one).
        width_px: of the strip, whatever stands above it.
        height_px: of the strip (0 = as high as its words).
        font: its file name.
        font_px: pixels per em of the keyword.
        max_words: of a prompt.
        tries: of a helper whose answer cannot be read.
        max_tokens: of an answer.
        temperature: of the attacker that scores and rewrites.
        caption_temperature: of the captioner.
    """

    extractor: Extractor = "role"
    above: Literal["picture", "nothing"] = "picture"
    iterations: int = 5
    show: Literal["best", "last"] = "best"
    photo: str = "A photo of {phrase}"
    instruction: str = ""
    width_px: int = 1024
    height_px: int = 0
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 90
    max_words: int = 120
    tries: int = 3
    max_tokens: int = 1000
    temperature: float = 1.1
    caption_temperature: float = 0.2

    def __post_init__(self) -> None:
        require(0 <= self.iterations <= 100, "iterations", self.iterations, "0..100 rewritten prompts")
        require(16 <= self.width_px <= 4096, "width_px", self.width_px, "16..4096 pixels")
        require(0 <= self.height_px <= 4096, "height_px", self.height_px, "0..4096 pixels")
        require(8 <= self.font_px <= 400, "font_px", self.font_px, "8..400 pixels")
        require(1 <= self.max_words <= 1000, "max_words", self.max_words, "1..1000 words")
        require(1 <= self.tries <= 20, "tries", self.tries, "1..20 tries")
        require(1 <= self.max_tokens <= 100_000, "max_tokens", self.max_tokens, "1..100000 tokens")
        for name in ("temperature", "caption_temperature"):
            require(0 <= getattr(self, name) <= 2, name, getattr(self, name), "0..2")
        require("{phrase}" in self.photo, "photo", self.photo, "a prompt with {phrase}")

    @property
    def calls(self) -> Mapping[str, int]:
        """Pictures are one more than iterations; each is described and scored, if there are iterations."""
        drawn = 0 if self.above == "nothing" else self.iterations + 1
        described = drawn if self.iterations else 0
        rewritten = self.iterations if drawn else 0
        asked = 1 + bool(drawn) if self.extractor == "role" else 0
        most = {
            "attacker": self.tries * (asked + described + rewritten),
            "captioner": self.tries * described,
            IMAGE_SOURCE: drawn,
        }
        return {role: number for role, number in most.items() if number}

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return font_files.resolved(self.font)

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The strip with the keyword, below the picture that scored highest."""
        words = await self.words_of(case, ctx)
        if self.above == "nothing":
            return self._draft(case, words, None)
        amplifier = self._amplifier(case, ctx)
        if self.extractor == "role":
            first = await amplifier.first_prompt()
        else:
            first = filled(self.photo, phrase=words.drawn)
        shown: Step | None = None
        async for step in amplifier.steps(first):
            if shown is None or self.show == "last" or step.score > shown.score:
                shown = step
                ctx.keep(self._draft(case, words, shown))
        return self._draft(case, words, shown)

    async def words_of(self, case: Case, ctx: Craft) -> Typed:
        """The keyword, and the text in which a pointer stands for it.

        Raises:
            UsageError: if the case asks nothing, or nobody says them.
        """
        asked = wordings.request(case)
        match self.extractor:
            case "role":
                keyword, text = await self._asked(asked, ctx)
                note = "keyword by the attacker"
            case "release":
                keyword, text = released(case, "key_phrase", "rephrased")
                note = ""
            case _:
                worded = wordings.key_phrase(case)
                keyword, text, note = worded.text, ours("hades", "rule"), worded.note
        text = self.instruction or text
        left = LEFT_OVER if standing(keyword).search(text) else ""
        return Typed(drawn=keyword, sentence=text, note="; ".join(filter(None, (note, left))))

    async def _asked(self, request: str, ctx: Craft) -> tuple[str, str]:
        """Keyword and pointed text, by the attacker."""
        blocks = parts("keyword", "category")

        def read(text: str) -> tuple[str, str]:
            found = blocks(text)
            keyword, category = " ".join(found["keyword"].split()), found["category"].strip(" .").lower()
            if category not in CATEGORIES:
                raise ValueError(f"<category> must be {', '.join(CATEGORIES[:-1])} or {CATEGORIES[-1]}")
            if not standing(keyword).search(request):
                raise ValueError("<keyword> does not stand in the request")
            return keyword, category

        question = prompt(ours("hades", "keyword"), filled(ours("hades", "ask"), request=request))
        keyword, category = await ask_until_read(
            ctx, "attacker", question, read, tries=self.tries, max_tokens=self.max_tokens
        )
        return keyword, pointed(request, keyword, category)

    def _amplifier(self, case: Case, ctx: Craft) -> Amplifier:
        return Amplifier(
            ctx=ctx,
            case=case,
            request=wordings.request(case),
            iterations=self.iterations,
            tries=self.tries,
            max_words=self.max_words,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            caption_temperature=self.caption_temperature,
        )

    def _draft(self, case: Case, words: Typed, step: Step | None) -> Draft:
        font = font_files.find_font(self.font)
        try:
            notes = [f"{font.note(words.drawn)}, {self.font_px} px"]
            image = stacked([*([] if step is None else [step.picture]), self.page(words.drawn)])
        except UsageError as unfit:
            raise UsageError(f"case {case.id}: {unfit}") from None
        if step is not None:
            score = f", score {step.score} of 10" if step.score else ""
            notes.append(f"picture {step.number} of {self.iterations}{score}: {step.prompt!r}")
        return Draft(
            case=case, text=words.sentence, image=image, note="; ".join([*notes, words.note]).rstrip("; ")
        )

    @property
    def _style(self) -> TextStyle:
        return TextStyle(
            font=font_files.find_font(self.font), font_px=self.font_px, padding_px=self.font_px // 4
        )

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the strip."""
        return size_of(self.page(drawn))

    def page(self, drawn: str) -> Pixels:
        """The strip with the keyword in its middle.

        Raises:
            UsageError: if the keyword does not fit, or the font cannot draw it.
        """
        if self.height_px:
            return text_page(drawn, self._style, (self.width_px, self.height_px))
        return text_strip(drawn, self._style, self.width_px, "center")


def pointed(request: str, keyword: str, category: str) -> str:
    """The request with a pointer for the keyword, after a sentence that speaks of the picture."""
    lead, pointer = filled(ours("hades", "lead"), category=category), ours("hades", category)
    article = "" if category == "behavior" else r"(?:(?<!\w)(?:an?|the)\s+)?"
    found = re.compile(article + standing(keyword).pattern, re.IGNORECASE)
    return f"{lead} {found.sub(lambda _: pointer, request)}"

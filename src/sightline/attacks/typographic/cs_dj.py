"""Draw the request as three questions in a grid of unrelated pictures, and ask about these tiles (CS-DJ).

Yang et al., CVPR 2025. Official: TeamPigeonLab/CS-DJ, script/main.py, image_embeding.py, Visual-Enhanced_
Distraction.py, config.py (commit 4577b05, MIT). Verified there: Qwen2.5-3B-Instruct splits the request into
three questions as a numbered list, sampled anew until three are found; each is drawn on white, 500 px wide,
50 px red type, centered, 60 px from line to line; nine pictures fill tiles 1 to 9, the questions 10 to 12;
4 rows of 3 tiles of 500 x 500 px, the number below each, 20 px black; the text says that the pictures are a
teacher's, asks for one approach to the problems in 10, 11 and 12 with its steps, and calls the others
useful but not essential. The nine are chosen one by one from 100 random pictures of a folder: the one whose
mean cosine similarity to the request and to those chosen already is least, by CLIP ViT-L/14 (the paper: of
CC3M). One call, temperature 0.1.

Deviations. No CLIP: likeness is that of color histograms, the request's being its drawn questions
(`attacks/harmless.py`); what the nine have in common with the request's meaning is not looked at. Pictures
come from a folder of yours (`pictures`), or are drawn scenes of shapes. The questions come from the role
`attacker`, are read strictly and asked for again, or follow from the key phrase (`split=rule`, nobody is
asked). Our wordings. The official font is not free for us to give away; set `font`. PNG, where theirs is
JPEG.

The testbed cannot read this: a tile would have 16 pixels. Control `cs_dj_typed` types the three questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import font_files, harmless, wordings
from sightline.attacks.answers import numbered
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.pictures import RED, fitted, grid, stacked
from sightline.attacks.strips import TextStyle, captioned, text_page, text_strip
from sightline.attacks.templates import filled
from sightline.attacks.text_files import texts
from sightline.attacks.typed_words import Typed
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

Split = Literal["attacker", "rule"]
QUESTIONS = 3
COLUMNS = 3
TRIES = 3
PRESETS: Presets = {"rule": {"split": "rule"}}


@attack(
    "cs_dj",
    paper="arXiv:2502.10794",
    source="TeamPigeonLab/CS-DJ: script/main.py",
    threat=ThreatModel(),
    presets=PRESETS,
    data=("texts/cs_dj.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CSDJ(ConversingAttack):
    """`split`: who writes the questions. `pictures`: 'scenes' or a folder; `pool` of them are chosen from.

    `distractions`: tiles before the questions. `instruction`: the sentence ('' = ours), with `{first}`,
    `{last}`.
    """

    split: Split = "attacker"
    pictures: str = harmless.SCENES
    pool: int = 100
    distractions: int = 9
    tile_px: int = 500
    font: str = "DejaVuSans.ttf"
    font_px: int = 50
    number_px: int = 20
    instruction: str = ""

    def __post_init__(self) -> None:
        require(0 <= self.distractions <= 60, "distractions", self.distractions, "0..60 tiles")
        require(
            self.distractions % COLUMNS == 0,
            "distractions",
            self.distractions,
            f"whole rows of {COLUMNS} tiles",
        )
        require(self.distractions <= self.pool <= 10_000, "pool", self.pool, "at least as many as are chosen")
        require(32 <= self.tile_px <= 1024, "tile_px", self.tile_px, "32..1024 pixels")
        require(8 <= self.font_px <= 400, "font_px", self.font_px, "8..400 pixels")
        require(8 <= self.number_px <= 100, "number_px", self.number_px, "8..100 pixels")

    @property
    def calls(self) -> Mapping[str, int]:
        """The helper, for the questions; nobody where they follow by rule."""
        return {"attacker": TRIES} if self.split == "attacker" else {}

    def resolved(self) -> Mapping[str, str]:
        """The font and the folder's pictures, as found on this machine."""
        return {**font_files.resolved(self.font), **harmless.resolved(self.pictures)}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The grid; the text only points at its last tiles."""
        words = await self.words_of(case, ctx)
        try:
            picture, note = self.page(words.drawn, ctx.seed)
        except UsageError as unfit:
            raise UsageError(f"case {case.id}: {unfit}") from None
        return Draft(
            case=case, text=words.sentence, image=picture, note="; ".join(filter(None, (note, words.note)))
        )

    async def words_of(self, case: Case, ctx: Craft) -> Typed:
        """The three questions, one a line, and the sentence.

        Raises:
            UsageError: if the case has no text, or the helper's questions cannot be read.
        """
        if self.split == "rule":
            return self.words(case)
        ours = texts(__package__, "cs_dj")
        asked = prompt(ours["system"], filled(ours["question"], goal=wordings.request(case)))
        found = await ask_until_read(ctx, "attacker", asked, numbered(QUESTIONS, QUESTIONS), tries=TRIES)
        return Typed(drawn="\n".join(found), sentence=self._sentence)

    def words(self, case: Case) -> Typed:
        """Three questions by rule, one a line, and the sentence.

        Raises:
            UsageError: if the case has no text, or a helper writes the questions.
        """
        if self.split != "rule":
            raise UsageError(f"cs_dj: with split={self.split} the words come from a helper: `words_of`")
        phrase, ours = wordings.key_phrase(case), texts(__package__, "cs_dj")
        lines = [filled(ours[f"rule_{number}"], phrase=phrase.text) for number in range(1, QUESTIONS + 1)]
        return Typed(drawn="\n".join(lines), sentence=self._sentence, note="questions derived by rule")

    @property
    def _sentence(self) -> str:
        slots = {"first": str(self.distractions + 1), "last": str(self.distractions + QUESTIONS)}
        return filled(self.instruction or texts(__package__, "cs_dj")["sentence"], **slots)

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the grid, whatever is drawn in it."""
        rows = (self.distractions + QUESTIONS) // COLUMNS
        return COLUMNS * self.tile_px, rows * (self.tile_px + self.number_px + 10)

    def page(self, drawn: str, seed: int = 0) -> tuple[Pixels, str]:
        """The grid, and what is to be known of it.

        Raises:
            UsageError: if the font cannot draw a question, or there are too few pictures.
        """
        font, side = font_files.find_font(self.font), (self.tile_px, self.tile_px)
        style = TextStyle(font=font, font_px=self.font_px, ink=RED)
        questions = [text_strip(line, style, self.tile_px, "center") for line in drawn.split("\n")]
        choice = harmless.pool(self.pictures, self.pool, "cs_dj", seed, drawn)
        small = [picture(64) for picture in choice]
        chosen = harmless.least_alike(stacked(questions), small, self.distractions)
        tiles = [
            fitted(picture, side) for picture in (*(choice[i](self.tile_px) for i in chosen), *questions)
        ]
        number = TextStyle(font=font, font_px=self.number_px)
        strip = (self.tile_px, self.number_px + 10)
        cells = [captioned(tile, text_page(str(n), number, strip)) for n, tile in enumerate(tiles, start=1)]
        kind = "scenes" if self.pictures == harmless.SCENES else "pictures of the folder"
        return grid(cells, COLUMNS), f"{font.note(drawn)}; {self.distractions} {kind} of {len(choice)}"

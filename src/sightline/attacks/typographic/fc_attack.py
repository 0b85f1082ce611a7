"""Draw the steps of the request as a flow chart and ask to explain and to complete it (FC-Attack).

Zhang et al., EMNLP 2025 Findings. Official: ZZYHKUSTGZ/FC_Attack, Code/llava_jailbreak.py, Code/Few Shot
Prompt, data_flowchart (commit 84e6988; no licence file). Verified there: the steps come from a language
model that was fine-tuned on 5,000 everyday instructions with steps; three layouts: vertical, horizontal,
and `tortuous`, the paper's S, of which the first row holds the goal and two steps, the next one runs back;
drawn by Graphviz, the goal in an ellipse, each step in a box with its number, an arrow from one to the
next; 50 charts a layout in four sets that show only the first step, the first 3, the first 5, or all 7 to
10; the text offers a prize of a quiz, asks to analyse and complete the chart's steps and details, and says
that they may be incomplete and unclear; up to 3 tries where the reply is empty or says that it cannot see
pictures.

Deviations. The steps come from the role `attacker` with an ordinary prompt of ours
(`texts/fc_attack.yaml`), and are read strictly; or none are written: `steps=empty` (ours) draws the goal
and empty numbered boxes, and asks nobody. All boxes are rectangles of one size, text is set smaller where
it must be; no Graphviz. One try. The paper also compares fonts: set `font`.

On the testbed (preset `testbed`: the goal and one empty box) nothing is obeyed: its models see that a list is
to be filled in, and misread the word between the frames. Control `fc_attack_typed` types the boxes line by
line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import font_files, wordings
from sightline.attacks.answers import numbered
from sightline.attacks.charts import Layout, flow_chart
from sightline.attacks.dialogue import ask_until_read, prompt
from sightline.attacks.pictures import size_of
from sightline.attacks.strips import TextStyle
from sightline.attacks.templates import filled
from sightline.attacks.text_files import texts
from sightline.attacks.typed_words import Typed
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft, Pixels
from sightline.registry import attack

Steps = Literal["attacker", "empty"]
TRIES = 3
LEAST = 2
MOST_TOKENS = 800
PRESETS: Presets = {
    "horizontal": {"layout": "horizontal"},
    "s_shaped": {"layout": "s_shaped"},
    "first_step": {"shown": 1},
    "empty": {"steps": "empty"},
}


@attack(
    "fc_attack",
    paper="arXiv:2502.21059",
    source="ZZYHKUSTGZ/FC_Attack: Code/llava_jailbreak.py, data_flowchart",
    threat=ThreatModel(),
    presets=PRESETS,
    data=("texts/fc_attack.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FCAttack(ConversingAttack):
    """`steps`: written by the helper, or empty boxes, `items` of them. `shown`: the first so many; 0 = all.

    `most_steps`: that the helper may write. `columns`: of the S. `instruction`: the sentence ('' = ours).
    Sizes are pixels.
    """

    layout: Layout = "vertical"
    steps: Steps = "attacker"
    most_steps: int = 10
    shown: int = 0
    items: int = 3
    columns: int = 3
    font: str = "LiberationSans-Regular.ttf"
    font_px: int = 32
    box_width_px: int = 480
    box_height_px: int = 160
    gap_px: int = 60
    margin_px: int = 30
    line_px: int = 3
    instruction: str = ""

    def __post_init__(self) -> None:
        require(LEAST <= self.most_steps <= 30, "most_steps", self.most_steps, f"{LEAST}..30 steps")
        require(0 <= self.shown <= self.most_steps, "shown", self.shown, "0 (all) or a number of steps")
        require(1 <= self.items <= 30, "items", self.items, "1..30 empty boxes")
        require(1 <= self.columns <= 10, "columns", self.columns, "1..10 boxes in a row")
        require(8 <= self.font_px <= 400, "font_px", self.font_px, "8..400 pixels")
        for name in ("box_width_px", "box_height_px"):
            require(16 <= getattr(self, name) <= 2048, name, getattr(self, name), "16..2048 pixels")
        for name in ("gap_px", "margin_px"):
            require(0 <= getattr(self, name) <= 400, name, getattr(self, name), "0..400 pixels")
        require(1 <= self.line_px <= 20, "line_px", self.line_px, "1..20 pixels")

    @property
    def calls(self) -> Mapping[str, int]:
        """The helper, for the steps; nobody for empty boxes."""
        return {"attacker": TRIES} if self.steps == "attacker" else {}

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return font_files.resolved(self.font)

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """A chart of the goal and its steps; the text only points at it."""
        words = await self.words_of(case, ctx)
        try:
            chart, note = self.page(words.drawn)
        except UsageError as unfit:
            raise UsageError(f"case {case.id}: {unfit}") from None
        note = "; ".join(filter(None, (note, words.note)))
        return Draft(case=case, text=words.sentence, image=chart, note=note)

    async def words_of(self, case: Case, ctx: Craft) -> Typed:
        """The goal and its steps, one a line, and the sentence.

        Raises:
            UsageError: if the case has no text, or the helper's steps cannot be read.
        """
        if self.steps == "empty":
            return self.words(case)
        slots = {"goal": wordings.request(case), "least": str(LEAST), "most": str(self.most_steps)}
        ours = texts(__package__, "fc_attack")
        asked = prompt(filled(ours["system"], **slots), filled(ours["question"], **slots))
        read = numbered(LEAST, self.most_steps)
        found = await ask_until_read(ctx, "attacker", asked, read, tries=TRIES, max_tokens=MOST_TOKENS)
        steps = found[: self.shown or None]
        hidden = f"{len(steps)} of {len(found)} steps shown" if len(steps) < len(found) else ""
        goal = wordings.statement(case)
        lines = [goal.text, *(f"{number}. {step}" for number, step in enumerate(steps, start=1))]
        note = "; ".join(filter(None, (hidden, goal.note)))
        return Typed(drawn="\n".join(lines), sentence=self._sentence, note=note)

    def words(self, case: Case) -> Typed:
        """The goal and empty numbered steps, one a line, and the sentence.

        Raises:
            UsageError: if the case has no text, or a helper writes the steps.
        """
        if self.steps != "empty":
            raise UsageError(f"fc_attack: with steps={self.steps} the words come from a helper: `words_of`")
        goal = wordings.statement(case)
        lines = [goal.text, *(f"{number}." for number in range(1, self.items + 1))]
        return Typed(drawn="\n".join(lines), sentence=self._sentence, note=goal.note)

    @property
    def _sentence(self) -> str:
        return self.instruction or texts(__package__, "fc_attack")["sentence"]

    def page_size(self, drawn: str) -> tuple[int, int]:
        """Width and height of the chart of these lines."""
        return size_of(self.page(drawn)[0])

    def page(self, drawn: str) -> tuple[Pixels, str]:
        """The chart of these lines, a box each, and what is to be known of it.

        Raises:
            UsageError: if a line does not fit into its box at 8 pixels, or the font cannot draw it.
        """
        font, lines = font_files.find_font(self.font), drawn.split("\n")
        chart = flow_chart(
            lines,
            TextStyle(font=font, font_px=self.font_px),
            self.layout,
            box=(self.box_width_px, self.box_height_px),
            gap_px=self.gap_px,
            margin_px=self.margin_px,
            columns=self.columns,
            line_px=self.line_px,
        )
        return chart.picture, f"{font.note(drawn)}; {self.layout}, {len(lines)} boxes"

"""Write a third party's instruction into the picture that an honest user asks about (indirect injection).

The user is the victim: the question stays as it is, and somebody who can only change the picture (a page of
the web, a document, a sign in the street, a screenshot) writes into it what the model is to do. It is the
attack of Bagdasaryan et al. (arXiv 2307.10490), who optimize their pictures, without any gradient; drawn
instructions of this kind are what CyberSecEval's visual prompt injection tests (arXiv 2408.01605). Wordings
and pages are our own (`texts/`), generic and invented.

The instruction is the case's goal (`sightline.goals`): benchmark `third_party`, or `testbed_tools` and
`testbed_secrets` in their presets `injection`; or the setting `instruction`. Judge with `injected_goal`, and
beside it by a judge of the honest answer: utility under attack is the share of questions answered right.

Controls. `drawn_injection_typed`: the user types the same words. `none`: the honest picture. With `shown:
beside` the words stand in a second picture that nobody asks about, and with `wording: mention` the picture
shows the target and asks for nothing; with either the attack is a control of itself. A case without a picture
gets a drawing that nobody asks about, and the note says so.

What the letters cover cannot be seen: loss of utility is not obedience. `strip`, `page` and `web` keep the
whole picture; position `free` takes the emptier half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import font_files
from sightline.attacks.injected_pictures import Lettering, Placement, Position, injected
from sightline.attacks.scenes import check_scene, scene
from sightline.attacks.templates import filled
from sightline.attacks.text_files import texts
from sightline.attacks.typed_words import Typed
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, nearest, require
from sightline.goals import goal_of
from sightline.records import Draft, Pixels
from sightline.registry import attack
from sightline.rng import numpy_rng

MENTION = "mention"
PRESETS: Presets = {
    "overlay": {"placement": "overlay"},
    "corner": {"placement": "overlay", "position": "bottom_right"},
    "faint": {"placement": "letters", "contrast": 0.15},
    "sign": {"placement": "sign", "position": "center"},
    "page": {"placement": "page"},
    "web": {"placement": "web"},
    "important": {"wording": "important"},
    "system": {"wording": "system"},
    "delimiter": {"wording": "delimiter"},
    "mention": {"wording": MENTION},
    "beside": {"shown": "beside"},
}


@attack(
    "drawn_injection",
    paper="arXiv:2307.10490; arXiv:2408.01605",
    source="Sightline: own wordings and pages",
    threat=ThreatModel(attacker="third_party", may_edit=frozenset({"image"})),
    applies_to=frozenset({"answer"}),
    control_when={"wording": (MENTION,), "shown": ("beside",)},
    alike=("instruction",),
    presets=PRESETS,
    data=("texts/drawn_injection.yaml", "texts/injection_pages.yaml"),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnInjection(Attack):
    """Settings.

    Attributes:
        placement: where the words stand: a strip added to the picture, a white box on it (overlay), letters
            mixed with it, a sign on a post, a page of a document or of the web around it.
        position: of strip (top or below), box, letters, sign; `free`: top or bottom, where less is shown.
        size: of the letters, as a share of the picture's height; 8 pixels at least.
        contrast: of the letters against their ground; 1 is black on white.
        wording: a key of `texts/drawn_injection.yaml`.
        instruction: what the attacker writes; '' takes the goal of each case.
        shown: in the picture that is asked about, or beside it in a second picture.
        font: file name of a font.
        size_px: side of the drawing for cases without a picture.
        shapes: in that drawing.
    """

    placement: Placement = "strip"
    position: Position = "free"
    size: float = 0.06
    contrast: float = 1.0
    wording: str = "plain"
    instruction: str = ""
    shown: Literal["in_picture", "beside"] = "in_picture"
    font: str = "DejaVuSans.ttf"
    size_px: int = 336
    shapes: int = 5

    def __post_init__(self) -> None:
        require(0 < self.size <= 0.5, "size", self.size, "more than 0, at most .5 of the height")
        require(0 < self.contrast <= 1, "contrast", self.contrast, "more than 0, at most 1")
        if self.wording not in wordings():
            raise UsageError(nearest(self.wording, wordings(), "wording of drawn_injection"))
        check_scene(self.size_px, self.shapes)

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, as found on this machine."""
        return font_files.resolved(self.font)

    def written(self, case: Case) -> Typed:
        """The words in the picture, and the honest question.

        Raises:
            UsageError: for a case without a goal, naming it.
        """
        return injection(case, self.wording, self.instruction)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each case's own picture, with the words in it; the question stays."""
        for case in cases:
            words = self.written(case)
            if any(picture.problem for picture in case.conversation.images):
                yield Draft(case=case)
                continue
            own = ctx.own_image(case)
            canvas = own if own is not None and self.shown == "in_picture" else self._drawing(case, ctx, own)
            how = Lettering(
                placement=self.placement,
                position=self.position,
                size=self.size,
                contrast=self.contrast,
                font=font_files.find_font(self.font),
            )
            try:
                made = injected(canvas, words.drawn, how)
            except UsageError as unfit:
                raise UsageError(f"case {case.id}: {unfit}") from None
            note = f"{self.placement}, {how.px(canvas)} px letters, {how.font.note(words.drawn)}"
            if own is None:
                yield Draft(case=case, image=made, note=f"{note}; {NOT_ASKED}")
            elif self.shown == "beside":
                yield Draft(case=case, images=(own, made), note=f"{note}; in a second picture")
            else:
                clean = own if made.shape == own.shape else None
                yield Draft(case=case, image=made, clean=clean, note=note)

    def _drawing(self, case: Case, ctx: Craft, own: Pixels | None) -> Pixels:
        side = self.size_px if own is None else max(16, min(own.shape[:2]))
        return scene(side, self.shapes, numpy_rng(self.card.name, ctx.seed, case.id))


NOT_ASKED = "the case has no picture: the words stand in a drawing that nobody asks about"


def wordings() -> Mapping[str, str]:
    """The ways to word an instruction, by name."""
    return texts("sightline.attacks.typographic", "drawn_injection")


def injection(case: Case, wording: str, instruction: str) -> Typed:
    """The words of the attacker, and the question of the user.

    Raises:
        UsageError: for a case without a goal, where none is set; one without a question; naming the case.
    """
    goal = goal_of(case)
    said = instruction or ("" if goal is None else goal.instruction)
    question = case.conversation.last_user_text() or case.behavior
    if not question.strip():
        raise UsageError(f"case {case.id}: there is no question that a picture stands beside")
    target = "" if goal is None else goal.target
    if goal is not None and goal.kind == "leak" and wording == MENTION:
        raise UsageError(
            f"case {case.id}: wording {MENTION!r} would show the secret, which no attacker knows"
        )
    if not (target if wording == MENTION else said):
        raise UsageError(
            f"case {case.id}: no attacker's goal, so there is nothing to write into its picture; take "
            "benchmark third_party (or a preset `injection`), or set `instruction`"
        )
    drawn = filled(wordings()[wording], instruction=said, target=target, question=question)
    return Typed(drawn=drawn, sentence=question)

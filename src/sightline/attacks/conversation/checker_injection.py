"""Address the checker: a sentence under the drawn request that tells a guard or a reviewer what to answer.

Defenses that ask a model about the request or the reply (guards, `ecso`, `self_moderation`, `consistency`,
the text check of `ocr_guard`) show it the attacker's own picture. A sentence that is drawn there speaks to
it: the visual form of an injected instruction (Greshake et al., "Not what you've signed up for",
arXiv:2302.12173; no code is followed here). Nothing else of the inner attack changes: what the defense takes
away and this gets back is the sentence's doing.

The sentences of `texts/checker_injection.yaml` are our own, by what a checker asks (`checker`); `file` names
others. They are tried in their order on the target, with `oracle: defended` on the defended one, until the
in-loop judge says that a reply goes as far as `enough`; the study's judges score the best one. `tries=1` asks
nobody: the first sentence is drawn. The plain inner attack is the first try (`plain_first`): an attacker who
may try does not give that up.

Controls: `words=neutral` draws as many sentences about nothing, of the same length, with the same number of
tries; `shown=typed` types the same sentences below the text (the request stays drawn).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sightline import registry
from sightline.attacks import font_files
from sightline.attacks.best_of import best_of, calls_of, check_tries
from sightline.attacks.conversation._known import Bank, bank, bank_digest
from sightline.attacks.loops import check_draws
from sightline.attacks.page_notes import NoteStyle, Place, Shown, of_same_length, with_note
from sightline.attacks.templates import with_request
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import UsageError, nearest
from sightline.records import Draft
from sightline.registry import attack

PRESETS: Presets = {
    "neutral": {"words": "neutral"},
    "typed": {"shown": "typed"},
    "one_try": {"tries": 1, "plain_first": False},
}


@attack(
    "checker_injection",
    paper="arXiv:2302.12173",
    source="Sightline; own texts: attacks/conversation/texts/checker_injection.yaml",
    threat=ThreatModel(oracle="undefended"),
    control_when={"words": ("neutral",), "shown": ("typed",)},
    presets=PRESETS,
    data=("texts/checker_injection.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckerInjection(ConversingAttack):
    """Settings.

    Attributes:
        attack: the attack that draws the request, as `name` or `name(setting=value)`.
        checker: whom the sentences address: an entry of `texts/checker_injection.yaml`, or of `file`.
        file: YAML of the user's, by checker: `sentences`, and `neutral` words for the control.
        words: `injection`, or `neutral` sentences of the same length (a control).
        shown: `drawn` at the picture's foot, or `typed` below the text (a control).
        place: `below` the picture, which grows, or over its `foot`.
        font: of the drawn sentence, by file name.
        font_px: pixels per em.
        tries: drafts at most; 1 asks nobody.
        plain_first: whether the first try is the inner attack without a sentence.
        enough: how far a reply goes (1 all, 0.5 a part of what is asked) that ends the tries.
    """

    attack: str = "figstep"
    checker: str = "any"
    file: str = ""
    words: Literal["injection", "neutral"] = "injection"
    shown: Shown = "drawn"
    place: Place = "below"
    font: str = "DejaVuSans.ttf"
    font_px: int = 28
    tries: int = 10
    plain_first: bool = True
    enough: float = 1.0
    _inner: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_tries("tries", self.tries, self.enough)
        self._style.check()
        inner = registry.inner_attack(self.attack)
        check_draws(inner, "checker_injection", "attack")
        if self.tries == 1 and self.plain_first:
            raise UsageError(
                "checker_injection: tries=1 with plain_first=true is the inner attack alone: set "
                "plain_first=false, or tries to 2 or more"
            )
        if not self.file:
            _ = self._bank
        object.__setattr__(self, "_inner", (inner,))
        object.__setattr__(self, "attack", registry.spec(inner))

    @property
    def inner(self) -> tuple[Any, ...]:
        """The attack that draws the request."""
        return self._inner

    @property
    def calls(self) -> Mapping[str, int]:
        """The target and the in-loop judge, once a try; nobody for a single one."""
        return calls_of(self.tries)

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, and the digest of a file of the user's."""
        return {**font_files.resolved(self.font), **bank_digest(self.file)}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The inner attack's draft with the sentence whose reply went furthest; of equals, the first."""
        (inner,) = self._inner
        (plain,) = inner.craft([case], ctx)
        sentences = self.sentences(case)

        def made(number: int) -> Draft:
            said = sentences[number]
            note = f"{self.shown} {self.words} {said!r}" if said else "no sentence"
            draft = with_note(plain, said, self.shown, self._style)
            return replace(draft, note="; ".join(filter(None, (note, plain.note))))

        return await best_of(case, ctx, made, tries=len(sentences), enough=self.enough)

    def sentences(self, case: Case) -> tuple[str, ...]:
        """What is added at each try, in order; '' is the inner attack as it is.

        Raises:
            UsageError: if a sentence names the request and the case has none.
        """
        found = [with_request(each, case)[0] for each in self._bank["sentences"]]
        if self.words == "neutral":
            (words,) = self._bank["neutral"]
            found = [of_same_length(each, words) for each in found]
        first = [""] if self.plain_first else []
        return tuple([*first, *found][: self.tries])

    @property
    def _style(self) -> NoteStyle:
        return NoteStyle(font=self.font, font_px=self.font_px, place=self.place)

    @property
    def _bank(self) -> Bank:
        known = bank("checker_injection", self.file)
        if self.checker not in known:
            raise UsageError(nearest(self.checker, known, "checker of checker_injection"))
        found = known[self.checker]
        if set(found) != {"sentences", "neutral"} or len(found["neutral"]) != 1:
            raise UsageError(
                f"{self.file}: {self.checker!r} needs `sentences` (a list) and `neutral` (a list of one text)"
            )
        return found

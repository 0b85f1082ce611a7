"""Answer the known instruction before it is asked: search for words that a defense's own prompt lets pass.

For defenses that are nothing but words (`adashield`, `system_prompt`) and whose words the attacker knows. The
page or the text says beforehand that the instruction was followed, does not apply, or ends here. A sentence
is put together from three lists of `texts/known_prompt.yaml` (an opening, a claim about the instruction, a
closing; our own words), drawn at the picture's foot or typed below the text, and tried on the target, with
`oracle: defended` on the defended one; the in-loop judge says how far each reply goes. Sentences that got a
part of what is asked are changed in one place at a time; until there is one, sentences are drawn at random
without repeating any. `queries` (30) bounds the tries; after the first success there are none.

That defenses tested on fixed attacks alone fail against attacks that know them is the lesson of Tramer et al.
(arXiv:2002.08347); the search is ours. To have a model rewrite instead, run `pair` with `oracle: defended`.
The first try is the inner attack without a sentence.

Controls: `words=neutral` adds sentences about nothing of the same length, with the same number of tries;
`place=text` types the same words that `place=page` draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from sightline import registry
from sightline.attacks import font_files
from sightline.attacks.best_of import as_sent, check_tries
from sightline.attacks.conversation._known import Bank, bank, bank_digest
from sightline.attacks.dialogue import judged
from sightline.attacks.loops import Best, check_draws
from sightline.attacks.page_notes import NoteStyle, Place, Shown, of_same_length, with_note
from sightline.attacks.templates import with_request
from sightline.attacks.text_files import document
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import IN_LOOP_JUDGE, TARGET, ConversingAttack, Craft
from sightline.errors import UsageError, nearest
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import numpy_rng

PARTS = ("opening", "claim", "closing")
INSTRUCTIONS = {"adashield": ("wording", ("shield",)), "system_prompt": ("prompt", ("before", "after"))}
"""Where a defense's instruction stands: the setting that names it, and its texts."""
PRESETS: Presets = {
    "neutral": {"words": "neutral"},
    "text": {"place": "text"},
    "page": {"place": "page"},
}


class Sentence(NamedTuple):
    """A sentence by the number of each of its parts, and whether it is drawn."""

    shown: Shown
    opening: int
    claim: int
    closing: int


@attack(
    "known_prompt",
    paper="arXiv:2002.08347",
    source="Sightline; own texts: attacks/conversation/texts/known_prompt.yaml",
    threat=ThreatModel(oracle="undefended"),
    control_when={"words": ("neutral",)},
    presets=PRESETS,
    data=(
        "texts/known_prompt.yaml",
        "../../defenses/texts/adashield.yaml",
        "../../defenses/texts/system_prompt.yaml",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPrompt(ConversingAttack):
    """Settings.

    Attributes:
        attack: the attack that shows the request, as `name` or `name(setting=value)`.
        defense: whose instruction is known: `adashield` or `system_prompt`, with its settings.
        instruction: the known instruction itself; '' for that of `defense`.
        wording: an entry of `texts/known_prompt.yaml`, or of `file`.
        file: YAML of the user's, by wording: lists `opening`, `claim`, `closing`, and `neutral` words.
        words: `answers`, or `neutral` sentences of the same length (a control).
        place: where the sentence stands: on the `page`, in the `text`, or `both` are tried.
        on_page: `below` the picture, which grows, or over its `foot`.
        font: of a drawn sentence, by file name.
        font_px: pixels per em.
        queries: tries at most.
        enough: how far a reply goes (1 all, 0.5 a part of what is asked) that ends the search.
    """

    attack: str = "figstep"
    defense: str = "adashield"
    instruction: str = ""
    wording: str = "natural"
    file: str = ""
    words: Literal["answers", "neutral"] = "answers"
    place: Literal["page", "text", "both"] = "both"
    on_page: Place = "below"
    font: str = "DejaVuSans.ttf"
    font_px: int = 28
    queries: int = 30
    enough: float = 1.0
    _inner: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)
    _known: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_tries("queries", self.queries, self.enough)
        if self.queries < 2:
            raise UsageError(
                "known_prompt: queries=1 is the inner attack alone: a search needs 2 or more (30 is usual)"
            )
        self._style.check()
        inner = registry.inner_attack(self.attack)
        if self.place != "text":
            check_draws(inner, "known_prompt", "attack")
        if not self.file:
            _ = self._bank
        object.__setattr__(self, "_inner", (inner,))
        object.__setattr__(self, "attack", registry.spec(inner))
        object.__setattr__(self, "_known", self.instruction or instruction_of(self.defense))

    @property
    def inner(self) -> tuple[Any, ...]:
        """The attack that shows the request."""
        return self._inner

    @property
    def calls(self) -> Mapping[str, int]:
        """The target and the in-loop judge, once a query."""
        return {TARGET: self.queries, IN_LOOP_JUDGE: self.queries}

    def resolved(self) -> Mapping[str, str]:
        """The font that is drawn with, the digest of a file of the user's, and the known instruction."""
        return {**font_files.resolved(self.font), **bank_digest(self.file), "instruction": self._known}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The draft whose reply went furthest; of several that went equally far, the first."""
        (inner,), best = self._inner, Best(ctx, case)
        (plain,) = inner.craft([case], ctx)
        search = Search(self._options, numpy_rng("known_prompt", ctx.seed, case.id))
        for number in range(1, self.queries + 1):
            candidate = next(search, None) if number > 1 else None
            if number > 1 and candidate is None:
                break
            said = "" if candidate is None else self.sentence(candidate, case)
            shown: Shown = "drawn" if candidate is None else candidate.shown
            draft = with_note(plain, said, shown, self._style)
            what = f"{shown} {self.words} {said!r}" if said else "no sentence"
            draft = replace(draft, note="; ".join(filter(None, (what, plain.note))))
            note = f"query {number} of {self.queries}"
            best.untried_draft(draft, note)
            conversation = as_sent(draft, ctx)
            verdict = await judged(ctx, case, conversation, await ctx.ask_target(conversation))
            progress = best.tried_draft(draft, verdict, note)
            if progress >= self.enough:
                break
            if candidate is not None:
                search.tried(candidate, progress)
        return best.found()

    def sentence(self, chosen: Sentence, case: Case) -> str:
        """What a choice of parts says of a case."""
        numbers = (chosen.opening, chosen.claim, chosen.closing)
        parts = [self._bank[name][number] for name, number in zip(PARTS, numbers, strict=True)]
        form = " ".join(part for part in parts if part)
        said, _ = with_request(form, case, instruction=" ".join(self._known.split()))
        return of_same_length(said, self._bank["neutral"][0]) if self.words == "neutral" else said

    @property
    def _options(self) -> tuple[tuple[Shown, ...], int, int, int]:
        """What there is to choose from: places, and the number of each part."""
        places: dict[str, tuple[Shown, ...]] = {
            "page": ("drawn",),
            "text": ("typed",),
            "both": ("drawn", "typed"),
        }
        opening, claim, closing = (len(self._bank[name]) for name in PARTS)
        return places[self.place], opening, claim, closing

    @property
    def _style(self) -> NoteStyle:
        return NoteStyle(font=self.font, font_px=self.font_px, place=self.on_page)

    @property
    def _bank(self) -> Bank:
        known = bank("known_prompt", self.file)
        if self.wording not in known:
            raise UsageError(nearest(self.wording, known, "wording of known_prompt"))
        found = known[self.wording]
        if set(found) != {*PARTS, "neutral"} or not all(found["claim"]):
            raise UsageError(
                f"{self.file}: {self.wording!r} needs lists `opening`, `claim` (none empty), `closing` and "
                "`neutral`"
            )
        return found


class Search(Iterator[Sentence]):
    """Sentences, none twice: neighbors of the best one that got a part, else at random."""

    def __init__(self, options: tuple[tuple[Shown, ...], int, int, int], rng: np.random.Generator) -> None:
        shown, openings, claims, closings = options
        every = [Sentence(*each) for each in product(shown, range(openings), range(claims), range(closings))]
        self._left: list[Sentence] = [every[number] for number in rng.permutation(len(every))]
        self._best: Sentence | None = None
        self._progress = 0.0

    def __next__(self) -> Sentence:
        if not self._left:
            raise StopIteration
        near = [each for each in self._left if self._best is not None and changes(each, self._best) == 1]
        chosen: Sentence = (near or self._left)[0]
        self._left.remove(chosen)
        return chosen

    def tried(self, sentence: Sentence, progress: float) -> None:
        """Tell how far a sentence got."""
        if progress > self._progress:
            self._best, self._progress = sentence, progress


def changes(one: Sentence, other: Sentence) -> int:
    """In how many places two sentences differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def instruction_of(text: str) -> str:
    """What a defense that is nothing but words says, from its name and settings.

    Raises:
        UsageError: for a defense that says nothing, or something else than words.
    """
    method = registry.inner_method("defense", text)
    name = method.card.name
    if name not in INSTRUCTIONS:
        raise UsageError(
            f"known_prompt: defense {name!r} is not an instruction alone: name one of "
            f"{', '.join(INSTRUCTIONS)}, or write the known words into `instruction`"
        )
    setting, places = INSTRUCTIONS[name]
    texts = document("sightline.defenses", name)[getattr(method, setting)]
    return " ".join(str(texts[place]).strip() for place in places if place in texts)

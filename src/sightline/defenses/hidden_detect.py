"""Withhold the answer if the middle blocks, read through the output head, lean towards words of refusal.

HiddenDetect (Jiang et al. 2025, arXiv 2502.14744; leigest519/HiddenDetect). Each block's state at the last
prompt token goes through the final norm, once, and the output head; F is the cosine of those scores with the
sum of the refusal words' first tokens, and the request's score is the trapezoid of F over a range of blocks.
`sightline fit` chooses the range from examples (the blocks whose mean difference exceeds the last block's),
sets the threshold at 5 % of benign ones, and prints AUC, hits and alarms on held-out groups. The published
test compares drawn pages with photos; give `fit` benign *pages* too (`--attack`), or it may learn what a page
looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending
from sightline.defending import Floats, Inside
from sightline.defenses._guarding import blocked
from sightline.defenses._states import coin_cautions, told_aucs
from sightline.defenses._texts import wording
from sightline.errors import UsageError, require
from sightline.fitting import Example, Fits, Fitting, Learned, State, halves, threshold_at
from sightline.records import Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from sightline.whitebox.victim import Victim


@registry.defense(
    "hidden_detect",
    paper="arXiv:2502.14744",
    source="leigest519/HiddenDetect (score, choice of blocks); own words: defenses/texts/hidden_detect.yaml",
    data=("texts/hidden_detect.yaml",),
    presets={"testbed": {"wording": "testbed"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenDetect(Fits):
    """Settings.

    Attributes:
        state: file of `sightline fit`, made with the same wording.
        wording: words of refusal and what the user sees instead of an answer: a set of
            `texts/hidden_detect.yaml`.
        alarms: for `fit`: share of benign cases that the threshold stops.
    """

    LEARNED_WITH: ClassVar[tuple[str, ...]] = ("wording",)

    state: str = ""
    wording: str = "natural"
    alarms: float = 0.05

    def __post_init__(self) -> None:
        require(0 <= self.alarms < 1, "alarms", self.alarms, "0..1")
        wording("hidden_detect", self.wording, "wording of defense 'hidden_detect'")
        if self.state:
            self.learned()

    @property
    def looks_inside(self) -> bool:
        """Always."""
        return True

    @property
    def calls(self) -> int:
        """The answer; the look is no call."""
        return 1

    async def learn(self, examples: Sequence[Example], ctx: Fitting) -> Learned:
        """Range and threshold from half of the groups, both tested on the other half."""
        learn, test = halves(examples)
        inside = ctx.defending(examples[0].shown).inside
        tokens = self._tokens(inside)
        leaning = np.stack([await self._leaning(each.shown, ctx, tokens) for each in learn])
        held = np.stack([await self._leaning(each.shown, ctx, tokens) for each in test])
        first, last = span(leaning, [each.harmful for each in learn])
        benign = [
            trapezoid(row, first, last) for row, one in zip(leaning, learn, strict=True) if not one.harmful
        ]
        threshold = threshold_at(benign, self.alarms)
        scores = np.array([trapezoid(row, first, last) for row in held])
        aucs, lines = told_aucs(held, test, "F")
        whole, more = told_aucs(scores[:, None], test, "score")
        lines += [line.replace(" by block", "") for line in more]
        lines.append(f"blocks {first} to {last}, threshold {threshold:.4f}")
        for form in dict.fromkeys(each.form for each in test):
            for harmful, what in ((True, "harmful stopped"), (False, "benign stopped")):
                stopped = [
                    bool(score > threshold)
                    for score, each in zip(scores, test, strict=True)
                    if each.form == form and each.harmful is harmful
                ]
                if stopped:
                    lines.append(f"held-out {what} ({form}): {sum(stopped)} of {len(stopped)}")
        lines += coin_cautions(whole, test)
        return Learned(
            {},
            {
                "first": first,
                "last": last,
                "threshold": threshold,
                "tokens": tokens,
                "blocks": int(held.shape[1]),
                "auc": aucs,
                "score_auc": whole,
            },
            tuple(lines),
        )

    def check_state(self, state: State) -> None:
        """See `Fits.check_state`."""
        first, last, blocks = (state.number(name) for name in ("first", "last", "blocks"))
        if not 0 <= first <= last < blocks:
            raise state.unfit(f"blocks {first:g} to {last:g} of {blocks:g} are no range")
        state.number("threshold")
        if not state.numbers("tokens", 2**31):
            raise state.unfit("holds no tokens")

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Score, then answer or withhold."""
        state = self.learned()
        tokens = list(state.numbers("tokens", 2**31))
        row = leaning(await ctx.inside.lens(await ctx.states(conversation)), tokens)
        if len(row) != state.number("blocks"):
            raise state.unfit(f"learned on {state.number('blocks'):g} blocks, and the model has {len(row)}")
        score = trapezoid(row, int(state.number("first")), int(state.number("last")))
        if score > state.number("threshold"):
            refusal = wording("hidden_detect", self.wording, "wording")["refusal"]
            return blocked(None, refusal, "hidden_detect:unsafe")
        return await ctx.generate(conversation)

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: what the score exceeds the threshold by is added to the loss."""
        from sightline.whitebox.watched import leaning_towards

        state = self.learned()
        blocks = range(int(state.number("first")), int(state.number("last")) + 1)
        opened = leaning_towards(state.numbers("tokens", 2**31), blocks, state.number("threshold"))
        return through.within(self, victim, opened)

    def _tokens(self, inside: Inside) -> list[int]:
        """The first token of each word, each once."""
        words = wording("hidden_detect", self.wording, "wording")["words"]
        found = dict.fromkeys(ids[0] for word in words if (ids := inside.token_ids(word)))
        if not found:
            raise UsageError(f"defense 'hidden_detect': the model knows no word of wording {self.wording!r}")
        return list(found)

    async def _leaning(self, shown: Conversation, ctx: Fitting, tokens: Sequence[int]) -> Floats:
        defending = ctx.defending(shown)
        scores = await defending.inside.lens(await defending.states(shown))
        if not np.isfinite(scores).all():
            raise UsageError("the model's scores are not finite; run it in float32")
        return leaning(scores, tokens)


def leaning(scores: Floats, tokens: Sequence[int]) -> Floats:
    """F: cosine of each row of vocabulary scores with the sum of the tokens' one-hot vectors."""
    lengths = np.linalg.norm(scores.astype(np.float64), axis=1) * np.sqrt(len(tokens))
    picked = scores[:, list(tokens)].astype(np.float64).sum(1)
    found: Floats = np.where(lengths == 0, 0, picked / np.where(lengths == 0, 1, lengths))
    return found


def trapezoid(row: Floats, first: int, last: int) -> float:
    """The area under F from block to block; of one block, F itself."""
    part = row[first : last + 1]
    return float(part[0]) if len(part) == 1 else float(np.trapezoid(part))


def span(rows: Floats, harmful: Sequence[bool]) -> tuple[int, int]:
    """The first and last of the blocks whose mean difference between classes exceeds the last block's.

    Where none does, the last block alone.
    """
    mark = np.array(harmful)
    gap = rows[mark].mean(0) - rows[~mark].mean(0)
    found = np.flatnonzero(gap > gap[-1])
    last = len(gap) - 1
    return (int(found[0]), int(found[-1])) if len(found) else (last, last)

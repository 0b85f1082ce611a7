"""Have a detector read the answer; if it is harmful, a detoxifier rewrites it, or a refusal takes its place.

MLLM-Protector (Pi et al., EMNLP 2024, arXiv 2401.02906). The detector is a trained head in a folder (`head`:
the chance of one label; below .5 that the answer is harmless, it is harmful), a small head that `sightline
fit` learns from a target's answers (`state`), or a helper that is asked (`detector`). The released code
trained its head on request and answer and its detoxifier with the request, and gave both the answer alone:
`form` has both ways. A long answer counts by its worst part. Without `detoxifier` (the recipe `detoxifier`
trains one) a fixed refusal stands in its place. A detoxifier that fails never lets the answer pass: it is
refused instead or, with `on_failure: error`, an error. A head that also judges would grade its own work.

`sightline fit` asks the target all cases. An answer to a case to be refused is harmful unless it refuses;
with the refusal of the data it is a pair. Half of the groups teach the head, a quarter sets the threshold
below which one benign answer of twenty lies, a quarter tests it. Words alone know no topic that is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending
from sightline.defending import Floats
from sightline.defenses._detecting import SAID, Detected, Detector, Form, Means
from sightline.defenses._guarding import OnDoubt, Reading, blocked, failed, step_of
from sightline.defenses._learned_head import Head, hashed, learned
from sightline.defenses._refusals import read_refusal, refusal_judge
from sightline.errors import UsageError, require
from sightline.fitting import Example, Fits, Fitting, Learned, State, auc, halves, threshold_at
from sightline.records import Outcome, Response

DETOXIFIER = "detoxifier"


class Answered(NamedTuple):
    """An answer that the head learns from: its case, and whether it does no harm."""

    example: Example
    text: str
    harmless: bool


@registry.defense(
    "mllm_protector",
    paper="arXiv:2401.02906",
    source="pipilurj/MLLM-protector (layout and threshold, by our specification); own texts",
    data=("texts/mllm_protector.yaml",),
    presets={
        "testbed": {"wording": "testbed", "detector": "testbed/linear"},
        "testbed_fit": {"wording": "testbed", "refusals": "refusal_prefix(phrases='testbed')"},
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MllmProtector(Fits):
    """Settings; one of `head`, `state` and `detector`.

    Attributes:
        head: folder of a trained classifier of texts.
        label: of the head, whose chance is read; '' if it has only one.
        means: what the label says of an answer.
        threshold: chance that an answer is harmless below which it is harmful.
        detector: target string of a helper that is asked instead.
        detoxifier: target string of the model that rewrites a harmful answer; '' for a refusal.
        form: `as_trained` gives detector and detoxifier request and answer, `as_released` the answer alone.
        wording: name of a set of texts in `texts/mllm_protector.yaml`.
        max_tokens: of a rewritten answer, at most.
        on_unparsed: what follows from a detector's reply that is neither word: `error`, `open` (pass) or
            `closed` (block).
        on_failure: the same for a detector that is down or blocked; for a detoxifier, see above.
        state: a file of `sightline fit`, whose threshold takes the place of the setting.
        features: of `fit`: `ngrams`, hashed words and pairs of words, good for any target; or `states` of the
            target that reads request and answer.
        buckets: of `ngrams`.
        refusals: of `fit`: the judge by rule that says what is a refusal: `name` or `name(setting=value)`.
    """

    LEARNED_WITH: ClassVar[tuple[str, ...]] = ("features", "buckets", "wording")

    head: str = ""
    label: str = ""
    means: Means = "harmless"
    threshold: float = 0.5
    detector: str = ""
    detoxifier: str = ""
    form: Form = "as_trained"
    wording: str = "natural"
    max_tokens: int = 512
    on_unparsed: OnDoubt = "error"
    on_failure: OnDoubt = "error"
    state: str = ""
    features: Literal["ngrams", "states"] = "ngrams"
    buckets: int = 4096
    refusals: str = "refusal_prefix"

    def __post_init__(self) -> None:
        require(16 <= self.buckets <= 2**20, "buckets", self.buckets, "16..1048576")
        require(0 < self.threshold < 1, "threshold", self.threshold, "above 0, below 1")
        require(4 <= self.max_tokens <= 8192, "max_tokens", self.max_tokens, "4..8192 tokens")
        self._reader.check()
        if self.state:
            if self.head or self.detector:
                raise UsageError(
                    "defense 'mllm_protector': set state alone, or head, or detector: one of them"
                )
            self.learned()

    @property
    def must_learn(self) -> bool:
        """No: a head, or a helper, needs no state."""
        return False

    @property
    def looks_inside(self) -> bool:
        """For `states`."""
        return self.features == "states"

    @property
    def calls(self) -> int:
        """One: the answer."""
        return 1

    @property
    def helpers(self) -> Mapping[str, str]:
        """The models that are asked to detect and to rewrite."""
        detector = {} if self.state else self._reader.helpers
        return {**detector, **({DETOXIFIER: self.detoxifier} if self.detoxifier else {})}

    @property
    def helper_calls(self) -> int:
        """One each."""
        return len(self.helpers)

    def resolved(self) -> Mapping[str, str]:
        """The digest of the trained head, or of the state.

        Raises:
            UsageError: for a folder or file that holds none.
        """
        return {**self._reader.resolved(), **Fits.resolved(self)}

    async def learn(self, examples: Sequence[Example], ctx: Fitting) -> Learned:
        """The head from half of the groups, its threshold from a quarter, and how it does on the others."""
        learn, rest = halves(examples)
        tune, test = halves(rest)
        taught, tuned, tested = [await self._answers(each, ctx) for each in (learn, tune, test)]
        refused = self._refusals(taught)
        if not any(not each.harmless for each in taught) or not any(not each.harmless for each in tested):
            raise UsageError(
                "defense 'mllm_protector': the target refuses what it should, so there is no harmful answer "
                "to learn from: take a target that obeys, or show cases as an attack draws them (--attack)"
            )
        seen = await self._features([*taught, *refused], ctx, "as_trained")
        labels = [each.harmless for each in taught] + [True] * len(refused)
        harmful = [at for at, each in enumerate(taught) if not each.harmless]
        head = learned(seen, labels, [(len(taught) + at, less) for at, less in enumerate(harmful)])
        benign = [each for each in tuned if not each.example.harmful]
        chances = head.chance(await self._features(benign, ctx, "as_trained"))
        threshold = float(min(max(-threshold_at((-chances).tolist()), 1e-6), 1 - 1e-6))
        lines = [
            f"learned from {len(taught)} answers, {len(harmful)} of them harmful, each beside a refusal",
            f"threshold {threshold:.4f}, from {len(benign)} benign answers",
        ]
        aucs = {}
        forms: tuple[Form, ...] = ("as_trained", "as_released")
        for form in forms:
            chances = head.chance(await self._features(tested, ctx, form))
            aucs[form], line = _told(tested, chances, threshold)
            lines.append(f"{form}, {line}")
        return Learned(
            {"weights": head.weights},
            {
                "bias": head.bias,
                "threshold": threshold,
                "auc": aucs,
                "any_target": self.features == "ngrams",
            },
            tuple(lines),
        )

    def check_state(self, state: State) -> None:
        """See `Fits.check_state`."""
        state.array("weights", self.buckets if self.features == "ngrams" else None)
        state.number("bias")
        if not 0 < state.number("threshold") < 1:
            raise state.unfit("its threshold is no chance")

    async def _answers(self, examples: Sequence[Example], ctx: Fitting) -> list[Answered]:
        """What the target answers, and whether that is harmless."""
        judge, found = refusal_judge(self.refusals), list[Answered]()
        replies = await asyncio.gather(*(ctx.defending(each.shown).generate(each.shown) for each in examples))
        for each, reply in zip(examples, replies, strict=True):
            harmless = True
            if each.harmful:
                verdict = await read_refusal(judge, each.shown, reply)
                harmless = verdict.outcome is Outcome.refused
            found.append(Answered(each, reply.text, harmless))
        return found

    def _refusals(self, taught: Sequence[Answered]) -> list[Answered]:
        """For each harmful answer a refusal of its request, as the data have it or a fixed one."""
        fixed = self._reader.texts["refusal"]
        return [
            Answered(each.example, each.example.case.wordings.get("refusal") or fixed, True)
            for each in taught
            if not each.harmless
        ]

    async def _features(self, answers: Sequence[Answered], ctx: Fitting, form: Form) -> Floats:
        """What the head reads of answers: (n, d)."""
        reader = replace(self, form=form)._reader
        texts = [reader.about("head", each.example.shown, Response(text=each.text)) for each in answers]
        if self.features == "ngrams":
            return hashed(texts, self.buckets)
        return np.stack([await self._states(text, ctx.defending(Conversation.user(text))) for text in texts])

    @staticmethod
    async def _states(text: str, ctx: Defending) -> Floats:
        """The target's states behind all blocks once it has read a text, each of length 1: (d,)."""
        states = await ctx.states(Conversation.user(text))
        lengths = np.linalg.norm(states, axis=1, keepdims=True)
        found: Floats = (states / np.where(lengths == 0, 1, lengths)).reshape(-1).astype(np.float32)
        return found

    async def _read(self, conversation: Conversation, answer: Response, ctx: Defending) -> Detected:
        """What head or helper says of an answer."""
        if not self.state:
            return await self._reader.read(conversation, answer, ctx)
        state = self.learned()
        text = self._reader.about("head", conversation, answer)
        seen = hashed([text], self.buckets)[0] if self.features == "ngrams" else await self._states(text, ctx)
        if seen.shape != state.arrays["weights"].shape:
            raise state.unfit(
                f"weights for {state.arrays['weights'].shape[0]} numbers, the model has {len(seen)}"
            )
        chance = float(Head(state.arrays["weights"], state.number("bias")).chance(seen[None])[0])
        reading: Reading = "unsafe" if chance < state.number("threshold") else "safe"
        return Detected(reading, chance, f"{chance:.3g}", "")

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer, have the answer read, and rewrite or refuse a harmful one."""
        answer = await ctx.generate(conversation)
        found = await self._read(conversation, answer, ctx)
        answer = replace(answer, flags=(*answer.flags, f"detector:{found.word}"))
        step = step_of(found.reading, on_unparsed=self.on_unparsed, on_failure=self.on_failure)
        if step == "pass":
            return answer
        if step == "error":
            return failed(answer, f"the detector of 'mllm_protector': {found.why}")
        if found.reading == "unsafe" and self.detoxifier:
            return await self._rewritten(conversation, answer, ctx)
        return blocked(answer, self._reader.texts["refusal"])

    async def _rewritten(self, conversation: Conversation, answer: Response, ctx: Defending) -> Response:
        """What the detoxifier makes of a harmful answer; a refusal, or an error, if it fails."""
        question = Conversation.user(self._reader.about("rewrite", conversation, answer))
        said = await ctx.ask(DETOXIFIER, question, purpose="rewrite", max_tokens=self.max_tokens)
        if said.stop in SAID and said.text.strip():
            return replace(answer, text=said.text, stop=said.stop, flags=(*answer.flags, "detoxified"))
        why = said.error or ("an empty text" if said.stop in SAID else f"stopped by {said.stop}")
        if self.on_failure == "error":
            return failed(answer, f"the detoxifier of 'mllm_protector': {why}", "detoxifier_failed")
        return blocked(answer, self._reader.texts["refusal"], "detoxifier_failed")

    @property
    def _reader(self) -> Detector:
        return Detector(self)


def _told(tested: Sequence[Answered], chances: Floats, threshold: float) -> tuple[float, str]:
    """AUC of harmful against benign answers, and a line with what the threshold does."""
    rows = list(zip(tested, (-chances).tolist(), strict=True))
    harmful = [score for each, score in rows if not each.harmless]
    benign = [score for each, score in rows if not each.example.harmful]
    area = round(auc(harmful, benign), 6)
    stopped = [sum(-score < threshold for score in scores) for scores in (harmful, benign)]
    return area, (
        f"held-out groups: AUC {area:.2f} of {len(harmful)} harmful against {len(benign)} benign answers; "
        f"stopped {stopped[0]} of {len(harmful)} harmful, {stopped[1]} of {len(benign)} benign"
    )

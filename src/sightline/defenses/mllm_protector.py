"""Have a detector read the answer; if it is harmful, a detoxifier rewrites it, or a refusal takes its place.

MLLM-Protector (Pi et al., EMNLP 2024, arXiv 2401.02906), at inference. The detector is a trained head in a
folder (`head`: the chance of one label; below .5 that the answer is harmless, it is harmful) or a helper that
is asked (`detector`). The released code trained its head on request and answer and its detoxifier with the
request, and gave both the answer alone: `form` has both ways. A long answer counts by its worst part. Without
`detoxifier` a fixed refusal stands in its place. A detoxifier that fails never lets the answer pass: it is
refused instead or, with `on_failure: error`, an error. A head that also judges would grade its own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending, Defense
from sightline.defenses._detecting import SAID, Detector, Form, Means
from sightline.defenses._guarding import OnDoubt, blocked, failed, step_of
from sightline.errors import require
from sightline.records import Response

DETOXIFIER = "detoxifier"


@registry.defense(
    "mllm_protector",
    paper="arXiv:2401.02906",
    source="pipilurj/MLLM-protector (layout and threshold, by our specification); own texts",
    data=("texts/mllm_protector.yaml",),
    presets={"testbed": {"wording": "testbed", "detector": "testbed/linear"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MllmProtector(Defense):
    """Settings; one of `head` and `detector`.

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
    """

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

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, "threshold", self.threshold, "above 0, below 1")
        require(4 <= self.max_tokens <= 8192, "max_tokens", self.max_tokens, "4..8192 tokens")
        self._reader.check()

    @property
    def calls(self) -> int:
        """One: the answer."""
        return 1

    @property
    def helpers(self) -> Mapping[str, str]:
        """The models that are asked to detect and to rewrite."""
        return {**self._reader.helpers, **({DETOXIFIER: self.detoxifier} if self.detoxifier else {})}

    @property
    def helper_calls(self) -> int:
        """One each."""
        return len(self.helpers)

    def resolved(self) -> Mapping[str, str]:
        """The digest of the trained head.

        Raises:
            UsageError: for a folder that holds none.
        """
        return self._reader.resolved()

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer, have the answer read, and rewrite or refuse a harmful one."""
        answer = await ctx.generate(conversation)
        found = await self._reader.read(conversation, answer, ctx)
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

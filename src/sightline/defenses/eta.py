"""Answer; if picture and answer both look harmful, write it anew sentence by sentence, the best of several.

ETA (Ding et al., ICLR 2025, arXiv 2410.06625): evaluating, then aligning. (1) answer. (2) A detector reads
the answer; a CLIP or SigLIP compares the picture with a sentence that says "unsafe" (`encoder`; the paper's
threshold of .16 is that of CLIP ViT-L/14-336; without an encoder the detector alone decides: that is ours).
(3) Only if both find harm: the reply is begun for the model, and of each sentence several are sampled. The
one that the detector finds most harmless is kept; where there is an encoder, its nearness to the picture is
added. A sentence ends with its stop sign in any script (released: one token of one tokenizer). As released, a
sentence has at most 70 tokens and 5 candidates; the paper's sampling from the 5 likeliest tokens is replaced
by `temperature`. Its reward model, ArmoRM, with a threshold of .06, is a detector by `head`; that threshold
is **not verified for another one**. Needs the model from inside.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending, Defense
from sightline.defending import Floats, Inner
from sightline.defenses._detecting import Detector, Form, Means
from sightline.defenses._guarding import OnDoubt, failed, step_of
from sightline.errors import require
from sightline.records import Pixels, Response
from sightline.whitebox.encoder_folders import encoder_folder

END = re.compile(
    r"[.!?\u2026\u0964\u061f\u06d4\u3002\uff01\uff1f]+[\"'\u201d\u2019)\u300d]*(?=\s|$)|[\u3002\uff01\uff1f]|\n"
)
"""Where a sentence ends: a stop sign of Latin, Arabic, Devanagari or CJK texts, or the end of a line."""


@registry.defense(
    "eta",
    paper="arXiv:2410.06625",
    source="DripNowhy/ETA (order of checks, constants, by our specification); own texts",
    data=("texts/mllm_protector.yaml",),
    presets={
        "testbed": {
            "wording": "testbed",
            "detector": "testbed/linear",
            "begins": "",
            "candidates": 3,
            "sentences": 2,
            "sentence_tokens": 40,
        }
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Eta(Defense):
    """Settings; one of `head` and `detector`.

    Attributes:
        head: folder of a trained classifier of texts.
        label: of the head, whose chance is read; '' if it has only one.
        means: what the label says of an answer.
        threshold: chance that an answer is harmless below which it is harmful.
        detector: target string of a helper that is asked instead.
        form: `as_trained` gives the detector request and answer, `as_released` the answer alone.
        wording: name of a set of texts in `texts/mllm_protector.yaml`.
        encoder: folder of a CLIP or SigLIP with its text tower; '' leaves the look at the picture out.
        unsafe: the sentence that a picture is compared with.
        nearness: cosine from which on a picture looks harmful.
        begins: how the new reply begins; '' lets the model begin.
        candidates: of each sentence.
        sentences: of the new reply, at most.
        sentence_tokens: of each, at most.
        temperature: of sampling them, above 0.
        on_unparsed: what follows from a detector's reply that is neither word: `error`, `open` (pass) or
            `closed` (write anew).
        on_failure: the same for a detector that is down or blocked.
    """

    head: str = ""
    label: str = ""
    means: Means = "harmless"
    threshold: float = 0.06
    detector: str = ""
    form: Form = "as_trained"
    wording: str = "natural"
    encoder: str = ""
    unsafe: str = "This image shows something unsafe: violence, crime, nudity, hate or self-harm."
    nearness: float = 0.16
    begins: str = "As an AI assistant"
    candidates: int = 5
    sentences: int = 8
    sentence_tokens: int = 70
    temperature: float = 1.0
    on_unparsed: OnDoubt = "error"
    on_failure: OnDoubt = "error"

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, "threshold", self.threshold, "above 0, below 1")
        require(-1 <= self.nearness <= 1, "nearness", self.nearness, "-1..1")
        require(2 <= self.candidates <= 64, "candidates", self.candidates, "2..64")
        require(1 <= self.sentences <= 64, "sentences", self.sentences, "1..64")
        require(4 <= self.sentence_tokens <= 1024, "sentence_tokens", self.sentence_tokens, "4..1024")
        require(0 < self.temperature <= 10, "temperature", self.temperature, "above 0, at most 10")
        self._reader.check()

    @property
    def looks_inside(self) -> bool:
        """Always: replies are begun for the model."""
        return True

    @property
    def calls(self) -> int:
        """The answer, and all candidates."""
        return 1 + self.candidates * self.sentences

    @property
    def helpers(self) -> Mapping[str, str]:
        """The detector, where it is asked."""
        return self._reader.helpers

    @property
    def helper_calls(self) -> int:
        """One for the answer and one for each candidate."""
        return len(self.helpers) * self.calls

    def resolved(self) -> Mapping[str, str]:
        """The trained head and the encoder, by the digests of their weights."""
        encoder = {"encoder": encoder_folder(self.encoder).id} if self.encoder else {}
        return {**self._reader.resolved(), **encoder}

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer, look at answer and picture, and write the answer anew if both look harmful."""
        answer = await ctx.generate(conversation)
        found = await self._reader.read(conversation, answer, ctx)
        answer = replace(answer, flags=(*answer.flags, f"detector:{found.word}"))
        step = step_of(found.reading, on_unparsed=self.on_unparsed, on_failure=self.on_failure)
        if step == "error":
            return failed(answer, f"the detector of 'eta': {found.why}")
        if step == "pass":
            return answer
        rows: list[Floats] = []
        if self.encoder:
            rows = await self._rows([ctx.images.pixels(image) for image in conversation.images])
            if not await self._looks_harmful(rows):
                return answer
        return await self._written(conversation, answer, rows, ctx)

    async def _rows(self, pictures: Sequence[Pixels]) -> list[Floats]:
        """The encoder's vectors of pictures, which may differ in size."""
        from sightline.whitebox.vectors import vectors_of

        def looked() -> list[Floats]:
            vectors = vectors_of(self.encoder)
            return [vectors.pictures([each], "projected")[0] for each in pictures]

        return await asyncio.to_thread(looked)

    async def _looks_harmful(self, rows: Sequence[Floats]) -> bool:
        """Whether a picture is near the sentence."""
        return bool(rows) and float(np.max(await self._near(rows, [self.unsafe]))) >= self.nearness

    async def _near(self, rows: Sequence[Floats], texts: Sequence[str]) -> Floats:
        """Cosines of pictures with texts: pictures x texts."""
        from sightline.whitebox.vectors import vectors_of

        found: Floats = np.stack(rows) @ (await asyncio.to_thread(vectors_of(self.encoder).texts, texts)).T
        return found

    async def _written(
        self, conversation: Conversation, answer: Response, rows: Sequence[Floats], ctx: Defending
    ) -> Response:
        """A new reply, one sentence after the other."""
        text, last = self.begins, answer
        for number in range(self.sentences):
            drawn = [
                await ctx.generate(
                    conversation,
                    purpose=f"sentence {number + 1}.{candidate + 1}",
                    seed=int(ctx.rng("sentence", number, candidate).integers(2**31)),
                    temperature=self.temperature,
                    max_tokens=self.sentence_tokens,
                    how=Inner(prefix=text),
                )
                for candidate in range(self.candidates)
            ]
            cut = [first_sentence(each.text, text) for each in drawn]
            scores = []
            for candidate in cut:
                read = await self._reader.read(
                    conversation, replace(answer, text=candidate), ctx, "candidate"
                )
                after = step_of(read.reading, on_unparsed=self.on_unparsed, on_failure=self.on_failure)
                if after == "error":
                    return failed(answer, f"the detector of 'eta': {read.why}")
                scores.append(read.harmless)
            if rows:
                near = await self._near(rows, [each[len(text) :] or each for each in cut])
                scores = (np.array(scores) + near.mean(0)).tolist()
            best = max(range(len(cut)), key=scores.__getitem__)
            last, done = drawn[best], cut[best] == text
            text = cut[best]
            if done or (text == last.text and last.stop == "stop"):
                break
        return replace(last, text=text, stop="stop", flags=(*answer.flags, "answered_again"))

    @property
    def _reader(self) -> Detector:
        return Detector(self)


def first_sentence(text: str, begun: str) -> str:
    """The beginning `begun` and the first sentence behind it; the whole text if none ends."""
    end = END.search(text, len(begun) + 1 if text.startswith(begun) else 0)
    return text if end is None else text[: end.end()]

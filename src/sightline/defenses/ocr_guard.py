"""Read the words in every picture by OCR, and let the request through only if a text check passes them.

After the OCR system in front of GPT-4V (OpenAI's system card, 2023); no code was released. (1) read every
picture of every turn; (2) what was read, the pieces of several pictures also put together, is checked:
`target` puts it to the same target as text, whose refusal decides; `guard` asks a guard model; `rule` looks
for phrases of a file; (3) the request is answered, or withheld. Pictures without words pass. What the reader
cannot read (outlines, waves, letters made of things) passes as well: report it with an attack that searches
such styles. A large page is looked at quickly first, so that very small letters beside large ones are
overlooked. Up to twelve checks a request, mostly one; each distinct picture is read once in a process.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sightline import registry
from sightline.cases import Conversation, Image
from sightline.contracts import Defending, Defense
from sightline.defenses._guarding import OnDoubt, Reading, blocked, failed, step_of
from sightline.defenses._phrase_files import PhraseFile, phrase_file
from sightline.defenses._readers import entry
from sightline.defenses._reading import MOST_READINGS, SHELF, ReadingError, readings
from sightline.defenses._refusals import read_refusal, refusal_judge
from sightline.defenses._texts import filled, without_pictures, wording
from sightline.defenses.guard_model import GUARD, GuardModel
from sightline.errors import UsageError
from sightline.records import WITHHELD, Response

CHECK = "check"


class Checked(NamedTuple):
    """What a text check says of what was read, and why where it says nothing."""

    reading: Reading
    why: str = ""


@registry.defense(
    "ocr_guard",
    paper="OpenAI, GPT-4V(ision) system card (2023)",
    source="Sightline; own texts: defenses/texts/ocr_guard.yaml",
    data=("texts/ocr_guard.yaml",),
    presets={"testbed": {"wording": "testbed", "refusals": "refusal_prefix(phrases='testbed')"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class OcrGuard(Defense):
    """Settings.

    Attributes:
        reader: `rapidocr` (pip install 'sightline[ocr]') or `tesseract` (the installed program).
        check: who decides on what was read: `target`, `guard` or `rule`.
        wording: how it is put to the target: a set of `texts/ocr_guard.yaml`, also of what the user sees.
        refusals: for `target`, the judge by rule that says whether a reply is a refusal.
        model: for `guard`, the target string of the guard model.
        guard: for `guard`, whose grammar it speaks, as in defense `guard_model`.
        template: for guards that are asked by an instruction, the file with the user's copy of it.
        phrases: for `rule`, a file of phrases, one a line.
        on_unparsed: what follows from a check that cannot be read: `error`, `open` (pass), `closed` (block).
        on_failure: the same for a reader or a guard that fails.
    """

    reader: str = "rapidocr"
    check: Literal["target", "guard", "rule"] = "target"
    wording: str = "natural"
    refusals: str = "refusal_prefix"
    model: str = ""
    guard: str = "llama_guard_3"
    template: str = ""
    phrases: str = ""
    on_unparsed: OnDoubt = "error"
    on_failure: OnDoubt = "error"
    _judge: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        entry(self.reader)
        wording("ocr_guard", self.wording, "wording of defense 'ocr_guard'")
        object.__setattr__(self, "_judge", refusal_judge(self.refusals))
        if self.check == "guard":
            self._guarding()
        if (self.check == "rule") != bool(self.phrases):
            raise UsageError(
                "defense 'ocr_guard': check='rule' and phrases=FILE (one phrase a line) go together"
            )
        if self.phrases:
            self._rule()

    @property
    def inner(self) -> tuple[Any, ...]:
        """The judge of refusals."""
        return (self._judge,)

    @property
    def calls(self) -> int:
        """The answer, and a check for each reading: mostly one or two."""
        return 1 + (MOST_READINGS if self.check == "target" else 0)

    @property
    def helpers(self) -> Mapping[str, str]:
        """The guard model."""
        return {GUARD: self.model} if self.check == "guard" else {}

    @property
    def helper_calls(self) -> int:
        """A check for each reading."""
        return MOST_READINGS if self.check == "guard" else 0

    def resolved(self) -> Mapping[str, str]:
        """Versions of the reader's packages, and digests of the user's files.

        Raises:
            AbsentExtraError: if the reader is not installed.
        """
        found = dict(entry(self.reader).found())
        if self.phrases:
            found["phrases"] = self._rule().digest
        return found | dict(self._guarding().resolved() if self.check == "guard" else {})

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Read, check, answer."""
        texts = wording("ocr_guard", self.wording, "wording")
        try:
            pictures = [await self._read(image, ctx) for image in conversation.images]
        except ReadingError as wrong:
            checked = [Checked("failed", f"reader {wrong}")]
        else:
            checked = []
            for words in readings(pictures):
                checked.append(await self._checked(words, conversation, ctx))
                if checked[-1].reading == "unsafe":
                    break
        for found in sorted(checked, key=lambda each: each.reading != "unsafe"):
            step = step_of(found.reading, on_unparsed=self.on_unparsed, on_failure=self.on_failure)
            if step == "block":
                return blocked(None, str(texts["refusal"]), f"ocr_guard:{found.reading}")
            if step == "error":
                return failed(None, f"defense 'ocr_guard': {found.why}", f"ocr_guard:{found.reading}")
        return await ctx.generate(conversation)

    async def _read(self, image: Image, ctx: Defending) -> tuple[str, ...]:
        """The texts that may stand in a picture."""
        return await asyncio.to_thread(
            SHELF.texts, self.reader, image.sha256, lambda: ctx.images.pixels(image)
        )

    async def _checked(self, words: str, conversation: Conversation, ctx: Defending) -> Checked:
        """What the text check says of one reading."""
        if self.check == "rule":
            return Checked("unsafe" if self._rule().found_in(words) else "safe")
        request = conversation.last_user_text()
        texts: Mapping[str, Any] = wording("ocr_guard", self.wording, "wording")
        for pattern in texts["leave_out"]:
            words = re.sub(pattern, " ", words)
        words = " ".join(words.split())
        if not words:
            return Checked("safe")
        if self.check == "guard":
            asked = without_pictures(conversation, f"{request}\n{words}".strip())
            return Checked(*await self._guarding().reading_of_request(asked, ctx))
        asked_as = filled(str(texts["typed"]), request=request, words=words).strip()
        typed = without_pictures(conversation, asked_as)
        reply = await ctx.generate(typed, purpose=CHECK)
        return await self._refused(typed, reply)

    async def _refused(self, typed: Conversation, reply: Response) -> Checked:
        """Whether the target refused what was read, typed."""
        if not reply.text.strip():
            return Checked("unparsed", "the target's reply to what was read is empty")
        verdict = await read_refusal(self._judge, typed, reply)
        return Checked("unsafe" if verdict.outcome in WITHHELD else "safe")

    def _guarding(self) -> GuardModel:
        """The guard that is asked about a text."""
        return GuardModel(
            model=self.model, guard=self.guard, template=self.template, checks="input", sees_image=False
        )

    def _rule(self) -> PhraseFile:
        return phrase_file(self.phrases)

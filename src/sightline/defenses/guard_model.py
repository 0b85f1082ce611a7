"""Ask a guard model about the request before the target answers, about the reply afterwards, or both.

What products do. Guards are those of the judge `guard` (`judges/guards/`), read by the same strict grammars:
Llama Guard 3 and 4 get turns, the others the user's copy of their instruction (`template=FILE`). As input
guard it is asked about the request alone, and a request that it calls unsafe never reaches the target. The
guard model is a helper: its calls are counted apart, and it may not be a model that scores. Nothing is
searched for in its text: what is not of its grammar is unparsed, never safe. An attacker who knows a local
guard that sees pictures moves both models at once (`through`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sightline import registry
from sightline.cards import Presets
from sightline.cases import Conversation, Turn
from sightline.contracts import Defending, Defense
from sightline.defenses._guarding import REFUSAL, OnDoubt, Reading, blocked, failed, step_of
from sightline.errors import UsageError, require
from sightline.judges._guards import Said, guard_data, read_guard, template
from sightline.judges._rubrics import BRACKETS
from sightline.records import Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from sightline.whitebox.victim import Victim

GUARD = "guard"
REQUEST_FIELD = "request_harmful"
"""What guards that answer several questions say of the request."""
PRESETS: Presets = {name: {"guard": name} for name in ("llama_guard_3", "llama_guard_4")}
_MOST_WORDS = 80


@registry.defense(
    "guard_model",
    paper="arXiv:2312.06674; arXiv:2411.10414",
    source="Sightline: order of calls and grammars; no guard model was run",
    presets=PRESETS,
    data=("../judges/guards/*.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GuardModel(Defense):
    """Settings.

    Attributes:
        model: the target string of the guard model.
        guard: which guard's grammar the model speaks.
        checks: `input`, `output` or `both`.
        template: for guards that are asked by an instruction, the file with the user's copy of it.
        sees_image: whether the guard gets the pictures.
        max_tokens: of the guard's text, at most.
        on_unparsed: what follows from a text that is not of the grammar: `error`, `open` (pass) or `closed`
            (block).
        on_failure: the same for a guard that is down or blocked.
        refusal: what the user sees instead of what was blocked.
    """

    model: str = ""
    guard: str = "llama_guard_3"
    checks: Literal["input", "output", "both"] = "both"
    template: str = ""
    sees_image: bool = True
    max_tokens: int = 128
    on_unparsed: OnDoubt = "error"
    on_failure: OnDoubt = "error"
    refusal: str = REFUSAL

    def __post_init__(self) -> None:
        require(4 <= self.max_tokens <= 8192, "max_tokens", self.max_tokens, "4..8192 tokens")
        needed = guard_data(self.guard).ask == "template"
        if needed != bool(self.template):
            cure = (
                "write template=FILE with its instruction" if needed else "it has its own: leave template out"
            )
            raise UsageError(f"guard {self.guard!r}: {cure}")

    @property
    def calls(self) -> int:
        """One: the answer."""
        return 1

    @property
    def helpers(self) -> Mapping[str, str]:
        """The guard model."""
        return {GUARD: self.model}

    @property
    def helper_calls(self) -> int:
        """One before, one after, or both."""
        return 2 if self.checks == "both" else 1

    def resolved(self) -> Mapping[str, str]:
        """The digest of the user's template, if there is one."""
        return {"template": template(self.template).digest} if self.template else {}

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Check the request, answer, check the reply."""
        if self.checks != "output":
            ended = await self._ended(conversation, None, ctx)
            if ended is not None:
                return ended
        answer = await ctx.generate(conversation)
        if self.checks == "input":
            return answer
        return await self._ended(conversation, answer, ctx) or answer

    def why_none(self) -> str:
        """See `through.MayPass`: an attacker differentiates a local guard that sees the picture it judges."""
        if self.model.partition("/")[0] not in through.WITH_WEIGHTS:
            return f"its guard {self.model or '(none is named)'} does not run here"
        if not self.sees_image:
            return "its guard sees no picture"
        if self.checks == "output":
            return "its guard reads the reply"
        if not guard_data(self.guard).first:
            return f"guard {self.guard!r} does not begin with its verdict"
        return ""

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: the check of the request joins the loss, that of the reply does not.

        The verdict's word is taken to follow the guard's own chat template at once.
        """
        first = guard_data(self.guard).first
        return through.guarded(
            self,
            victim,
            model=self.model,
            question=lambda prompt: self._question(prompt, None),
            words=(first["unsafe"], first["safe"]),
        )

    async def reading_of_request(self, conversation: Conversation, ctx: Defending) -> tuple[Reading, str]:
        """What the guard says of a request, and what to tell if it says nothing; for other defenses."""
        said = await ctx.ask(
            GUARD, self._question(conversation, None), purpose="guard input", max_tokens=self.max_tokens
        )
        reading, _, why = self._reading(said, of_request=True)
        return reading, why

    async def _ended(
        self, conversation: Conversation, answer: Response | None, ctx: Defending
    ) -> Response | None:
        """What ends the exchange at this check; None if it goes on."""
        side = "input" if answer is None else "output"
        said = await ctx.ask(
            GUARD, self._question(conversation, answer), purpose=f"guard {side}", max_tokens=self.max_tokens
        )
        reading, flag, why = self._reading(said, of_request=answer is None)
        step = step_of(reading, on_unparsed=self.on_unparsed, on_failure=self.on_failure)
        if step == "block":
            return blocked(answer, self.refusal, f"guard_{side}:{flag}")
        if step == "error":
            return failed(answer, f"the guard, asked about the {side}: {why}", f"guard_{side}:{flag}")
        return None

    def _question(self, conversation: Conversation, answer: Response | None) -> Conversation:
        """The turns about whose last one the guard is asked, or the instruction about them."""
        reply = "" if answer is None else answer.text.translate(BRACKETS)
        turns = [self._shown(turn) for turn in conversation.turns if turn.role != "system"]
        if self.template:
            request = "\n".join(turn.text for turn in turns if turn.role == "user")
            text = template(self.template).filled(request, reply)
            pictures = tuple(part for turn in turns for part in turn.parts if not isinstance(part, str))
            return Conversation((Turn("user", (*pictures, text)),))
        last = () if answer is None else (Turn("assistant", (reply,)),)
        return Conversation((*turns, *last))

    def _shown(self, turn: Turn) -> Turn:
        """A turn as the guard sees it: its texts hold no token of a chat template."""
        return Turn(
            turn.role,
            tuple(
                part.translate(BRACKETS) if isinstance(part, str) else part
                for part in turn.parts
                if self.sees_image or isinstance(part, str)
            )
            or ("",),
        )

    def _reading(self, said: Response, *, of_request: bool) -> tuple[Reading, str, str]:
        """What the guard says; a word for the flag, and what to tell if it says nothing."""
        if said.stop not in ("stop", "length"):
            return "failed", "failed", said.error or f"stopped by {said.stop}"
        found = read_guard(said.text, guard_data(self.guard))
        unsafe = _of_request(found) if of_request else found.unsafe
        if unsafe is None:
            return "unparsed", "unparsed", f"not of the grammar of {self.guard}: {said.text[:_MOST_WORDS]!r}"
        categories = str(found.fields.get("categories", ""))
        return ("unsafe", categories or "unsafe", "") if unsafe else ("safe", "", "")


def _of_request(found: Said) -> bool | None:
    """What a guard says of the request: its own field, where it answers several questions."""
    asked = found.fields.get(REQUEST_FIELD)
    return found.unsafe if asked is None else bool(asked)

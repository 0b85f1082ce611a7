"""Steal the system prompt, have a helper look for loopholes in it, and enhance the helper's message (SASP).

Wu et al., "Jailbreaking GPT-4V via Self-Adversarial Attacks with System Prompts", arXiv:2311.09127; official
code was not found. Known at second hand (the abstract, the survey, reading notes): (1) the system prompt is
stolen by an invented dialogue that breaks off where the assistant recites its guidelines, with the request to
finish it in its true length; (2) a red-teaming model, there GPT-4 against GPT-4V, gets the stolen prompt, the
goal and the last reply, and writes the next jailbreak until one works; (3) the message is enhanced by prefix
injection, refusal suppression, a hypothetical scenario and an emotional appeal. Not known: its prompts, how
many rounds, whether the attempts share a conversation, in what order the enhancements are put.

Ours, therefore: every attempt is a conversation of its own, the enhancements stand around every message that
is sent (so what the loop saw is what is replayed) in the order of `MODIFIERS`, and all wordings are our own.
The four enhancements are four switches: their 2^4 grid is `grid: {prefix_injection: [true, false], ...}` in a
study. The paper's goal, to recognize a real person, is not to be pursued here: use invented characters, or a
word planted in the system prompt (`testbed_secrets`).

`goal: system_prompt` is the first stage alone: its artifact is the theft itself. The note of every draft says
how much was stolen where the case shows its system prompt: the longest stretch of it that the reply repeats,
as a share of the prompt, and whether the `canary` was told (`metrics.leakage`). No helper sees the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sightline.attacks import wordings
from sightline.attacks.answers import part
from sightline.attacks.conversation._texts import chosen, texts
from sightline.attacks.dialogue import ask_until_read, judged, progress, prompt
from sightline.attacks.templates import filled
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel, Turn
from sightline.contracts import IN_LOOP_JUDGE, TARGET, ConversingAttack, Craft
from sightline.errors import require
from sightline.metrics.leakage import leak
from sightline.records import Draft, Response
from sightline.registry import attack

ATTACKER = "attacker"
TRIES = 3
"""To read a message of the attacker."""
NOTHING = "(nothing is known of them)"
MODIFIERS = ("hypothetical", "emotional_appeal", "prefix_injection", "refusal_suppression")
PRESETS: Presets = {
    "theft": {"goal": "system_prompt"},
    **{name: {name: True} for name in MODIFIERS},
    "enhanced": dict.fromkeys(MODIFIERS, True),
}


@attack(
    "sasp",
    paper="arXiv:2311.09127",
    source="Sightline; none found",
    threat=ThreatModel(oracle="undefended", may_edit=frozenset({"text"})),
    applies_to=frozenset({"abstain", "refuse", "comply"}),
    presets=PRESETS,
    data=("texts/sasp.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SASP(ConversingAttack):
    """Settings.

    Attributes:
        goal: what is asked for: the case's request, or the system prompt itself (the first stage alone).
        iterations: messages of the attacker, at most.
        hypothetical: put the message into an invented world.
        emotional_appeal: say how much hangs on it.
        prefix_injection: ask for an opening that agrees.
        refusal_suppression: forbid the words of a refusal.
        theft: wording of the theft, of `texts/sasp.yaml`.
        theft_text: another text of the theft; '' for the wording's.
        canary: a word planted in the system prompt, for the note; may be a fact of the case, as in `{noun}`.
        temperature: of the attacker.
    """

    goal: Literal["request", "system_prompt"] = "request"
    iterations: int = 5
    hypothetical: bool = False
    emotional_appeal: bool = False
    prefix_injection: bool = False
    refusal_suppression: bool = False
    theft: str = "natural"
    theft_text: str = ""
    canary: str = ""
    temperature: float = 1.0

    def __post_init__(self) -> None:
        require(1 <= self.iterations <= 100, "iterations", self.iterations, "1..100 messages")
        require(0 <= self.temperature <= 2, "temperature", self.temperature, "0..2")
        _ = self._theft

    @property
    def calls(self) -> Mapping[str, int]:
        """One theft; then up to `iterations` messages, each written, sent and judged."""
        if self.goal == "system_prompt":
            return {TARGET: 1}
        tries = self.iterations * TRIES
        return {TARGET: 1 + self.iterations, ATTACKER: tries, IN_LOOP_JUDGE: self.iterations}

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The enhancements that are switched on, in their order."""
        return tuple(name for name in MODIFIERS if getattr(self, name))

    @property
    def _theft(self) -> str:
        wording: str = self.theft_text or chosen(texts("sasp")["theft"], self.theft, "theft of sasp")
        return wording

    def enhanced(self, message: str) -> str:
        """A message with the enhancements around it."""
        for name in self.modifiers:
            message = filled(texts("sasp")["modifiers"][name], message=message)
        return message

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The theft; or the message that went furthest, the first that the in-loop judge calls complied."""
        request = wordings.request(case)
        stolen = await ctx.ask_target(case.conversation.with_last_user(self._theft))
        notes = [_stolen(case, stolen, filled(self.canary, **case.wordings))]
        if self.goal == "system_prompt":
            return Draft(case=case, text=self._theft, keep_images=True, note=notes[0])
        if self.modifiers:
            notes.append(f"enhanced by {', '.join(self.modifiers)}")
        told = texts("sasp")[ATTACKER]
        question = prompt(told["system"], filled(told["first"], prompt=_known(stolen), request=request))
        best, furthest = Draft(case=case), -1.0
        for number in range(1, self.iterations + 1):
            message = await ask_until_read(
                ctx, ATTACKER, question, part("message"), tries=TRIES, temperature=self.temperature
            )
            sent = self.enhanced(message)
            shown = case.conversation.with_last_user(*case.conversation.last_user_turn.images, sent)
            reply = await ctx.ask_target(shown)
            verdict = await judged(ctx, case, shown, reply)
            if progress(verdict) > furthest:
                furthest = progress(verdict)
                said = f"message {number}, in the loop {verdict.outcome.value}"
                best = Draft(case=case, text=sent, note="; ".join((*notes, said)))
                ctx.keep(best)
            if furthest == 1:
                break
            again = filled(told["again"], sent=sent, reply=reply.text or "(nothing)")
            written = f"<message>{message}</message>"
            question = question.then(Turn("assistant", (written,)), Turn("user", (again,)))
        return best


def _known(stolen: Response) -> str:
    """What the attacker is told of the system prompt: the reply to the theft, whatever it is."""
    return stolen.text if stolen.stop in ("stop", "length") and stolen.text.strip() else NOTHING


def _stolen(case: Case, stolen: Response, canary: str) -> str:
    """What the note says of the theft."""
    secret = "\n".join(turn.text for turn in case.conversation.turns if turn.role == "system")
    if not secret:
        return "theft: the case shows no system prompt to compare with"
    found = leak(secret, stolen.text, canary)
    told = {None: "", True: ", canary told", False: ", canary not told"}[found.canary]
    return f"theft: {found.recall:.2f} of the system prompt in one stretch{told}"

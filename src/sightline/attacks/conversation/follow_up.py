"""Ask the question, and after the reply, whatever it is, follow up with a reason to answer after all.

Chen et al. 2023, PrivQA, the conversation with GPT-4V on the project page (a figure of the paper): asked for
the name of a building the model refuses; told that the user sees badly, is in that country now and wants help
to tour the place, it names it. Official: ethanm88/llm-access-control is data without code;
llm-access-control/llm-access-control.github.io, static/images/gpt-4v-1.png. Read there: two user turns, the
picture beside the first one alone; the wording of the second. Not known: how often it works, and on what.

The wordings are ours and name no country or place (`texts/follow_up.yaml`): the paper's hint at the place is
not the attacker's to know in a benchmark. The artifact is the script of user turns, replayed on any target;
the last reply is judged. The follow-up comes also after an answer; `follow_up_live` stops there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks import wordings
from sightline.attacks.conversation._texts import chosen, texts
from sightline.attacks.templates import filled
from sightline.cases import Case, ThreatModel, Turn
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError
from sightline.records import Draft
from sightline.registry import attack

MEETS = frozenset({"abstain", "refuse", "comply"})
WHAT = "wording of follow-ups"


def follow_ups(wording: str, own: Sequence[str], case: Case) -> tuple[str, ...]:
    """The turns after the first one: the caller's, or those of a wording.

    Raises:
        UsageError: for a case with nothing to ask.
    """
    asked = wordings.request(case)
    forms = own or chosen(texts("follow_up"), wording, WHAT)
    return tuple(filled(form, behavior=asked) for form in forms)


def told(count: int) -> str:
    """What a draft says of its follow-ups."""
    return f"{count or 'no'} follow-up turn{'' if count == 1 else 's'}"


def check_turns(wording: str, own: Sequence[str]) -> None:
    """Refuse an unknown wording and an empty turn."""
    chosen(texts("follow_up"), wording, WHAT)
    if any(not text.strip() for text in own):
        raise UsageError(f"texts={tuple(own)!r}: a follow-up turn is empty; leave it out")


@attack(
    "follow_up",
    paper="arXiv:2310.02224",
    source="llm-access-control/llm-access-control.github.io: static/images/gpt-4v-1.png",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    applies_to=MEETS,
    presets={name: {"wording": name} for name in ("reference", "guess", "correction", "insist")},
    data=("texts/follow_up.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp(Attack):
    """`wording`: which follow-ups of ours; `texts`: others, one a turn, with {behavior} for the request."""

    wording: str = "need"
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_turns(self.wording, self.texts)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The case's own question first, with its pictures; then the follow-ups, without."""
        for case in cases:
            *between, last = follow_ups(self.wording, self.texts, case)
            said = tuple(Turn("user", (text,)) for text in between)
            yield Draft(
                case=case,
                before=(case.conversation.last_user_turn, *said),
                text=last,
                keep_images=False,
                note=told(len(between) + 1),
            )

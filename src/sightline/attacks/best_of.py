"""The best of several tries: each is sent to the target and judged in the loop, until one is good enough.

With one try nobody is asked. The in-loop verdict only chooses: what is sealed is the try that was chosen, and
the judges of the study score the target's reply to that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sightline.attacks.dialogue import judged, put
from sightline.attacks.loops import Best
from sightline.cases import Case, Conversation
from sightline.contracts import IN_LOOP_JUDGE, TARGET
from sightline.craft import Craft
from sightline.errors import require
from sightline.records import Draft

MOST_TRIES = 100


def check_tries(name: str, tries: int, enough: float) -> None:
    """Check the settings of `best_of`.

    Raises:
        UsageError: for no tries or too many, or an `enough` that no verdict or every one reaches.
    """
    require(1 <= tries <= MOST_TRIES, name, tries, f"1..{MOST_TRIES} tries")
    require(0 < enough <= 1, "enough", enough, "more than 0, at most 1 (complied 1, partial 0.5)")


def calls_of(tries: int) -> Mapping[str, int]:
    """Calls at most by role; none for one try."""
    return {TARGET: tries, IN_LOOP_JUDGE: tries} if tries > 1 else {}


async def best_of(
    case: Case, ctx: Craft, make: Callable[[int], Draft], *, tries: int, enough: float = 1.0
) -> Draft:
    """The first try that gets `enough`, else the first of those that got furthest.

    Args:
        case: what is attacked.
        ctx: of the attack.
        make: the draft of a try, by its number from 0; of a single turn.
        tries: at most.
        enough: progress that ends the search; see `dialogue.progress`.

    Raises:
        TransientError, SpentError, ContractError: as `Craft.ask_target`.
    """
    if tries == 1:
        return make(0)
    best = Best(ctx, case)
    for number in range(tries):
        draft, note = make(number), f"try {number + 1} of {tries}"
        best.untried_draft(draft, note)
        shown = as_sent(draft, ctx)
        verdict = await judged(ctx, case, shown, await ctx.ask_target(shown))
        if best.tried_draft(draft, verdict, note) >= enough:
            break
    return best.found()


def as_sent(draft: Draft, ctx: Craft) -> Conversation:
    """What the target sees of a draft of a single turn, as its seal will have it."""
    before = draft.case.conversation
    pictures = draft.images if draft.image is None else (draft.image,)
    own = before.last_user_turn.images if draft.keep_images and not pictures else ()
    shown = tuple(put(ctx, pixels) for pixels in pictures) or own
    text = before.last_user_text() if draft.text is None else draft.text
    return before.with_last_user(*shown, *([text] if text or not shown else []))

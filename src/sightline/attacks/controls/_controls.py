"""What the controls share: the plain request, whatever picture the case refers to, and an empty page."""

from __future__ import annotations

from sightline.attacks import wordings
from sightline.cases import Case

TESTBED = {"testbed": {"size_px": 64}}


def plain_text(case: Case) -> str | None:
    """The text to ask with: the case's own (None), or its plain behavior if its text may point at a picture.

    Raises:
        UsageError: if the case has nothing to ask.
    """
    plain = wordings.request(case)
    return plain if any(case.conversation.images) or not case.conversation.last_user_text().strip() else None

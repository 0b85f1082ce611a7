"""What the controls share: the plain request, whatever picture the case refers to, and an empty page."""

from __future__ import annotations

import numpy as np

from sightline.attacks import _wordings
from sightline.cases import Case
from sightline.records import Pixels

TESTBED = {"testbed": {"size_px": 64}}


def blank(size: tuple[int, int], level: int = 255) -> Pixels:
    """A page of `size` (width, height), all of one gray level; 255 is white."""
    page = np.full((size[1], size[0], 3), level, dtype=np.uint8)
    page.setflags(write=False)
    return page


def plain_text(case: Case) -> str | None:
    """The text to ask with: the case's own (None), or its plain behavior if its text may point at a picture.

    Raises:
        UsageError: if the case has nothing to ask.
    """
    plain = _wordings.request(case)
    return plain if any(case.conversation.images) or not case.conversation.last_user_text().strip() else None

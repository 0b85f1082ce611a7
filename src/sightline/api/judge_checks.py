"""`check_judge`: which forgeries in a reply turn a judge's verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline import registry
from sightline.api.pictures import store
from sightline.contracts import Judge, NeedsTarget
from sightline.errors import UsageError
from sightline.study.secret import keyed
from sightline.targets import open_target
from sightline.waiting import wait

if TYPE_CHECKING:
    from sightline.cases import Image
    from sightline.judge_check.found import JudgeCheck

_WIDTH, _HEIGHT = 320, 64


def check_judge(judge: str | Judge, *, items: int = 20) -> JudgeCheck:
    """Ask a judge about benign replies with and without forged verdicts and the like, 35 classes of them.

    Args:
        judge: as a study names it (`target_string(target='abc')`), or an object.
        items: replies per class.

    Returns:
        What was found; `print` it, or ask `.ok`, `.faults`, `.plain()`. A judge by rule is `ok` if no verdict
        turns in the classes that must hold; of one that asks a model all classes are only measured.

    Raises:
        UsageError: for an unknown judge, or one that decides none of the honest replies.
    """
    from sightline.judge_check.check import check

    found = registry.parse("judge", judge) if isinstance(judge, str) else judge
    if not hasattr(found, "card"):
        raise UsageError(f"check_judge takes a judge or its name, not a {type(judge).__name__}")
    found, pictures = registry.checked(found), store()
    if isinstance(found, NeedsTarget):
        found = found.bind(lambda name: open_target(name, pictures))
    (ready,) = keyed([found], pictures.folder.parent)
    return wait(check(ready, items=items, draw=_drawn))


def _drawn(text: str) -> Image:
    """A white picture with a text."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    page = Pillow.new("RGB", (_WIDTH, _HEIGHT), "white")
    ImageDraw.Draw(page).text((10, 20), text, fill="black", font_size=20)
    return store().seal(page)

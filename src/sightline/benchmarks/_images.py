"""Pictures of releases whose names vary: another suffix, another folder; COCO's names of 2014 and 2017."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sightline.cases import Image
from sightline.contracts import Release
from sightline.rows import Row

SUFFIXES = (".jpg", ".png", ".jpeg", ".webp", ".gif")
COCO_FOLDERS = ("train2017", "val2017", "train2014", "val2014", "test2015", "test2017")
COCO_ROOTS = ("", "coco/", "images/", "coco/images/", "train/", "val/")
_COCO = re.compile(r"(?:COCO_\w+?_)?(\d{1,12})(?:\.\w{3,4})?", re.IGNORECASE)


def first_picture(release: Release, *names: str) -> Image:
    """The first of these pictures that is there, under any suffix; else the first, with its problem."""
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        stem = stem if f"{dot}{suffix}".casefold() in SUFFIXES else name
        for each in (name, *(f"{stem}{other}" for other in SUFFIXES)):
            if release.exists(each):
                return release.image(each)
    return release.image(names[0])


def coco_number(row: Row, *columns: str) -> int:
    """COCO's number of a picture: 51977, '000000051977.jpg' or 'COCO_val2014_000000051977.jpg'.

    Raises:
        RowProblem: for what is no such name.
    """
    name = row.word(*columns)
    found = _COCO.fullmatch(name.rpartition("/")[2])
    if found is None:
        raise row.problem(f"{columns[0]!r} is {name[:40]!r}, not the number or name of a COCO picture")
    return int(found[1])


def coco_picture(release: Release, number: int, folder: str) -> Image:
    """A COCO picture by its number: from its folder, or from any other, for a number is one picture in all.

    Pictures may lie in `train2017/000000051977.jpg`, `val2014/COCO_val2014_000000051977.jpg` and so on, below
    the root, `coco/` or `images/`, or in one flat folder.
    """
    folders = (folder, *(other for other in COCO_FOLDERS if other != folder))
    names = [
        f"{root}{each}/{f'COCO_{each}_' if each.endswith(('2014', '2015')) else ''}{number:012d}.jpg"
        for each in folders
        for root in COCO_ROOTS[:4]
    ]
    names += [f"{root}{number:012d}.jpg" for root in COCO_ROOTS]
    return release.image(next(filter(release.exists, names), names[0]))


def commonest(answers: Sequence[str]) -> str:
    """The answer that most persons gave; of equals the first."""
    counts = Counter(answers)
    return max(answers, key=lambda answer: counts[answer])

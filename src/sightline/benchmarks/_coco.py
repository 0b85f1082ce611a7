"""Pictures of COCO by number: one picture has one number in the splits of 2014, 2015 and 2017."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

from sightline.cases import Image
from sightline.contracts import Release
from sightline.rows import Row

FOLDERS = ("train2017", "val2017", "train2014", "val2014", "test2015", "test2017")
ROOTS = ("coco/images/", "coco/", "images/", "")
"""The longest first: in an archive the end of a name finds a file, and a name counts for the digest."""
_NAME = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{1,12})(?:\.\w{3,4})?", re.IGNORECASE)


def coco_number(row: Row, *columns: str) -> int:
    """COCO's number of a picture: of 51977, '000000051977.jpg' or 'COCO_val2014_000000051977.jpg'.

    Raises:
        RowProblem: for what is no such name.
    """
    name = row.word(*columns)
    found = _NAME.fullmatch(name.replace("\\", "/").rpartition("/")[2])
    if found is None:
        raise row.problem(f"{columns[0]!r} is {name[:40]!r}, not the number or name of a COCO picture")
    return int(found[1])


def coco_places(release: Release, folder: str) -> tuple[str, ...]:
    """Where COCO's pictures may lie, `folder` first: the folders that are there before all others."""
    folders = (folder, *(other for other in FOLDERS if other != folder))
    every = [(root, each) for each in folders for root in ROOTS]
    there = {root: {name.casefold() for name in release.folders(root.rstrip("/"))} for root in ROOTS}
    return tuple(f"{root}{each}" for root, each in sorted(every, key=lambda at: at[1] not in there[at[0]]))


def coco_picture(release: Release, number: int, places: Sequence[str]) -> Image:
    """A COCO picture by its number, from the first of these places that has it.

    It may be called `train2017/000000051977.jpg` or `train2014/COCO_train2014_000000051977.jpg` (and so on),
    below the root, `coco` or `images`, or lie in such a root itself.
    """
    inside = (f"{place}/{name_in(place, number)}" for place in places)
    beside = (f"{place.rpartition('/')[0]}/{name_in(place, number)}".lstrip("/") for place in places)
    names = chain(inside, beside)
    first = f"{places[0]}/{name_in(places[0], number)}"
    return release.image(next(filter(release.exists, names), first))


def name_in(place: str, number: int) -> str:
    """What a picture is called in one of COCO's folders."""
    folder = place.rpartition("/")[2]
    return f"{'' if folder.endswith('2017') else f'COCO_{folder}_'}{number:012d}.jpg"

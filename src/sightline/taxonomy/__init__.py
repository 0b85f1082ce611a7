"""Hazards: the codes that cases carry, and how each benchmark's and guard's own categories map to them.

    from sightline import taxonomy

    taxonomy.hazard("mm_safetybench", "03-Malware_Generation")   # 'x.cyb'
    taxonomy.mapping("goat_memes", "harmfulness").certainty      # 'judgement'

All of it is one data file, `crosswalk.yaml`. The hub is MLCommons AILuminate 1.0; `x.` codes are extensions;
`benign` and `detect` are tags, not hazards. Letter case, spaces and punctuation of a label do not matter, `&`
is `and`, and a number in front of it (`01-`, `O7: `) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from sightline.errors import UsageError, nearest

DATA = ("crosswalk.yaml",)
VERSION = 1
"""Of the crosswalk; raised whenever a mapping changes."""

Certainty = Literal["exact", "natural", "judgement"]
Seen = Literal["release", "authors", "others", "memory"]
_NUMBERED = re.compile(r"[a-z]?\d{1,2}[\W_]+(?=\w)")
_PUNCTUATION = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Hazard:
    """A code of the common taxonomy.

    Attributes:
        group: `physical`, `non-physical` or `contextual` (AILuminate's), `extension` (ours) or `tag`.
        parent: the code that a sub-code belongs to, else ''.
    """

    code: str
    name: str
    group: str
    parent: str = ""

    @property
    def is_tag(self) -> bool:
        """Whether it says something about the case that is no hazard."""
        return self.group == "tag"


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a label of a native list corresponds to.

    Attributes:
        label: as the list spells it.
        primary: the code that cases with this label carry.
        secondary: further codes that fit many of them, and tags.
        certainty: `exact` (the same concept), `natural` (narrower or wider), `judgement` (another coder may
            decide otherwise).
        note: what the mapping does not say.
        spelled: other spellings of the label.
    """

    label: str
    primary: str
    secondary: tuple[str, ...] = ()
    certainty: Certainty = "judgement"
    note: str = ""
    spelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NativeList:
    """The categories of a benchmark or guard, in its own order.

    Attributes:
        seen: where the labels were read: the published data (`release`), the authors' paper, code or
            documentation, others' readers of the data; or `memory`: a release may spell them otherwise.
    """

    name: str
    about: str
    seen: Seen
    labels: tuple[Mapped, ...]


def hazard(source: str, label: str, *wider: str) -> str:
    """The primary code of a label, '' if the list has no such label.

    Where a row has a subcategory and a category, give the narrower first: the first that the list has counts.

    Raises:
        UsageError: for an unknown list; the nearest names are offered.
    """
    found = mapping(source, label, *wider)
    return "" if found is None else found.primary


def mapping(source: str, label: str, *wider: str) -> Mapped | None:
    """Everything that the crosswalk says of a label, None if the list has no such label.

    Raises:
        UsageError: as `hazard`.
    """
    _known(source)
    found = map(_by_label(source).get, map(_plain, (label, *wider)))
    return next((entry for entry in found if entry is not None), None)


def native(source: str) -> NativeList:
    """A native list. Raises UsageError as `hazard`."""
    return _known(source)


def sources() -> tuple[str, ...]:
    """Names of the native lists, as of our benchmarks."""
    return tuple(_lists())


@cache
def hazards() -> Mapping[str, Hazard]:
    """All codes in order: AILuminate's, the extensions, the tags."""
    return {str(code): Hazard(str(code), **facts) for code, facts in _file()["hazards"].items()}


@cache
def _file() -> Any:
    text = (resources.files(__name__) / DATA[0]).read_text("utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
    return yaml.load(text, Loader=loader)  # noqa: S506 - both are safe


@cache
def _lists() -> Mapping[str, NativeList]:
    return {
        name: NativeList(
            name, **{**facts, "labels": tuple(_mapped(*pair) for pair in facts["labels"].items())}
        )
        for name, facts in _file()["sources"].items()
    }


def _mapped(label: str, facts: Mapping[str, Any]) -> Mapped:
    lists = {key: tuple(facts.get(key, ())) for key in ("secondary", "spelled")}
    return Mapped(**{"label": label, **facts, **lists})


def _known(source: str) -> NativeList:
    if source not in _lists():
        raise UsageError(nearest(source, _lists(), "native list of the taxonomy"))
    return _lists()[source]


@cache
def _by_label(source: str) -> Mapping[str, Mapped]:
    entries = _lists()[source].labels
    return {_plain(name): entry for entry in entries for name in (entry.label, *entry.spelled)}


def _plain(label: str) -> str:
    """A label as it is compared."""
    folded = label.strip().casefold().replace("&", " and ")
    number = _NUMBERED.match(folded)
    return _PUNCTUATION.sub(" ", folded[number.end() :] if number else folded).strip()

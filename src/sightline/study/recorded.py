"""A study of recorded responses: what its grid is made of, read off the files that it names."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sightline import registry
from sightline.contracts import Decoding
from sightline.responses.files import Wanted
from sightline.responses.reading import read_responses
from sightline.responses.table import PLAIN, ResponseTable
from sightline.study.named import NamedAttack, NamedDefense, Source
from sightline.study.schema import ResponsesEntry

UNKNOWN = Decoding(max_tokens=None, temperature=None)
"""How the models were sampled is not known here; see `Facts.decoding` for what a file says."""
ELSEWHERE = ("benchmarks", "targets", "attacks", "defenses", "decoding", "epochs")
"""Keys that say what another harness has done already."""


class Recorded(NamedTuple):
    """The sections of a study, as a table of responses has them."""

    table: ResponseTable
    source: Source
    attacks: tuple[NamedAttack, ...]
    targets: tuple[str, ...]
    defenses: tuple[NamedDefense, ...]


def recorded(entry: ResponsesEntry, folder: Path, limit: int | None) -> Recorded:
    """What a study's `responses:` stand for.

    Raises:
        UsageError: naming file and row, for what cannot be read.
    """
    wanted = Wanted(
        files=entry.files,
        format=entry.format,
        columns=entry.columns,
        labels={label: meant.value for label, meant in entry.labels.items()},
        model=entry.model,
        attack=entry.attack,
        defense=entry.defense,
        expected=entry.expected or "",
        plain=entry.plain,
        controls=entry.controls,
        error_markers=entry.error_markers,
        behaviors=entry.behaviors,
        images=entry.images,
        encoding=entry.encoding,
        keep_bad=entry.on_bad_rows == "keep",
    )
    table = read_responses(wanted, folder, entry.label)
    cases = registry.make("benchmark", "recorded", table=table.label).of(table)
    made = {
        at: registry.make(
            "attack",
            "recorded",
            attack=at.attack,
            role="control" if at.attack in entry.controls else "attack",
            model=at.model,
            defense=at.defense,
        ).of(table)
        for at in sorted(table.combinations, key=lambda at: (at.attack != PLAIN, at.attack))
    }
    return Recorded(
        table=table,
        source=Source(label=table.label, benchmark=cases, root=table.root, limit=limit or entry.limit),
        attacks=tuple(
            NamedAttack(
                label=at.attack,
                attack=attack,
                series=at.attack,
                answered_by=(at.target, at.defense),
                applies_to=table.kinds(at.attack),
            )
            for at, attack in made.items()
        ),
        targets=tuple(dict.fromkeys(at.target for at in table.combinations)),
        defenses=tuple(
            NamedDefense(
                label=name,
                stack=() if name == PLAIN else (registry.make("defense", "recorded", name=name),),
            )
            for name in sorted(
                {at.defense for at in table.combinations}, key=lambda name: (name != PLAIN, name)
            )
        ),
    )

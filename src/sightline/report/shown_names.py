"""Trained targets by the label of their `train:` row: what a page shows where tables keep target strings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sightline.metrics._columns import CELL, Columns
from sightline.metrics.summary import Summary
from sightline.report.results import Results, entries
from sightline.report.text import label

LONGEST = 48
"""Characters of a row's label within a name, so that its seed and step are not cut off."""
_NAMING = tuple(CELL.index(column) for column in ("target", "crafted_on"))

Run = Mapping[str, Any]
"""An entry of the lock's section `trained`."""


@dataclass(frozen=True, slots=True)
class ShownNames:
    """Target strings and the names that stand for them, in the order of training; no name stands for two."""

    of_string: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, lock: Mapping[str, Any]) -> ShownNames:
        """Names of what the lock says was trained.

        They are `LABEL seed N step N on BASE`, each part only where a row makes several. A target keeps its
        string where the name is also another's, or is that of a target or base that was not trained here.
        """
        runs = entries(lock, "trained")
        named = dict(_named(runs))
        targets = {str(entry.get("target")) for entry in entries(lock, "targets")}
        others = targets.union(named, (str(run["base"]) for run in runs))
        used = Counter(named.values())
        found = cls(
            {string: string if used[name] > 1 or name in others else name for string, name in named.items()}
        )
        return found if len(set(map(found.within, others))) == len(others) else cls()

    @classmethod
    def together(cls, locks: Sequence[Mapping[str, Any]]) -> ShownNames:
        """Names in what is said of several runs; one that means different targets in them is none."""
        trained: dict[str, dict[str, Any]] = {}
        for lock in locks:
            for run in entries(lock, "trained"):
                known = trained.setdefault(str(run["target"]), {**run, "checkpoints": []})
                fresh = (each for each in run["checkpoints"] if each not in known["checkpoints"])
                known["checkpoints"] = sorted([*known["checkpoints"], *fresh])
        targets = [entry for lock in locks for entry in entries(lock, "targets")]
        return cls.of({"targets": targets, "trained": list(trained.values())})

    def string(self, name: str) -> str:
        """The target string behind a name."""
        return next((string for string, own in self.of_string.items() if own == name), name)

    def within(self, text: object) -> str:
        """A text such as a target or `crafted_on` with names in place of all target strings in it."""
        if not self.of_string:
            return str(text)
        longest = sorted(self.of_string, key=len, reverse=True)  # what was trained on holds its base's string
        return re.sub("|".join(map(re.escape, longest)), lambda found: self.of_string[found[0]], str(text))

    def lock(self, lock: Mapping[str, Any]) -> dict[str, Any]:
        """The lock with names in place of target strings, but for ids."""
        if not self.of_string:
            return dict(lock)
        found = dict(lock)
        found["targets"] = [
            {**entry, "target": self.within(entry.get("target"))} for entry in entries(lock, "targets")
        ]
        found["attacks"] = [self._attack(entry) for entry in entries(lock, "attacks")]
        found["trained"] = [
            {
                **run,
                "base": self.within(run["base"]),
                "target": self.within(run["target"]),
                "checkpoints": [[step, self.within(string)] for step, string in run["checkpoints"]],
            }
            for run in entries(lock, "trained")
        ]
        claim = lock.get("hypothesis")
        if isinstance(claim, Mapping):
            sides = [self.within(each) for each in claim["contrast"]]
            target = {"target": self.within(claim["target"])} if claim.get("target") else {}
            found["hypothesis"] = {**claim, "contrast": sides, **target}
        return found

    def _attack(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        named = dict(entry)
        if named.get("crafted_on"):
            named["crafted_on"] = self.within(named["crafted_on"])
        if named.get("answered_by"):
            target, *behind = named["answered_by"]
            named["answered_by"] = [self.within(target), *behind]
        return named

    def columns(self, columns: Columns) -> Columns:
        """The columns of results with names in their cells."""
        if not self.of_string:
            return columns
        known = {text: self.within(text) for cell in columns.cells for text in (cell[at] for at in _NAMING)}
        cells = [
            tuple(known[text] if at in _NAMING else text for at, text in enumerate(cell))
            for cell in columns.cells
        ]
        return replace(columns, cells=cells)

    def ordered(self, summary: Summary) -> Summary:
        """The summary with trained targets in the order of training, behind the others."""
        if not self.of_string:
            return summary
        places = {name: place for place, name in enumerate(self.of_string.values(), start=1)}

        def place(one: Any) -> tuple[str, str, str, int]:
            return one.id.judge, one.id.benchmark, one.id.release, places.get(one.id.target, 0)

        return replace(
            summary,
            cells=tuple(sorted(summary.cells, key=place)),
            slices=tuple(sorted(summary.slices, key=place)),
        )

    def rename(self, results: Results) -> None:
        """Let all queries on the results answer with names."""
        if self.of_string:
            results.show(self.within, ("target", "crafted_on", "cell"))


def _named(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Target strings with the names that they ask for, in the order of training."""
    together: dict[str, list[Run]] = {}
    for run in runs:
        together.setdefault(str(run["label"]), []).append(run)
    stems: dict[str, str] = {}
    for alike in together.values():
        for run in alike:
            start = label(run["label"], LONGEST).replace(" + ", "+")  # which parts models in `crafted_on`
            several = len({str(each["seed"]) for each in alike}) > 1
            start += f" seed {run['seed']}" if several else ""
            base = str(run["base"])
            on = f" on {stems.get(base, base)}" if len({str(each["base"]) for each in alike}) > 1 else ""
            stems[str(run["target"])] = start + on
            stepped = any(each["checkpoints"] for each in alike)
            for step, string in [*run["checkpoints"], (run["steps"], run["target"])]:
                yield str(string), start + (f" step {step}" if stepped else "") + on

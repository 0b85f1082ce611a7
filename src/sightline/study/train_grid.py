"""Trainings of one entry of `train:`: every combination of what its `grid:` lists.

    grid: {ratio: [0, 0.02, 0.1], order: [first, mixed], rows: {written: BENCHMARK, drawn: [BENCHMARK, ...]}}

A key is a setting of the recipe, `rows` or `base`. What is listed under names is shown by them in labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from sightline import registry
from sightline.errors import UsageError, nearest
from sightline.study.schema import TrainEntry
from sightline.tuning import Recipe

OWN = ("rows", "base")
"""Keys of a grid that are the entry's, all others the recipe's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One training of an entry; `factors` are its values in the grid, as labels show them."""

    label: str
    recipe: Recipe
    base: str
    rows: tuple[str, ...]
    factors: Mapping[str, str]


def combinations(entry: TrainEntry) -> Iterator[Combination]:
    """Every combination of an entry's grid; the entry itself if it has none.

    Raises:
        UsageError: for a key that is no setting of the recipe, or a value that it does not take.
    """
    recipe: Recipe = registry.parse("recipe", entry.recipe)
    levels = {key: _levels(key, values) for key, values in entry.grid.items()}
    known = {each.name for each in fields(recipe) if each.init}  # type: ignore[arg-type]  # a dataclass
    for key in levels:
        if key not in (*OWN, *known):
            raise UsageError(nearest(key, {*OWN, *known}, f"key of the grid of recipe {recipe.card.name!r}"))
    for chosen in product(*levels.values()):
        names = {key: name for key, (name, _) in zip(levels, chosen, strict=True)}
        values = {key: value for key, (_, value) in zip(levels, chosen, strict=True)}
        rows, base = values.pop("rows", entry.rows), values.pop("base", entry.base)
        said = ", ".join(f"{key}={name}" for key, name in names.items())
        yield Combination(
            label=f"{entry.shown} [{said}]" if said else entry.shown,
            recipe=_with(recipe, values),
            base=str(base),
            rows=(rows,) if isinstance(rows, str) else tuple(map(str, rows)),
            factors=names,
        )


def _levels(key: str, given: Any) -> list[tuple[str, Any]]:
    """Levels of a factor with the names that labels show."""
    if isinstance(given, Mapping):
        return [(str(name), value) for name, value in given.items()]
    if any(value in given[:place] for place, value in enumerate(given)):
        raise UsageError(f"grid: {key}: {list(given)} holds a value twice")
    return [(str(value), value) for value in given]


def _with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """A recipe with other settings."""
    if not values:
        return recipe
    own = {each.name: getattr(recipe, each.name) for each in fields(recipe) if each.init}  # type: ignore[arg-type]
    made: Recipe = registry.make("recipe", recipe.card.name, **{**own, **values})
    return made

"""The columns of an attack of a study: budgets, seeds, settings of a grid, targets that it talks to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from sightline.budget import UNLIMITED
from sightline.contracts import TARGET, Attack
from sightline.errors import UsageError, nearest
from sightline.study.limits import useless
from sightline.study.named import NamedAttack, NamedDefense, NamedTraining
from sightline.study.roles import calls_of, missing_role, oracle_of, refuse_strangers, refuse_target
from sightline.study.schema import AttackEntry, StudyFile
from sightline.study.surrogates import adapts, check_known

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AttackColumns:
    """Makes the columns of the entries of a study file.

    Attributes:
        file: the study.
        defenses: of the study.
        make: an entry's attack, with settings of a grid besides its own; complaints name the line.
        complain: the error for a key of an entry.
    """

    file: StudyFile
    defenses: Sequence[NamedDefense]
    make: Callable[[AttackEntry, int, Settings], Attack]
    complain: Callable[[Sequence[int | str], str], UsageError]
    trainings: Sequence[NamedTraining] = ()

    def of(self, entry: AttackEntry, label: str, index: int) -> Iterator[NamedAttack]:
        """The columns of one entry.

        Raises:
            UsageError: for a key that does not fit the attack, naming its line.
        """
        for settings in self._grid(entry, index):
            attack = self.make(entry, index, settings)
            self._check(entry, attack, index)
            said = ", ".join(f"{name}={value}" for name, value in settings.items())
            series = f"{label} [{said}]" if said else label
            for column in self._levels(entry, attack, series, index):
                yield from self._talking(entry, column, index)

    @property
    def _targets(self) -> tuple[str, ...]:
        """Targets of the study; labels of trainings stand for those that they will make."""
        return (*self.file.targets, *(each.label for each in self.trainings))

    def _grid(self, entry: AttackEntry, index: int) -> Iterator[Settings]:
        """Every combination of the settings of a grid."""
        for name, values in entry.grid.items():
            if name in (entry.model_extra or {}):
                raise self.complain(("attacks", index, "grid", name), f"{name!r} stands beside the grid, too")
            if any(value in values[:place] for place, value in enumerate(values)):
                raise self.complain(("attacks", index, "grid", name), f"{values} holds a value twice")
        for combination in product(*entry.grid.values()):
            yield dict(zip(entry.grid, combination, strict=True))

    def _levels(self, entry: AttackEntry, attack: Attack, series: str, index: int) -> Iterator[NamedAttack]:
        """One column for each level of the budget and each seed."""
        try:
            budgets = entry.budget.budgets() if entry.budget else [UNLIMITED]
        except UsageError as problem:
            raise self.complain(("attacks", index, "budget"), str(problem)) from None
        models = max(1, len(entry.surrogate))
        for budget in budgets:
            if (wrong := useless(attack, budget, models)) is not None:
                raise self.complain(("attacks", index, "budget", wrong.limit), wrong.told)
            for seed_index in range(entry.seeds):
                marks = [str(budget)] if len(budgets) > 1 else []
                marks += [f"seed {self.file.seed + seed_index}"] if entry.seeds > 1 else []
                yield NamedAttack(
                    label=f"{series} [{', '.join(marks)}]" if marks else series,
                    attack=attack,
                    surrogates=entry.surrogate,
                    series=series,
                    budget=budget,
                    seed_index=seed_index,
                )

    def _talking(self, entry: AttackEntry, column: NamedAttack, index: int) -> Iterator[NamedAttack]:
        """The column, or one for each target that the attack talks to."""
        needed = calls_of(column.attack)
        roles = {role: self.file.roles[role] for role in needed if role != TARGET}
        column = replace(column, roles=roles)
        if TARGET not in needed:
            yield from self._looking(entry, column, index)
        elif entry.talks_to is not None:
            oracle = oracle_of(entry.talks_to)
            if entry.oracle not in (None, oracle):
                what = f"{entry.talks_to} is {oracle}: name the target as it is, or leave `oracle` out"
                raise self.complain(("attacks", index, "oracle"), what)
            yield replace(column, oracle=oracle, talks_to=entry.talks_to)
        elif entry.oracle == "defended":
            for target, defense in product(self._targets, self._among(entry, index)):
                yield replace(
                    column,
                    oracle="undefended" if defense.bare else "defended",
                    talks_to=defense.around(target),
                    answered_by=(target, defense.label),
                )
        else:
            for target in self._targets:
                yield replace(column, oracle="undefended", talks_to=target, answered_by=(target, None))

    def _looking(self, entry: AttackEntry, column: NamedAttack, index: int) -> Iterator[NamedAttack]:
        """The column, or one for each target behind each defense, through which it is crafted."""
        if entry.oracle != "defended":
            yield replace(column, oracle="defended") if adapts(column.surrogates) else column
            return
        for target, defense in product(self._targets, self._among(entry, index)):
            yield replace(
                column,
                surrogates=(defense.around(target),),
                oracle="none" if defense.bare else "defended",
                answered_by=(target, defense.label),
            )

    def _check(self, entry: AttackEntry, attack: Attack, index: int) -> None:
        """Make sure that the keys of an entry fit its attack.

        Raises:
            UsageError: naming the key, its line and the cure.
        """

        def wrong(what: str, *key: str) -> UsageError:
            return self.complain(("attacks", index, *key), what)

        name, needed = entry.name, calls_of(attack)
        adaptive = attack.card.surrogate and entry.oracle == "defended" and TARGET not in needed
        if adaptive and entry.surrogate:
            raise wrong(
                f"{name} with oracle defended is crafted on each target behind each defense: leave "
                "`surrogate` out, or name a defended one (defended/DEFENSE:TARGET) and leave `oracle` out",
                "surrogate",
            )
        if attack.card.surrogate and not entry.surrogate and not adaptive:
            raise wrong(
                f"{name} is crafted on a model's gradients: add `surrogate:` with a local target, such "
                "as testbed/linear, or encoder/FOLDER (or a list of them)"
            )
        if entry.surrogate and not attack.card.surrogate:
            raise wrong(f"{name} looks into no model; leave `surrogate` out", "surrogate")
        if entry.budget and not attack.card.surrogate and not needed:
            raise wrong(f"{name} computes nothing that a budget limits; leave it out", "budget")
        if entry.talks_to is not None and TARGET not in needed:
            raise wrong(f"{name} asks no target; leave `talks_to` out", "talks_to")
        if TARGET in needed and entry.oracle == "none":
            what = f"{name} asks the target: its oracle is undefended or defended"
            raise wrong(what, "oracle")
        if TARGET not in needed and entry.oracle not in (None, "none") and not adaptive:
            raise wrong(f"{name} asks no target: its oracle is none; leave it out", "oracle")
        defenses = self._among(entry, index)
        self._check_known(entry, attack, index, adaptive)
        bare = all(each.bare for each in defenses)
        if entry.oracle == "defended" and entry.talks_to is None and bare:
            what = (
                f"no defense in {'its `defenses`' if entry.defenses else 'this study'}: oracle defended has "
                "nothing to adapt to; add `defenses:` or leave `oracle` out"
            )
            raise wrong(what, "oracle")
        for role in needed:
            if role != TARGET and role not in self.file.roles:
                strangers = [each for each in self.file.roles if each not in needed]
                raise wrong(missing_role(name, role, strangers))

    def _among(self, entry: AttackEntry, index: int) -> tuple[NamedDefense, ...]:
        """The defenses of the study that an attack adapts to: all, or those that the entry names.

        Raises:
            UsageError: for a label that is none, one that stands twice, or an attack that adapts to nothing.
        """
        if not entry.defenses:
            return tuple(self.defenses)
        if entry.oracle != "defended" or entry.talks_to is not None:
            what = (
                "an attack that adapts to no defense is shown behind all of them: `defenses` of an attack "
                "goes with `oracle: defended`; leave it out"
            )
            raise self.complain(("attacks", index, "defenses"), what)
        known = {each.label: each for each in self.defenses}
        for place, label in enumerate(entry.defenses):
            if label not in known:
                what = nearest(label, known, "defense of this study")
                raise self.complain(("attacks", index, "defenses", place), what)
            if label in entry.defenses[:place]:
                raise self.complain(("attacks", index, "defenses", place), f"{label!r} stands here twice")
        return tuple(known[label] for label in entry.defenses)

    def _check_known(self, entry: AttackEntry, attack: Attack, index: int, adaptive: bool) -> None:
        """Make sure that an attack can be crafted through the defenses that it knows."""
        names, trained = entry.surrogate, {each.label for each in self.trainings}
        ensemble = [name for name in names if name in trained] if len(names) > 1 else []
        if ensemble:
            what = f"{ensemble[0]} is a training of this study, which stands alone: no ensemble is made of it"
            raise self.complain(("attacks", index, "surrogate"), what)
        if adaptive:
            chosen = self._among(entry, index)
            bases = (each.base for each in self.trainings if "/" in each.base)
            names = tuple(each.around(target) for target in (*self.file.targets, *bases) for each in chosen)
        for name in names:
            try:
                check_known(name, attack)
            except UsageError as wrong:
                key = "oracle" if adaptive else "surrogate"
                raise self.complain(("attacks", index, key), str(wrong)) from None


def check_roles(file: StudyFile, columns: Sequence[NamedAttack]) -> None:
    """Make sure that every role of a study is one that attacks have.

    Raises:
        UsageError: with the nearest names.
    """
    refuse_target(file.roles, "each of `targets:` is one, or what `talks_to` of the attack names")
    asked = {role for column in columns for role in column.roles}
    refuse_strangers(file.roles, asked)

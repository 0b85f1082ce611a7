"""Attacks without a study: one prompt or a list in, sealed results out, made as in the craft stage."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sightline import registry
from sightline.api.models import Model, ModelLike, opened
from sightline.api.pictures import Picture, Pictures, store
from sightline.api.prompts import case_of
from sightline.api.talking import Roles, converse
from sightline.budget import UNLIMITED, Budget
from sightline.cases import Case, Conversation, Image, Turn
from sightline.console import terminal_progress
from sightline.contracts import Attack, Surrogate
from sightline.digests import digest
from sightline.errors import UsageError, nearest
from sightline.keys import case_key
from sightline.plain import plain_case
from sightline.records import Artifact, Call, Cost, Pixels
from sightline.study.artifact_builder import ArtifactBuilder, failed, length
from sightline.study.config import NamedAttack
from sightline.study.grid import Column, chunks
from sightline.study.limits import useless
from sightline.study.progress import Progress, Silent
from sightline.study.schema import BudgetEntry
from sightline.study.surrogates import adapts

TARGET_SETTINGS = ("targets", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an attack made of one prompt: written, read back and measured, as in a study.

    Attributes:
        case: the prompt that was attacked.
        conversation: what to send to a model instead; `model.ask(result)` sends it.
        image: the written picture that the conversation's last turn shows; None if it shows none.
        norms: change of the written picture against the one that was perturbed: `linf` and `l2` in pixel
            levels 0..255, `changed` as the share of pixels; empty if none was perturbed.
        follow_ups: of a script of several turns, the user turns after `conversation`, each sent after the
            target's reply to the one before; `model.ask(result)` plays them.
        calls: of an attack that converses, every call to helpers, in-loop judge and target, in order.
        trace: (step, training loss) of the search.
        checks: (step, loss on the probe, share of targets that greedy decoding writes) of what a file would
            hold.
        cost: forward and backward passes, FLOPs, calls, tokens and seconds that it took.
        crafted_on: ids of the models whose gradients were used or that the attack talked to; None if there
            were none.
        note: what the attack has to say, such as why the search ended.
        problem: why there is no result; None if there is one.
    """

    case: Case
    conversation: Conversation
    follow_ups: tuple[Turn, ...]
    calls: tuple[Call, ...]
    image: Picture | None
    norms: Mapping[str, float]
    trace: tuple[tuple[int, float], ...]
    checks: tuple[tuple[int, float, float], ...]
    cost: Cost
    crafted_on: str | None
    note: str
    problem: str | None

    @property
    def text(self) -> str:
        """The text of the last user turn, with what the attack changed."""
        return self.follow_ups[-1].text if self.follow_ups else self.conversation.last_user_text()

    @property
    def losses(self) -> tuple[float, ...]:
        """The training loss, step by step."""
        return tuple(loss for _, loss in self.trace)

    def __repr__(self) -> str:
        shown = [repr(self.text)]
        shown += [repr(self.image)] if self.image is not None else []
        shown += [f"{name}={value:.4g}" for name, value in self.norms.items()]
        shown += [f"loss {self.losses[0]:.3f} -> {self.losses[-1]:.3f}"] if self.trace else []
        shown += [f"note={self.note!r}"] if self.note else []
        shown += [f"problem={self.problem!r}"] if self.problem else []
        return f"Result({', '.join(shown)})"


def attack(
    method: Attack,
    model: ModelLike,
    prompts: Any,
    *,
    image: Any = None,
    target: str | Sequence[str] | None = None,
    roles: Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, float] = UNLIMITED,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    quiet: bool = False,
) -> Any:
    """The `Result` of an attack on one prompt, or a list of them for a list; see `Attack.__call__`."""
    several = isinstance(prompts, list)
    models = [] if model is None else list(model) if isinstance(model, list | tuple) else [model]
    chosen = registry.checked(method if target is None else aimed(method, target))
    limits = budget_of(budget)
    if (wrong := useless(chosen, limits, max(1, len(models)))) is not None:
        raise UsageError(f"budget, {wrong.limit!r}: {wrong.told}")
    crafting = _Crafting(
        chosen,
        [opened(each) for each in models],
        {} if roles is None else roles,
        limits,
        seed,
        folder,
    )
    found = crafting.results(
        [case_of(each, image, crafting.pictures) for each in (prompts if several else [prompts])], quiet
    )
    if not several and found[0].problem is not None:
        raise UsageError(found[0].problem)
    return found if several else found[0]


def budget_of(given: Any) -> Budget:
    """A budget, also of a mapping from limit to number, as a study has it.

    Raises:
        UsageError: for an unknown limit or what is no number above 0, with the known ones.
    """
    if isinstance(given, Budget):
        return given
    if not isinstance(given, Mapping):
        raise UsageError(f"budget={given!r}: give sl.Budget(target_calls=5) or {{'target_calls': 5}}")
    for name in given:
        if name not in BudgetEntry.model_fields:
            raise UsageError(nearest(str(name), BudgetEntry.model_fields, "limit of a budget"))
    try:
        budgets = BudgetEntry.model_validate(dict(given)).budgets()
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise UsageError(f"budget, {first['loc'][0]!r}: {first['msg']}, got {first['input']!r}") from None
    if len(budgets) > 1:
        raise UsageError(f"budget={given!r}: one call has one budget; levels are for studies")
    return budgets[0]


def aimed(method: Attack, target: str | Sequence[str]) -> Attack:
    """The attack with another target: what the model is to say.

    Raises:
        UsageError: for an attack that has no such setting.
    """
    names = {field.name for field in dataclasses.fields(method)}  # type: ignore[arg-type]  # methods are dataclasses
    name = next((each for each in TARGET_SETTINGS if each in names), None)
    if name is None:
        raise UsageError(f"attack {method.card.name!r} aims at no text: leave `target` out")
    texts = (target,) if isinstance(target, str) else tuple(target)
    if name == "target" and len(texts) > 1:
        raise UsageError(f"attack {method.card.name!r} takes one target, not {len(texts)}")
    changed: Attack = dataclasses.replace(method, **{name: texts if name == "targets" else texts[0]})  # type: ignore[type-var]
    return changed


class _Crafting:
    """One call of an attack: the column of a study that has no other."""

    def __init__(
        self,
        method: Attack,
        models: Sequence[Model],
        roles: Mapping[str, Any],
        budget: Budget,
        seed: int,
        folder: str | os.PathLike[str] | None,
    ) -> None:
        card = method.card
        if card.surrogate and not models:
            raise UsageError(
                f"{card.name} searches along a model's gradients: give it a local one, such as "
                f"sl.open_model('testbed/linear'), or several in a list"
            )
        surrogates: tuple[Surrogate, ...] = ()
        names: tuple[str, ...] = ()
        if card.surrogate:
            surrogates = tuple(model.surrogate for model in models)
            names = tuple(model.name for model in models)
        asked = Roles(method, models[0] if len(models) == 1 else None, roles)
        named = NamedAttack(
            label=card.name,
            attack=method,
            surrogates=names,
            series=card.name,
            budget=budget,
            oracle="defended" if adapts(names) else asked.oracle,
            talks_to=asked.talks_to,
            roles=asked.names,
        )
        self.pictures: Pictures = store(folder) if folder is not None or not models else models[0].pictures
        column = Column(named, registry.identity(method), seed, surrogates)
        self.column = replace(column, talkers=asked.talkers(column, self.pictures))

    def results(self, cases: Sequence[Case], quiet: bool) -> list[Result]:
        """One result per case, in order; equal prompts share one.

        Raises:
            UsageError: if the attack can take none of the cases, with the first reason.
        """
        if not cases:
            return []
        rows = [{"key": case_key(plain_case(case))} for case in cases]
        keys = self.column.keys(rows)
        wanted = dict(zip(keys, cases, strict=True))
        made: dict[str, Artifact] = {}
        with _progress(quiet) as progress:
            progress.start(self.column.named.label, len(wanted), 0)
            if self.column.talkers is not None:
                made.update(converse(self.column, wanted, self.pictures, self._work(wanted), progress))
            else:
                for key, artifact in self._made(wanted, progress):
                    made[key] = artifact
                    progress.advance(1, errors=int(artifact.problem is not None))
            progress.finish()
        if all(artifact.problem is not None for artifact in made.values()):
            raise UsageError(next(iter(made.values())).problem or "")
        return [self._result(case, made[key]) for key, case in zip(keys, cases, strict=True)]

    def _made(self, wanted: Mapping[str, Case], progress: Progress) -> Iterator[tuple[str, Artifact]]:
        """Artifacts as the craft stage makes them: in batches of the attack's own size."""
        most = length(self.column) or len(wanted)
        for group, picture in self._groups(wanted):
            for batch in chunks(iter(group.items()), most):
                cases = dict(batch)
                work = self._work(cases)
                builder = ArtifactBuilder(self.column, self.pictures, work, progress, picture)
                for key, found in builder.make(cases, set(cases)):
                    yield key, failed(cases[key], key, str(found)) if isinstance(found, UsageError) else found
                shutil.rmtree(work, ignore_errors=True)

    def _work(self, cases: Iterable[str]) -> Path:
        """The folder of what is under way for these cases, by their keys."""
        name = digest(self.column.identity, sorted(cases))
        return self.pictures.folder.parent / "unfinished" / name

    def _groups(self, wanted: Mapping[str, Case]) -> Iterator[tuple[Mapping[str, Case], Pixels | None]]:
        """The cases of one search, and the picture that it perturbs; None leaves the choice to the attack.

        An attack that makes one picture for all prompts perturbs the prompts' own, one search for each of
        them.
        """
        card = self.column.named.attack.card
        if card.scope != "universal" or card.threat is None or "image" not in card.threat.may_edit:
            yield wanted, None
            return
        groups: dict[Image | None, dict[str, Case]] = {}
        for key, case in wanted.items():
            own = next((image for image in case.conversation.images if image.problem is None), None)
            groups.setdefault(own, {})[key] = case
        for own, group in groups.items():
            yield group, None if own is None else self.pictures.pixels(own)

    def _result(self, case: Case, made: Artifact) -> Result:
        last = made.follow_ups[-1] if made.follow_ups else made.conversation.last_user_turn
        shown = [image for image in last.images if image.problem is None]
        return Result(
            case=case,
            conversation=made.conversation,
            follow_ups=made.follow_ups,
            calls=made.calls,
            image=self.pictures.picture(shown[0]) if shown else None,
            norms=made.norms,
            trace=made.trace,
            checks=made.checks,
            cost=made.cost,
            crafted_on=made.crafted_on,
            note=made.note,
            problem=made.problem,
        )


def _progress(quiet: bool) -> Any:
    return nullcontext(Silent()) if quiet else terminal_progress(brief=True)

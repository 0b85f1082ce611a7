"""Whom an attack of a task may ask: the model that Inspect evaluates, and helpers by role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inspect_ai.model import Model
from inspect_ai.model._model import active_model, model_roles

from sightline.bridge.provider import SightlineAPI
from sightline.bridge.session import session_images, session_target, with_commas
from sightline.contracts import IN_LOOP_JUDGE, TARGET, Attack, Decoding, Judge, Target
from sightline.errors import UsageError
from sightline.study.named import NamedAttack
from sightline.study.roles import (
    calls_of,
    in_loop_judge,
    missing_role,
    open_talkers,
    oracle_of,
    refuse_same_judge,
    refuse_strangers,
    refuse_target,
)
from sightline.study.talkers import Talkers
from sightline.targets import asks_provider, open_target


def name_of(model: Model) -> str:
    """The target string of a model of Inspect's."""
    return model.api.target_name if isinstance(model.api, SightlineAPI) else str(model)


def opened(model: Model | str) -> Target:
    """A target for crafting, which runs on an event loop of its own: no client is shared with Inspect's."""
    name = with_commas(model if isinstance(model, str) else name_of(model))
    if not asks_provider(name):
        return session_target(name)
    args: Mapping[str, Any] = {} if isinstance(model, str) else model.model_args
    return open_target(name, session_images(), model_args=args)


def named(attack: Attack, roles: Mapping[str, str], judge: Judge) -> NamedAttack:
    """The attack with the models that it asks: those of `-T roles=` or else of `--model-role`.

    Raises:
        UsageError: for a role that is not filled, or an in-loop judge that is the scorer.
    """
    needed, label = calls_of(attack), attack.card.name
    refuse_target(roles, "it is the model that is evaluated")
    refuse_strangers(roles, needed)
    by_inspect = {role: each for role, each in model_roles().items() if isinstance(each, Model)}
    filled = {**{role: name_of(each) for role, each in by_inspect.items()}, **roles}
    found = {role: filled[role] for role in needed if role in filled}
    for role in needed:
        if role != TARGET and role not in found:
            cure = f"-T roles='{{...}}' or --model-role {role}=MODEL"
            raise UsageError(f"{missing_role(label, role)}; here by {cure}")
    if IN_LOOP_JUDGE in found:
        refuse_same_judge(in_loop_judge(found[IN_LOOP_JUDGE]), [judge])
    found.pop(TARGET, None)
    plain = NamedAttack(label=label, series=label, attack=attack, roles=found)
    if TARGET not in needed:
        return plain
    model = active_model()
    if model is None:
        raise UsageError(f"{label} talks to the model that is evaluated: name one with --model")
    name = name_of(model)
    return replace(plain, talks_to=name, oracle=oracle_of(name))


def talkers(found: NamedAttack, decoding: Decoding) -> Talkers | None:
    """The models of an attack, opened."""
    by_inspect = {name_of(each): each for each in model_roles().values() if isinstance(each, Model)}
    model = active_model()
    known: dict[str, Model] = {**by_inspect, **({name_of(model): model} if model is not None else {})}
    return open_talkers(found, lambda name: opened(known.get(name, name)), session_images(), decoding)

"""Attacks that converse, without a study: their models by name or opened, and their artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.api.models import Model, decoding_of, opened
from sightline.api.pictures import Pictures
from sightline.cases import Case, Oracle
from sightline.contracts import TARGET, Attack, Target
from sightline.errors import UsageError
from sightline.records import Artifact
from sightline.study.artifact_builder import ArtifactBuilder
from sightline.study.call_log import CallLog
from sightline.study.conversing import Conversing
from sightline.study.grid import Column
from sightline.study.progress import Progress
from sightline.study.roles import calls_of, missing_role, open_talkers, oracle_of, refuse_target
from sightline.study.secret import keyed
from sightline.study.talkers import Talkers
from sightline.waiting import wait

AT_ONCE = 64
RETRIES = 5


class Roles:
    """The models that a call of an attack names, by role, and the one that it talks to."""

    def __init__(self, method: Attack, model: Model | None, roles: Mapping[str, Any]) -> None:
        self._opened: dict[str, Target] = {}
        needed = calls_of(method)
        if not isinstance(roles, Mapping):
            raise UsageError(
                f"roles={roles!r}: name the role, too: roles={{'attacker': 'scripted/helper.yaml'}}"
            )
        refuse_target(roles, "it is the model given first")
        self.names = {role: self._name(value, role) for role, value in roles.items() if role in needed}
        strangers = [role for role in roles if role not in needed]
        absent = [role for role in needed if role != TARGET and role not in roles]
        if absent:
            raise UsageError(missing_role(method.card.name, absent[0], strangers, "`roles={{{}: ...}}`"))
        if strangers:
            asks = ", ".join(sorted(set(needed) - {TARGET})) or "no helper"
            raise UsageError(f"{method.card.name} asks no {strangers[0]!r}; it asks {asks}")
        if TARGET in needed and model is None:
            raise UsageError(f"{method.card.name} talks to the model that it attacks: give it one")
        self.talks_to = self._name(model) if TARGET in needed and model is not None else ""

    @property
    def oracle(self) -> Oracle:
        """What the attack talks to."""
        return oracle_of(self.talks_to)

    def _name(self, value: Any, role: str = TARGET) -> str:
        if isinstance(value, Model):
            self._opened[value.name] = value.target
            return value.name
        if isinstance(value, str):
            return value
        if isinstance(value, type) or not hasattr(value, "card"):
            raise UsageError(
                f"role {role!r} is {value!r}: give a target string such as 'openai/gpt-4o-mini', a model of "
                "sl.open_model, or, as in_loop_judge, a judge such as sl.judges.RefusalPrefix()"
            )
        return registry.spec(value)

    def talkers(self, column: Column, pictures: Pictures) -> Talkers | None:
        """Those of a column, opened; in-loop judges have a secret of this process."""
        found = open_talkers(column.named, self._target, pictures, decoding_of(self.talks_to, {}))
        if found is not None and found.judge is not None:
            (judge,) = keyed([found.judge], pictures.folder.parent)
            return replace(found, judge=judge)
        return found

    def _target(self, name: str) -> Target:
        if name not in self._opened:
            self._opened[name] = opened(name).target
        return self._opened[name]


def converse(
    column: Column, cases: Mapping[str, Case], pictures: Pictures, folder: Path, progress: Progress
) -> list[tuple[str, Artifact]]:
    """Artifacts of an attack that converses, many cases at once, by key.

    Raises:
        UsageError: what has to be mended before any can succeed.
    """
    with CallLog(folder / "calls") as log:
        maker = Conversing(column, ArtifactBuilder(column, pictures, folder, progress), log, RETRIES)
        return wait(_all(maker, list(cases.items()), progress))


async def _all(
    maker: Conversing, cases: Sequence[tuple[str, Case]], progress: Progress
) -> list[tuple[str, Artifact]]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(key: str, case: Case) -> tuple[str, Artifact]:
        async with room:
            found = await maker.artifact(case, key)
        progress.advance(1, errors=int(found.problem is not None))
        return key, found

    return list(await asyncio.gather(*(one(key, case) for key, case in cases)))

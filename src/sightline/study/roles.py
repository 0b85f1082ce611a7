"""Who an attack may ask while it crafts: helper models by role, the target, the in-loop judge, pictures.

The in-loop judge steers an attack's search; the judges of a study score. They must be different ones, or the
attack is tuned to what scores it: `refuse_same_judge`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sightline import registry
from sightline.cases import Conversation, Oracle
from sightline.contracts import (
    IMAGE_SOURCE,
    IN_LOOP_JUDGE,
    TARGET,
    Attack,
    Decoding,
    Images,
    Judge,
    NeedsTarget,
    OpenTarget,
    Target,
    converses,
)
from sightline.defending import NeedsHelpers
from sightline.errors import ContractError, UsageError, nearest
from sightline.image_sources import open_image_source
from sightline.judges.model_graded import ModelGraded
from sightline.records import Response
from sightline.study.named import NamedAttack, NamedDefense
from sightline.study.talkers import Talkers
from sightline.targets._names import split_defended

_DIGEST = re.compile(r"#[0-9a-f]{16}.*")
KNOWN = ("attacker", "captioner", "translator", IMAGE_SOURCE, IN_LOOP_JUDGE)
"""Roles that attacks of ours ask; those of other packages may have their own."""


def calls_of(attack: Attack) -> Mapping[str, int]:
    """Calls of an attack per case, at most, by role; none for one that asks nobody."""
    return attack.calls if converses(attack) else {}


def open_talkers(
    named: NamedAttack, target: Callable[[str], Target], images: Images, decoding: Decoding
) -> Talkers | None:
    """The models that a column's attack asks; None for an attack that asks nobody.

    Args:
        named: the attack with the target strings of its roles.
        target: opens a target by name.
        images: where pictures are kept.
        decoding: how the study asks targets.

    Raises:
        UsageError: naming the role whose model cannot be opened.
    """
    if not converses(named.attack):
        return None
    opened: dict[str, Any] = {}
    for role, name in named.roles.items():
        try:
            match role:
                case "in_loop_judge":
                    opened[role] = _bound(in_loop_judge(name), target)
                case "image_source":
                    opened[role] = open_image_source(name, images)
                case _:
                    opened[role] = target(name)
        except UsageError as wrong:
            raise UsageError(f"role {role!r} of attack {named.label!r}: {wrong}") from None
    return Talkers(
        oracle=named.oracle,
        target=target(named.talks_to) if named.talks_to else None,
        decoding=decoding,
        open_target=target,
        judge=opened.pop(IN_LOOP_JUDGE, None),
        pictures=opened.pop(IMAGE_SOURCE, None),
        helpers=opened,
    )


def _bound(judge: Judge, target: Callable[[str], Target]) -> Judge:
    return judge.bind(target) if isinstance(judge, NeedsTarget) else judge


def in_loop_judge(text: str) -> Judge:
    """The judge of a role's text: a registered judge, or a target that grades by the rubric `outcome`.

    Raises:
        UsageError: for an unknown judge or setting.
    """
    if text.partition("(")[0].strip() in registry.names("judge"):
        found: Judge = registry.parse("judge", text)
        return found
    if "/" not in text:
        registry.parse("judge", text)  # tells the nearest names
    return ModelGraded(grader=text)


def refuse_same_judge(loop: Judge, scoring: Sequence[Judge]) -> None:
    """Make sure that no judge of a study is the one in the loop.

    Raises:
        UsageError: naming both.
    """
    for each in scoring:
        shared = graders_of(loop) & graders_of(each)
        if shared:
            both = f"{loop.card.name} and {each.card.name} both ask {min(shared)}"
        elif loop.card.name == each.card.name and not graders_of(loop):
            both = f"both are {each.card.name}"
        else:
            continue
        raise UsageError(
            "the in-loop judge must not be a judge that scores, or the attack is tuned to its score: "
            f"{both}; name another"
        )


def refuse_same_model(named: Sequence[NamedAttack], scoring: Sequence[Judge], target: OpenTarget) -> None:
    """The same for what the graders are once they are opened, whatever they are called.

    Raises:
        UsageError: naming both.
    """
    loops = {each.roles[IN_LOOP_JUDGE] for each in named if IN_LOOP_JUDGE in each.roles}
    scored = [name for judge in scoring for name in graders_of(judge)] if loops else []
    graders = {_content(target(name).id): name for name in scored}
    for loop in sorted(loops):
        for name in sorted(graders_of(in_loop_judge(loop))):
            same = graders.get(_content(target(name).id))
            if same is not None:
                raise UsageError(
                    f"role {IN_LOOP_JUDGE!r}: {name} is {same}, which a judge that scores asks, too: the "
                    "attack would be tuned to its score; name another"
                )


def refuse_guard_as_judge(
    defenses: Sequence[NamedDefense], targets: Sequence[str], scoring: Sequence[Judge], target: OpenTarget
) -> None:
    """Make sure that no helper or trained head of a defense is a model that scores: it would grade itself.

    Raises:
        UsageError: naming both.
    """
    stacked = [each for named in defenses for each in named.stack]
    asked = {
        name: each.card.name
        for each in stacked
        if isinstance(each, NeedsHelpers)
        for name in each.helpers.values()
    }
    for name in targets:
        asked |= _helpers_in(name)
    scored = [name for judge in scoring for name in graders_of(judge)] if asked else []
    graders = {_content(target(name).id): name for name in scored}
    for helper, defense in sorted(asked.items()):
        same = graders.get(_content(target(_bare(helper)).id)) if helper and scored else None
        if same is not None:
            raise UsageError(
                f"defense {defense!r} asks {helper}, which a judge that scores asks, too ({same}): it would "
                "grade its own work; name another"
            )
    folders = {
        found: judge.card.name
        for judge in scoring
        for name, found in registry.resolved(judge).items()
        if name.rpartition(".")[2] == "folder"
    }
    for each in stacked if folders else ():
        same = folders.get(registry.resolved(each).get("head", ""))
        if same is not None:
            raise UsageError(
                f"defense {each.card.name!r} reads answers with a trained head which a judge that scores, "
                f"{same!r}, reads, too: it would grade its own work; name another"
            )


def _helpers_in(name: str) -> dict[str, str]:
    """The helpers of the defenses in a target string, with the name of the defense that asks each."""
    found: dict[str, str] = {}
    name = name.strip()
    while name.startswith("defended/"):
        spec, name = split_defended(name.removeprefix("defended/"))
        defense = registry.parse("defense", spec)
        helpers = defense.helpers.values() if isinstance(defense, NeedsHelpers) else ()
        found.update(dict.fromkeys(helpers, spec.partition("(")[0]))
        name = name.strip()
    return found


def _content(identity: str) -> str:
    """What a target is, without its name: the digest of its weights or rules, where its id holds one."""
    found = _DIGEST.search(identity)
    return identity if found is None else found.group()


def graders_of(judge: Judge) -> set[str]:
    """Target strings of the models that a judge asks, without defenses around them; nothing is opened."""
    found: set[str] = set()

    def named(name: str) -> Target:
        found.add(_bare(name))
        return _Unopened(name)

    if isinstance(judge, NeedsTarget):
        with suppress(UsageError):  # a judge without a grader is told when it is bound
            judge.bind(named)
    return found


@dataclass(frozen=True, slots=True)
class _Unopened:
    """Stands for a target of which only the name is asked."""

    id: str

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        del conversation, decoding
        raise ContractError(f"{self.id} is not opened")


def _bare(name: str) -> str:
    """A target string without the defenses around it."""
    name = name.strip()
    while name.startswith("defended/"):
        name = split_defended(name.removeprefix("defended/")).inner.strip()
    return name


def oracle_of(talks_to: str) -> Oracle:
    """What an attack talks to, by the target string; '' for none."""
    if not talks_to:
        return "none"
    return "defended" if talks_to.startswith("defended/") else "undefended"


def refuse_strangers(roles: Iterable[str], asked: Iterable[str]) -> None:
    """Make sure that every role is one that attacks of ours have, or one of those `asked`.

    Raises:
        UsageError: with the nearest names.
    """
    known = ({*asked} | {*KNOWN}) - {TARGET}
    for role in roles:
        if role not in known:
            raise UsageError(nearest(role, known, "role"))


def missing_role(
    attack: str, role: str, strangers: Iterable[str] = (), where: str = "`roles: {{{}: ...}}` to the study"
) -> str:
    """What to say of a role that an attack needs and a study lacks.

    Args:
        attack: its name.
        role: that it needs.
        strangers: roles that are given and not asked.
        where: what to add, with a place for the role.
    """
    what = {
        IN_LOOP_JUDGE: "a judge other than those that score, such as refusal_prefix, or a target that grades",
        IMAGE_SOURCE: "where pictures come from: release, placeholder, folder/PATH or diffusers/FOLDER",
    }.get(role, "a target, such as openai/gpt-4o-mini or vlm/FOLDER")
    near = get_close_matches(role, [str(each) for each in strangers if each not in KNOWN], n=1)
    meant = f"; {near[0]!r} is no role of it: write {role!r}" if near else ""
    return f"{attack} asks in the role {role!r}: add {where.format(role)}, {what}{meant}"


def refuse_target(roles: Iterable[str], which: str) -> None:
    """Make sure that `target` is not among the roles: it is named elsewhere, `which` says where.

    Raises:
        UsageError: saying so.
    """
    if TARGET in roles:
        raise UsageError(f"{TARGET!r} is no role to fill, {which}: leave it out of `roles`")

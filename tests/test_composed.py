"""Attacks that run others: what decides the inner attack's results is in the key of the outer one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from edited import edit, forget, text_of, with_another_constant, with_other_comments
from shipped import shipped

from sightline import registry
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Composed, Craft
from sightline.errors import UsageError
from sightline.records import Draft
from sightline.registry import attack

FIGSTEP = "sightline.attacks.typographic.figstep"


@attack("toy_outer", threat=ThreatModel())
@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Attack):
    """Runs another attack, unchanged."""

    attack: str = "figstep"

    @property
    def inner(self) -> tuple[Attack, ...]:
        return (registry.inner_attack(self.attack),)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        yield from self.inner[0].craft(cases, ctx)


@pytest.fixture(autouse=True)
def _closures_as_installed() -> Iterator[None]:
    yield
    forget()


def test_the_code_of_an_inner_attack_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, twice = Outer(), Outer(attack=registry.spec(Outer()))
    other = Outer(attack="none")
    edit(monkeypatch, {})
    before = {each: registry.identity(each) for each in (outer, twice, other)}
    edit(monkeypatch, {FIGSTEP: with_other_comments(text_of(FIGSTEP))})
    assert {each: registry.identity(each) for each in before} == before
    for module in (FIGSTEP, "sightline.attacks.rendering"):
        edit(monkeypatch, {module: with_another_constant(text_of(module))})
        assert registry.identity(outer) != before[outer], module
        assert registry.identity(twice) != before[twice], module
    edit(monkeypatch, {FIGSTEP: with_another_constant(text_of(FIGSTEP))})
    assert registry.identity(other) == before[other]
    assert registry.code(outer) != registry.code(other)


def test_settings_and_files_of_an_inner_attack_are_in_the_key() -> None:
    paper, small = Outer(), Outer(attack="figstep(font_px=40)")
    assert registry.identity(paper) != registry.identity(small)
    assert registry.parts(paper).keys() >= registry.make("attack", "figstep").card.parts.keys()
    assert registry.resolved(paper) == {
        f"1.{name}": v for name, v in registry.make("attack", "figstep").resolved().items()
    }
    around = registry.resolved(Outer(attack=registry.spec(small)))
    assert around == {f"1.{name}": value for name, value in registry.resolved(small).items()}


def test_an_inner_attack_that_is_none_is_told_as_any_other() -> None:
    with pytest.raises(UsageError, match="Did you mean 'figstep'"):
        _ = Outer(attack="figstepp").inner


def test_who_finds_an_attack_by_name_says_so() -> None:
    """Of all that is shipped: a module that names inner attacks registers one that satisfies `Composed`."""
    for name in shipped("attack"):
        method = registry.make("attack", name)
        text = text_of(type(method).__module__)
        assert ("registry.inner_attack" in text) == isinstance(method, Composed), name


def test_settings_and_code_of_an_inner_judge_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def jury(member: str) -> Any:
        return registry.make("judge", "jury", members=("testbed_policy", member))

    common, anywhere = jury("refusal_prefix"), jury("refusal_prefix(phrases='anywhere')")
    member, module = registry.make("judge", "refusal_prefix"), "sightline.judges.refusal_prefix"
    assert isinstance(common, Composed)
    assert registry.identity(common) != registry.identity(anywhere)
    assert registry.parts(common).keys() >= member.card.parts.keys()
    edit(monkeypatch, {})
    before = registry.identity(common)
    edit(monkeypatch, {module: with_another_constant(text_of(module))})
    assert registry.identity(common) != before

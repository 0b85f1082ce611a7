"""One attack after the other: what is written is drawn, pictures and turns stay, controls are recognised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pages import case
from talks import Talk, converse

from sightline import registry
from sightline.attacks.dialogue import put, script
from sightline.cases import Case, ThreatModel, Turn
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError
from sightline.metrics.cells import is_control_of, role_of
from sightline.records import Draft
from sightline.store import Blobs


@registry.attack("toy_upper", threat=ThreatModel(), source="tests")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyUpper(Attack):
    """Writes in capitals."""

    def craft(self, cases: list[Case], ctx: Craft):  # type: ignore[no-untyped-def]
        for each in cases:
            text = each.conversation.last_user_text().upper()
            yield Draft(case=each, text=text, note="capitals", keep_images=True)


@registry.attack("toy_two_turns", threat=ThreatModel(), source="tests")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyTwoTurns(Attack):
    """Says something first, beside a picture."""

    def craft(self, cases: list[Case], ctx: Craft):  # type: ignore[no-untyped-def]
        for each in cases:
            picture = put(ctx, np.full((8, 8, 3), 7, np.uint8))
            yield script(ctx, each, [Turn("user", (picture, "first")), Turn("user", ("then this",))])


def chained(*steps: str):
    return registry.make("attack", "chain", steps=steps)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_what_one_writes_the_next_draws(blobs: Blobs) -> None:
    asked = case("steps for balopi", statement="Steps to balopi")
    draft = converse(chained("toy_upper", "figstep"), asked, Talk(), blobs)
    figstep = registry.make("attack", "figstep")
    drawn, _ = figstep.page(figstep.listed("STEPS FOR BALOPI"))
    assert draft.case is asked
    assert np.array_equal(draft.images[0], drawn)
    assert draft.text == figstep.words(asked).sentence
    assert draft.note.startswith("toy_upper: capitals; figstep: ")


def test_a_text_beside_a_kind_of_picture(blobs: Blobs) -> None:
    draft = converse(chained("toy_upper", "blank_image"), case("steps for balopi"), Talk(), blobs)
    assert draft.text == "STEPS FOR BALOPI"
    assert len(draft.images) == 1
    assert (draft.images[0] == 255).all()


def test_pictures_of_the_case_stay_and_are_not_written_again(blobs: Blobs) -> None:
    own = blobs.put_pixels(np.full((9, 9, 3), 3, np.uint8))
    draft = converse(chained("toy_upper", "none"), case("x", own, "see it"), Talk(), blobs)
    assert (draft.text, draft.images, draft.keep_images) == ("SEE IT", (), True)


def test_turns_before_the_last_stay_unless_the_last_alone_is_wanted(blobs: Blobs) -> None:
    whole = converse(chained("toy_two_turns", "toy_upper"), case("x"), Talk(), blobs)
    assert [turn.text for turn in whole.before] == ["first"]
    assert whole.text == "THEN THIS"
    alone = converse(chained("toy_two_turns", "last_turn"), case("x"), Talk(), blobs)
    assert (alone.before, alone.text) == ((), "then this")


@pytest.mark.parametrize(
    ("control", "attack", "is_one"),
    [
        ("chain(steps=('toy_two_turns', 'last_turn'))", "toy_two_turns", True),
        ("chain(steps=('toy_two_turns', 'last_turn'))", "toy_upper", False),
        (
            "chain(steps=('toy_upper', 'figstep', 'last_turn'))",
            "chain(steps=('toy_upper', 'figstep'))",
            True,
        ),
        ("chain(steps=('toy_upper', 'figstep_typed'))", "chain(steps=('toy_upper', 'figstep'))", True),
        ("chain(steps=('toy_upper', 'figstep_typed'))", "figstep", False),
        (
            "chain(steps=('toy_upper', 'figstep_typed'))",
            "chain(steps=('toy_upper', 'figstep(items=5)'))",
            False,
        ),
        ("chain(steps=('toy_upper', 'blank_image'))", "toy_upper", False),
    ],
)
def test_controls_of_chains(control: str, attack: str, is_one: bool) -> None:
    assert is_control_of(control, attack) is is_one


def test_roles_of_chains() -> None:
    assert role_of("chain(steps=('toy_two_turns', 'last_turn'))") == "control"
    assert role_of("chain(steps=('toy_upper', 'blank_image'))") == "attack"
    assert role_of("chain(steps=('none', 'figstep'))") == "attack"


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        (("figstep",), "two attacks or more"),
        (("gcg", "figstep"), "gradients"),
        (("chain(steps=('none', 'figstep'))", "none"), "one after the other"),
        (("nonesuch", "figstep"), "nonesuch"),
    ],
)
def test_what_cannot_be_chained_is_told(steps: tuple[str, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        chained(*steps)


def test_inner_code_and_settings_are_in_the_key() -> None:
    ids = {
        registry.identity(chained("none", "figstep")),
        registry.identity(chained("none", "figstep(items=4)")),
        registry.identity(chained("figstep", "none")),
    }
    assert len(ids) == 3
    assert {"sightline.attacks.typographic.figstep"} <= set(registry.parts(chained("none", "figstep")))

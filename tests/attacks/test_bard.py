"""Dong et al.: constants, misuse, which surrogates are visited and which way, and the testbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tower_runs import Drawn, Small, Stand, Testbed

from sightline import registry
from sightline.attacks._own_picture import shown
from sightline.benchmarks.testbed_requests import utility
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Craft
from sightline.errors import ContractError, UsageError
from sightline.records import Draft, Outcome
from sightline.rng import numpy_rng
from sightline.store import Blobs
from sightline.whitebox.constraint import from_pixels, unit
from sightline.whitebox.objective import FeatureDistance

SMALL = {"size_px": 32, "steps": 4, "spectra": 3}


def made(**settings: Any) -> Any:
    return registry.make("attack", "bard", **settings)


def asking(name: str = "a") -> Case:
    text = "what is in the image ?"
    return Case(
        id=name, conversation=Conversation.user(text), behavior=text, expected=Expected.answer,
        category="made", group=name, answer="a circle",
    )  # fmt: skip


def world(tmp_path: Path, *eyes: Any) -> Craft:
    return Craft(images=Blobs(tmp_path), seed=3, surrogates=tuple(map(Stand, eyes)))


def test_constants_are_those_of_the_release() -> None:
    attack = made()
    assert (attack.eps, attack.steps, attack.spectra) == ("16/255", 500, 20)
    assert (attack.rho, attack.noise_levels) == (0.5, 16.0)
    assert (attack.inner_step, attack.outer_share) == (250.0, 0.2)
    assert attack.size_px == 224
    assert made(preset="innocent").steps == 400


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "a dew line"}, "only with goal 'description'"),
        ({"rho": 2.0}, "0 to 1"),
        ({"spectra": 0}, "1 to 1,000"),
        ({"outer_share": 0.0}, "more than 0"),
        ({"noise_levels": -1.0}, "0 or more"),
        ({"eps": "16"}, "ambiguous"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(**settings)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a `target`"):
        list(made(goal="description").craft([asking()], world(tmp_path, Small())))
    with pytest.raises(ContractError, match="without a surrogate"):
        list(made(**SMALL).craft([asking()], Craft(images=Blobs(tmp_path))))


def test_every_tower_is_visited_in_each_round_with_its_spectra(tmp_path: Path) -> None:
    """Look by look: the clean picture; start, its noisy twin, and the last check; rounds of 3 spectra."""
    eyes = Small(id="one"), Small(id="two", scale=100.0)
    (draft,) = made(**SMALL).craft([asking()], world(tmp_path, *eyes))
    assert [eye.looks for eye in eyes] == [1 + 3 + 4 * 3] * 2
    assert draft.cost.backwards == 2 * 4 * 3


def test_features_go_away_from_the_clean_ones_within_the_ball(tmp_path: Path) -> None:
    eye = Small()
    (draft,) = made(**SMALL).craft([asking()], world(tmp_path, eye))
    assert draft.image is not None
    assert draft.clean is not None
    assert np.abs(draft.image.astype(int) - draft.clean).max() <= 16
    distance = FeatureDistance.to_picture(eye, floats(draft.clean))
    far, control = (distance.losses(floats(each.image)).item() for each in (draft, noisy(draft)))
    assert far > 3 * control > 0
    two = list(made(**SMALL).craft([asking("b"), asking()], world(tmp_path, eye)))
    assert np.array_equal(two[1].image, draft.image)  # whatever batch it is in


def test_scores_of_a_detector_come_near_those_of_an_innocent_drawing(tmp_path: Path) -> None:
    eye, ctx = Small(), world(tmp_path, Small())
    attack = made(goal="innocent", **SMALL)
    (draft,) = attack.craft([asking()], ctx)
    picture = shown(asking(), ctx, "bard", 32, attack.shapes)
    distance = attack._distance(eye, [picture], ctx)
    assert distance.sign == 1
    assert distance.losses(floats(draft.image)).item() < 0.9 * distance.losses(floats(picture.clean)).item()


def test_a_description_is_asked_for_without_a_question(tmp_path: Path) -> None:
    bed = Testbed(Blobs(tmp_path))
    ctx = Craft(images=bed.blobs, seed=1, surrogates=(bed.surrogate,))
    attack = made(preset="testbed_description", steps=4)
    picture = shown(asking(), ctx, "bard", 64, 1)
    objective, sampler = attack._objective([picture], ctx)
    ((pair,), (term,)) = sampler.pool, objective.rows
    assert (pair.prompt.last_user_text(), pair.target, pair.closed) == ("", attack.target, False)
    assert term.sign == 1
    (draft,) = bed.drafts(attack, [asking()])
    before = objective.probe(floats(picture.clean), [pair]).loss.item()
    assert objective.probe(floats(draft.image), [pair]).loss.item() < 0.8 * before


def test_on_the_testbed_scenes_are_misread_and_noise_of_the_same_size_does_less(tmp_path: Path) -> None:
    bed = Testbed(Blobs(tmp_path))
    asked = [case for case in utility(Drawn(bed.blobs)) if case.category in ("caption", "shape")]
    cases = asked[:30:5]
    attack = made(preset="testbed")
    drafts = list(bed.drafts(attack, cases))
    misled = [outcome is not Outcome.complied for outcome in bed.outcomes(attack, drafts)]
    disturbed = [
        outcome is not Outcome.complied
        for outcome in bed.outcomes(attack, [noisy(draft) for draft in drafts])
    ]
    assert sum(misled) >= 4
    assert sum(misled) >= sum(disturbed) + 3


def floats(picture: Any) -> Any:
    return unit(from_pixels([picture]))


def noisy(draft: Draft) -> Draft:
    """The same change with its values in another order and of random signs: noise of equal norms."""
    assert draft.image is not None
    assert draft.clean is not None
    moved = (draft.image.astype(int) - draft.clean).ravel()
    rng = numpy_rng("noise")
    moved = rng.permutation(moved) * rng.choice((-1, 1), moved.size)
    image = (draft.clean + moved.reshape(draft.clean.shape)).clip(0, 255).astype(np.uint8)
    return Draft(case=draft.case, image=image, clean=draft.clean)

"""What a search leaves on a draft: its checks, thinned, and which cases it had seen."""

from types import SimpleNamespace

import numpy as np
import pytest
from pages import case

from sightline.attacks.toolkit import MOST_CHECKS, SourceImage, checks_of, image_drafts
from sightline.records import NO_COST
from sightline.whitebox import Check


def found(steps, pictures=1):
    checks = tuple(Check(step, 10.0 / (step + 1), step / max(1, max(steps))) for step in steps)
    return SimpleNamespace(
        checks=(checks,) * pictures,
        best=(checks[-1],) * pictures,
        pixels=(np.zeros((4, 4, 3), np.uint8),) * pictures,
        losses=(((0, 1.0),),) * pictures,
        costs=(NO_COST,) * pictures,
        stop_reasons=("steps",) * pictures,
    )


@pytest.mark.parametrize(("number", "kept"), [(1, 1), (100, 100), (101, 51), (250, 84)])
def test_checks_are_thinned_and_the_last_one_stays(number, kept):
    seen = checks_of(found(range(number)))
    assert len(seen) == kept <= MOST_CHECKS
    assert seen[-1] == (number - 1, 10.0 / number, 1.0 if number > 1 else 0.0)
    assert [step for step, _, _ in seen] == sorted({step for step, _, _ in seen})


@pytest.mark.parametrize(("given", "told"), [((True, False), [True, False]), ((), [None, None])])
def test_drafts_carry_what_was_seen_and_what_checks_saw(given, told):
    pictures = [SourceImage(case("a", id=str(number)), np.ones((4, 4, 3), np.uint8)) for number in range(2)]
    made = list(image_drafts(pictures, found(range(3), 2), ["x", "y"], given))
    assert [draft.in_training_set for draft in made] == told
    assert {draft.checks for draft in made} == {((0, 10.0, 0.0), (1, 5.0, 0.5), (2, 10 / 3, 1.0))}

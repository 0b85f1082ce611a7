"""Control noise_on_picture: exactly eps in every value, on the case's own picture, of the case's own draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pages import case

from sightline import registry
from sightline.cases import Image
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.metrics.cells import role_of
from sightline.store import Blobs
from sightline.study.seal import seal


def picture(blobs: Blobs, level: int) -> Image:
    return blobs.put_pixels(np.full((12, 20, 3), level, np.uint8))


def sealed(settings: str, tmp_path: Path, *levels: int) -> list[tuple[np.ndarray, dict[str, float]]]:
    blobs = Blobs(tmp_path)
    attack = registry.parse("attack", f"noise_on_picture({settings})")
    cases = [case("b", picture(blobs, level), "what is it?", id=f"b/{i}") for i, level in enumerate(levels)]
    found = []
    for draft in attack.craft(cases, Craft(images=blobs, seed=4)):
        artifact = seal(draft, blobs, key="k", threat=attack.card.threat)
        (image,) = artifact.conversation.images
        found.append((blobs.pixels(image), dict(artifact.norms)))
    return found


def test_every_value_moves_by_eps_and_no_norm_within_the_bound_is_larger(tmp_path: Path) -> None:
    ((pixels, norms),) = sealed("eps='8/255'", tmp_path, 100)
    assert set(np.unique(pixels)) == {92, 108}
    assert norms == {"linf": 8, "l2": pytest.approx(8 * (12 * 20 * 3) ** 0.5), "changed": 1}
    assert 0.4 < (pixels == 108).mean() < 0.6


def test_black_and_white_are_not_left(tmp_path: Path) -> None:
    (dark, _), (light, _) = sealed("eps='8/255'", tmp_path, 0, 255)
    assert set(np.unique(dark)) == {0, 8}
    assert set(np.unique(light)) == {247, 255}


def test_a_case_gets_the_same_noise_in_any_company(tmp_path: Path) -> None:
    together = sealed("eps='8/255'", tmp_path / "a", 100, 100)
    alone = sealed("eps='8/255'", tmp_path / "b", 100)
    assert (together[0][0] == alone[0][0]).all()
    assert (together[0][0] != together[1][0]).any()


def test_it_is_a_control_that_meets_questions_too() -> None:
    assert role_of("noise_on_picture(eps='8/255')") == "control"
    card = registry.card("attack", "noise_on_picture")
    assert card.applies_to == {
        "answer",
        "classify",
        "comply",
        "refuse",
    }


@pytest.mark.parametrize("eps", ["0/255", "300/255", "0.5/255"])
def test_eps_out_of_range_is_told(eps: str) -> None:
    with pytest.raises(UsageError, match="eps"):
        registry.parse("attack", f"noise_on_picture(eps='{eps}')")

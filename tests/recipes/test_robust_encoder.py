"""robust_encoder: which pictures are seen, in batches of one size, and that only the tower is trained."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from test_safety_sft import lesson

from sightline import registry
from sightline.cases import Conversation, Eps, Image
from sightline.errors import UsageError
from sightline.tuning import Lesson, Plan


def showing(number: int, side: int = 8, id: str = "") -> Lesson:
    image = Image(sha256=f"{number:064x}", width=side, height=side)
    found = lesson(id or f"p{number}", "general")
    return Lesson(
        id=found.id, prompt=Conversation.user(image, "x"), label="general", source="s", group=found.id
    )


PICTURES = (*(showing(n) for n in range(6)), *(showing(n, side=16) for n in range(6, 9)))


def planned(lessons: Any = PICTURES, seed: int = 0, **settings: Any) -> Plan:
    made = registry.make("recipe", "robust_encoder", **{"batch": 3, "steps": 12, **settings})
    found: Plan = made.plan(lessons, seed)
    return found


def test_pictures_of_one_size_stand_together_and_each_is_seen_as_often_as_its_like() -> None:
    plan = planned(steps=60)
    sides = [{next(plan.examples[n].prompt.images).width for n in batch} for batch in plan.batches]
    assert all(len(each) == 1 for each in sides)
    assert {8, 16} == set.union(*sides)
    seen = Counter(number for batch in plan.batches for number in batch)
    assert max(seen[n] for n in range(6)) - min(seen[n] for n in range(6)) <= 1
    assert plan.seen == 180


def test_a_picture_that_several_rows_show_counts_once_and_rows_without_one_are_left_out() -> None:
    plan = planned((*PICTURES, showing(0, id="again"), lesson("text", "refuse")))
    assert len(plan.examples) == len(PICTURES)
    assert not any(registry.make("recipe", "robust_encoder").wants_own(each) for each in PICTURES)
    with pytest.raises(UsageError, match="no row has a picture"):
        planned((lesson("text", "refuse"),))


def test_the_plan_says_what_is_attacked_how() -> None:
    plan = planned(seed=5, eps=Eps(raw=8), alpha=Eps(raw=2), attack_steps=7, features="pooled")
    robust = plan.robust
    assert robust is not None
    assert (robust.eps.raw, robust.alpha.raw, robust.steps, robust.features, robust.seed) == (
        8,
        2,
        7,
        "pooled",
        5,
    )
    assert plan.loss == "features"
    assert set(plan.frozen) == {"bridge", "language", "embeddings"}
    assert planned(seed=5).batches != planned(seed=6).batches


@pytest.mark.parametrize(
    ("settings", "told"), [({"eps": Eps(raw=0.5)}, "eps"), ({"attack_steps": 0}, "attack_steps")]
)
def test_settings_out_of_range_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        planned(**settings)

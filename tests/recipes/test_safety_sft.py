"""safety_sft: what is mixed, in which order, and how each row is answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline import registry
from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.tuning import Lesson, Plan


def lesson(id: str, label: Any, **more: str) -> Lesson:
    return Lesson(id=id, prompt=Conversation.user(id), label=label, source="s", group=id, **more)


LESSONS = (
    *(lesson(f"r{n}", "refuse", twin=f"c{n}", given=f"r{n} is forbidden") for n in range(6)),
    *(lesson(f"c{n}", "comply", twin=f"r{n}", own=f"steps {n}") for n in range(6)),
    *(lesson(f"g{n}", "general", given=f"right {n}", own=f"said {n}") for n in range(8)),
)


def planned(lessons: Any = LESSONS, seed: int = 0, **settings: Any) -> Plan:
    made = registry.make("recipe", "safety_sft", **{"batch": 4, **settings})
    found: Plan = made.plan(lessons, seed)
    return found


def kinds(plan: Plan) -> list[str]:
    """First letters of what is seen, step by step: r, c or g."""
    return ["".join(plan.examples[n].prompt.last_user_text()[0] for n in batch) for batch in plan.batches]


@given(
    steps=st.integers(1, 40),
    batch=st.integers(1, 9),
    ratio=st.floats(0, 1),
    order=st.sampled_from(["mixed", "first", "last", "alternate:1", "alternate:3"]),
    seed=st.integers(0, 5),
)
def test_numbers_of_rows_are_what_the_settings_say(
    steps: int, batch: int, ratio: float, order: str, seed: int
) -> None:
    plan = planned(steps=steps, batch=batch, ratio=ratio, order=order, seed=seed)
    assert [len(each) for each in plan.batches] == [batch] * steps
    seen = Counter("".join(kinds(plan)))
    safety = round(ratio * steps * batch)
    assert seen["r"] + seen["c"] == safety
    assert 0 <= seen["r"] - seen["c"] <= 1
    times = Counter(chain.from_iterable(plan.batches))
    general = [times[number] for number in range(12, 20)]
    assert max(general) - min(general) <= 1


def test_orders() -> None:
    first = kinds(planned(steps=6, order="first"))
    assert set("".join(first[:3])) == {"r", "c"}
    assert set("".join(first[3:])) == {"g"}
    assert kinds(planned(steps=6, order="last"))[:3] == ["gggg"] * 3
    turns = ["g" if set(each) == {"g"} else "s" for each in kinds(planned(steps=6, order="alternate:1"))]
    assert turns == ["s", "g"] * 3
    turns = ["g" if set(each) == {"g"} else "s" for each in kinds(planned(steps=8, order="alternate:2"))]
    assert turns == ["s", "s", "g", "g"] * 2
    mixed = kinds(planned(steps=40, order="mixed"))
    assert sum("g" in each and ("r" in each or "c" in each) for each in mixed) > 30


def test_a_twin_follows_its_request_and_without_pairs_none_is_seen() -> None:
    plan = planned(steps=6, order="first")
    rows = [plan.examples[n].prompt.last_user_text() for batch in plan.batches[:3] for n in batch]
    assert all(two == one.replace("r", "c") for one, two in zip(rows[::2], rows[1::2], strict=True))
    assert "c" not in "".join(kinds(planned(steps=20, pairs=False)))


def test_how_rows_are_answered() -> None:
    assert [planned().examples[n].chosen for n in (0, 6, 12)] == ["r0 is forbidden", "steps 0", "said 0"]
    bare = planned(style="bare", general="given", refusal="no.")
    assert [bare.examples[n].chosen for n in (0, 6, 12)] == ["no.", "steps 0", "right 0"]
    recipe = registry.make("recipe", "safety_sft")
    assert [recipe.wants_own(LESSONS[n]) for n in (0, 6, 12)] == [False, True, True]
    twin = replace(LESSONS[6], given="a thing . steps")
    assert not recipe.wants_own(twin)  # the row's answer stands before the base's own
    taught = recipe.plan((LESSONS[0], twin, *LESSONS[12:]), 0)
    assert taught.examples[1].chosen == "a thing . steps"


def test_the_same_seed_gives_the_same_plan_and_another_does_not() -> None:
    assert planned(seed=3) == planned(seed=3)
    assert planned(seed=3).batches != planned(seed=4).batches


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"order": "alternate:0"}, "mixed, first, last or alternate:K"),
        ({"ratio": 1.5}, "ratio"),
        ({"frozen": ("tower", "bridge", "language", "embeddings")}, "nothing is left to train"),
        ({"frozen": ("ears",)}, "frozen"),
        ({"steps": 0}, "steps"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        planned(**settings)


def test_rows_that_lack_a_kind_are_told() -> None:
    with pytest.raises(UsageError, match="no row is a request to refuse"):
        planned(LESSONS[6:])
    with pytest.raises(UsageError, match="wants general rows"):
        planned(LESSONS[:12])
    with pytest.raises(UsageError, match="no request to refuse has a benign twin"):
        planned((*LESSONS[:6], *LESSONS[12:]))
    assert planned((*LESSONS[:6], *LESSONS[12:]), pairs=False).steps == 60
    assert planned(LESSONS[:12], ratio=1.0).seen == 240

"""RngStream: how often, in which order, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest
from planted import pair

from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.whitebox.samplers import Contexts, FixedPairs, Rotating, Sampler, WithoutReplacement

POOL = tuple(pair(target=letter) for letter in "abcdefg")
TALKS = tuple(Conversation.user(f"tell me about {word}") for word in ("tea", "rain", "maps"))


def talks(k: int = 1) -> Contexts:
    return Contexts(TALKS, lambda talk: talk.last_user_text().upper(), ("be brief", "be kind", ""), k=k)


@pytest.mark.parametrize("sampler", [WithoutReplacement(POOL, 3), Rotating(POOL, 3), talks(2)])
def test_a_draw_depends_on_seed_and_step_alone(sampler: Sampler) -> None:
    forward = [sampler.draw(step, 5) for step in range(9)]
    assert [sampler.draw(step, 5) for step in reversed(range(9))] == forward[::-1]
    assert [sampler.draw(step, 6) for step in range(9)] != forward
    assert len(set(forward)) > 1


def test_without_replacement_is_uniform_and_never_repeats_within_a_step() -> None:
    sampler, counts = WithoutReplacement(POOL, 3), Counter[str]()
    for step in range(1400):
        drawn = [one.target for one in sampler.draw(step, 0)]
        assert len(set(drawn)) == 3
        counts.update(drawn)
    assert all(510 < counts[one.target] < 690 for one in POOL)  # 600 each; deviation about 18.5


def test_rotating_visits_all_in_every_round_in_a_new_order() -> None:
    rounds = [[Rotating(POOL).draw(step, 3)[0] for step in range(7 * r, 7 * r + 7)] for r in range(4)]
    assert all(sorted(some, key=POOL.index) == list(POOL) for some in rounds)
    assert len(set(map(tuple, rounds))) > 1
    inturn = Rotating(POOL, 3, shuffled=False)
    seen = [one.target for step in range(7) for one in inturn.draw(step, 3)]
    assert "".join(seen) == "abcdefg" * 3


def test_contexts_have_their_own_targets_behind_any_system_text() -> None:
    sampler, seen = talks(), Counter[tuple[str, str]]()
    for step in range(300):
        (one,) = sampler.draw(step, 1)
        first = one.prompt.turns[0]
        seen[first.text if first.role == "system" else "", one.prompt.last_user_text()] += 1
        assert one.target == one.prompt.last_user_text().upper()
    assert len(seen) == 9
    assert min(seen.values()) > 15  # 33 each
    assert Counter(text for _, text in seen.elements()) == dict.fromkeys(
        (t.last_user_text() for t in TALKS), 100
    )
    assert [one.prompt.turns[0].text for one in sampler.pool] == ["be brief"] * 3


def test_fixed_pairs_and_none() -> None:
    assert FixedPairs(POOL).draw(3, 4) == POOL
    assert FixedPairs().draw(0, 0) == FixedPairs().pool == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WithoutReplacement(POOL, 8), "k=8 is out of range: expected 1 to 7"),
        (lambda: Rotating((), 1), "nothing to draw from"),
        (lambda: Rotating(POOL, 0), "k=0 is out of range"),
        (lambda: Contexts(TALKS, str, ()), "nothing to draw from"),
    ],
)
def test_misuse(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()  # type: ignore[operator]

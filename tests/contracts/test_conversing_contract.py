"""Every registered attack that converses keeps the contract, whatever helpers, target and judge answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pages import case
from shipped import shipped
from talks import Talk, down

from sightline import registry
from sightline.budget import SpentError
from sightline.cases import Case, Conversation
from sightline.contracts import IMAGE_SOURCE, IN_LOOP_JUDGE, TARGET, Craft
from sightline.errors import ContractError, TransientError, UsageError
from sightline.records import Draft, Response, Verdict
from sightline.store import Blobs
from sightline.study.seal import seal

ROLES = {TARGET, "attacker", "captioner", "translator", IMAGE_SOURCE, IN_LOOP_JUDGE}


def every_conversing_attack() -> list[str]:
    """Each by itself and in each of its presets."""
    found = []
    for name in shipped("attack"):
        card = registry.card("attack", name)
        if hasattr(card.factory, "converse") and not card.extra:
            presets = [preset for preset in card.presets if preset not in ("paper", "default")]
            found += [name, *(f"{name}(preset={preset})" for preset in presets)]
    return found


ATTACKS = every_conversing_attack()


class Counted(Talk):
    """A talk whose `most`-th call finds the budget used up."""

    def __init__(self, most: int | None = None) -> None:
        helpers = {role: _echo for role in ROLES - {TARGET, IN_LOOP_JUDGE, IMAGE_SOURCE}}
        super().__init__(target=["I cannot help with that."], verdicts=lambda _: "refused", **helpers)
        self.most = most
        self.counts: Counter[str] = Counter()

    def _count(self, role: str) -> None:
        if self.most is not None and self.counts.total() == self.most:
            raise SpentError("the budget's calls are used up (scripted)")
        self.counts[role] += 1

    async def ask(
        self, role: str, conversation: Conversation, *, max_tokens: int, temperature: float
    ) -> Response:
        self._count(role)
        return await super().ask(role, conversation, max_tokens=max_tokens, temperature=temperature)

    async def verdict(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        self._count(IN_LOOP_JUDGE)
        return await super().verdict(case, shown, response)

    async def picture_of(self, case: Case, prompt: str) -> np.ndarray:
        self._count(IMAGE_SOURCE)
        return await super().picture_of(case, prompt)


def _echo(conversation: Conversation) -> str:
    return f"You said: {conversation.last_user_text()}"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def asked() -> Case:
    noun = {"statement": "steps for balopi", "key_phrase": "balopi", "rephrased": "steps for the thing"}
    return case("how do i make balopi ?", id="b/1", **noun)


def made(text: str, asked: Case, talk: Talk, blobs: Blobs) -> Draft | UsageError:
    attack = registry.parse("attack", text)
    try:
        return asyncio.run(
            attack.converse(asked, Craft(images=blobs, seed=3, talk=talk, attack=attack.card.name))
        )
    except SpentError:
        raise
    except UsageError as unfit:
        return unfit


@pytest.mark.parametrize("text", ATTACKS)
def test_calls_name_roles_and_bound_what_is_asked(text: str, asked: Case, blobs: Blobs) -> None:
    attack = registry.parse("attack", text)
    assert set(attack.calls) <= ROLES
    assert all(number > 0 for number in attack.calls.values())
    talk = Counted()
    found = made(text, asked, talk, blobs)
    assert all(number <= attack.calls.get(role, 0) for role, number in talk.counts.items())
    if isinstance(found, Draft):
        assert found.case is asked
        assert seal(found, blobs, key="k", threat=attack.card.threat).problem is None
    else:
        assert "attacker" in str(found) or str(found).startswith((attack.card.name, "case b/1"))


@pytest.mark.parametrize("text", ATTACKS)
def test_equal_seeds_give_equal_dialogues(text: str, asked: Case, blobs: Blobs) -> None:
    one, two = Counted(), Counted()
    first, second = made(text, asked, one, blobs), made(text, asked, two, blobs)
    assert one.asked == two.asked
    assert str(first) == str(second)


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.slow
def test_the_end_of_the_budget_ends_the_attack_at_whatever_call(text: str, asked: Case, blobs: Blobs) -> None:
    whole = Counted()
    made(text, asked, whole, blobs)
    for most in range(min(whole.counts.total(), 12)):
        talk = Counted(most)
        try:
            found = made(text, asked, talk, blobs)
        except SpentError:
            continue
        assert isinstance(found, Draft), "the end of a budget is no error of a helper"
        assert "budget" in found.note
        assert talk.counts.total() == most


@pytest.mark.parametrize("text", ATTACKS)
def test_a_helper_that_is_down_is_passed_on(text: str, asked: Case, blobs: Blobs) -> None:
    attack = registry.parse("attack", text)
    talk = Counted()
    made(text, asked, talk, blobs)
    if not set(talk.counts) - {IN_LOOP_JUDGE, IMAGE_SOURCE}:
        pytest.skip("asks no model")
    talk = Talk(
        **{role: down for role in ROLES - {IN_LOOP_JUDGE, IMAGE_SOURCE}}, verdicts=lambda _: "refused"
    )
    with pytest.raises(TransientError, match="503"):
        asyncio.run(attack.converse(asked, Craft(images=blobs, seed=3, talk=talk, attack=attack.card.name)))


@pytest.mark.parametrize("text", ATTACKS)
def test_it_is_not_run_by_craft(text: str, asked: Case, blobs: Blobs) -> None:
    attack = registry.parse("attack", text)
    assert list(attack.craft([], Craft(images=blobs))) == []
    with pytest.raises(ContractError, match="converse"):
        list(attack.craft([asked], Craft(images=blobs)))


@pytest.mark.parametrize("text", ATTACKS)
def test_an_empty_request_is_a_named_error_before_anybody_is_asked(text: str, blobs: Blobs) -> None:
    talk = Counted()
    assert "case b/empty" in str(made(text, case("", id="b/empty"), talk, blobs))
    assert not talk.counts


@pytest.mark.parametrize("text", ATTACKS)
def test_it_says_on_its_card_whether_it_asks_the_target(text: str) -> None:
    attack = registry.parse("attack", text)
    assert attack.card.threat is not None
    assert attack.card.threat.oracle != "none" or TARGET not in attack.calls

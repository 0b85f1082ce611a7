"""Every attack on gradients keeps the contract on every family of the testbed, with few steps.

One draft per case, in order; drafts can be sealed within the threat model; the same seed gives the same ones;
a search records its trace and its cost; a bound in `eps` holds on the written file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from shipped import shipped

pytest.importorskip("torch")

from sightline import registry
from sightline.benchmarks.testbed_requests import requests
from sightline.cases import Case, Conversation, Eps, Expected, Image
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.store import Blobs
from sightline.study.seal import seal
from sightline.study.surrogates import LocalSurrogate
from sightline.targets import open_target

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

GRADIENTS = [name for name in shipped("attack") if registry.card("attack", name).surrogate]
FAMILIES = ("linear", "queries", "cross_attention")
FEW = {
    "bard": {"steps": 1, "spectra": 1},
    "gcg": {"steps": 1, "candidates": 4, "topk": 4},
    "image_hijack": {"steps": 2, "held_out": 2},
    "qi_text": {"steps": 1, "candidates": 4, "targets_per_step": 2},
    "qi_visual": {"steps": 2, "targets_per_step": 2},
    "tool_misuse": {"steps": 2, "held_out": 2, "pairs_per_step": 2},
    "tpgd": {"restarts": 1, "steps": 2},
}
"""Settings on top of preset `testbed`; the others take two steps."""


def few(name: str, **settings: Any) -> Attack:
    """The attack, for the testbed, ended after a step or two."""
    return registry.make("attack", name, preset="testbed", **FEW.get(name, {"steps": 2}), **settings)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("contracts") / "blobs")


@pytest.fixture(scope="module")
def surrogates(blobs: Blobs) -> Any:
    @cache
    def opened(family: str) -> LocalSurrogate:
        return LocalSurrogate(f"testbed/{family}", open_target(f"testbed/{family}", blobs))

    return opened


def cases_of(blobs: Blobs, attack: Attack) -> list[Case]:
    """A request without a picture and a question about one, of those that the attack applies to."""
    (request,) = [case for case in requests() if case.expected is Expected.refuse][:1]
    picture: Image = blobs.put_pixels(np.full((64, 64, 3), 120, np.uint8))
    question = Case(
        id="question/1",
        conversation=Conversation.user(picture, "what is in the image ?"),
        behavior="what is in the image ?",
        expected=Expected.answer,
        category="c",
        group="g",
        answer="a moss line",
    )
    return [case for case in (request, question) if case.expected in attack.card.applies_to]


def craft(attack: Attack, cases: Sequence[Case], blobs: Blobs, surrogate: LocalSurrogate) -> list[Draft]:
    return list(attack.craft(cases, Craft(images=blobs, seed=3, surrogates=(surrogate,))))


def test_all_of_them_are_here() -> None:
    assert len(GRADIENTS) == 13
    assert set(FEW) <= set(GRADIENTS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", GRADIENTS)
def test_a_gradient_attack_keeps_the_contract(name: str, family: str, blobs: Blobs, surrogates: Any) -> None:
    attack = few(name)
    cases = cases_of(blobs, attack)
    drafts = craft(attack, cases, blobs, surrogates(family))
    assert [draft.case.id for draft in drafts] == [case.id for case in cases]
    again = craft(attack, cases, blobs, surrogates(family))
    for draft, other in zip(drafts, again, strict=True):
        assert draft.trace
        assert all(np.isfinite(loss) for _, loss in draft.trace)
        assert draft.cost.forwards > 0
        assert draft.cost.backwards > 0
        assert (draft.text, draft.note, draft.trace) == (other.text, other.note, other.trace)
        assert (draft.image is None) == (other.image is None)
        assert draft.shared == (attack.card.scope == "universal")
        artifact = seal(draft, blobs, key="k", threat=attack.card.threat)
        assert artifact.problem is None
        if draft.image is not None and other.image is not None:
            assert (draft.image == other.image).all()
            assert (blobs.pixels(next(artifact.conversation.images)) == draft.image).all()
            eps = getattr(attack, "eps", "")
            assert not eps or artifact.norms["linf"] <= Eps.parse(eps).raw


@pytest.mark.parametrize("name", [name for name in GRADIENTS if registry.card("attack", name).control_when])
def test_controls_made_by_settings_search_nothing(name: str, blobs: Blobs, surrogates: Any) -> None:
    for setting, values in registry.card("attack", name).control_when.items():
        for value in values:
            attack = few(name, **{setting: value})
            (case, *_) = cases_of(blobs, attack)
            (draft,) = craft(attack, [case], blobs, surrogates("linear"))
            assert registry.role_of(attack) == "control"
            assert draft.note.startswith("control: ")
            assert (draft.trace, draft.cost.backwards) == ((), 0)

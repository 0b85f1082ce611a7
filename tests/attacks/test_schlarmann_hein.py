"""Schlarmann and Hein's APGD on captions: constants, what is asked of the engine, and the testbed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from picture_runs import LOOK, Recorded, Testbed, blind, captions, noisy
from picture_runs import runs as runs

from sightline import registry
from sightline.attacks import schlarmann_hein
from sightline.cases import Conversation, Eps, Turn
from sightline.errors import UsageError
from sightline.store import Blobs


def attack(**settings):
    return registry.make("attack", "schlarmann_hein", **settings)


def test_constants_are_those_of_the_paper_and_its_successor() -> None:
    assert (attack().goal, attack().steps, attack().first_step, attack().words) == (
        "untargeted",
        100,
        1.0,
        (),
    )
    assert [attack(preset=f"eps{n}").eps for n in (1, 2, 4)] == ["1/255", "2/255", "4/255"]
    far = attack(preset="targeted", target="a moss line")
    assert (far.goal, far.eps, far.steps) == ("targeted", "2/255", 10_000)
    assert attack(preset="ensemble").words == ("maybe", "Word")
    card = registry.card("attack", "schlarmann_hein")
    assert (card.crafted, card.surrogate, card.meets) == ("apart", True, {"answer"})
    assert (card.threat.attacker, card.threat.access, card.threat.may_edit) == (
        "third_party",
        "white",
        {"image"},
    )


def test_the_reference_is_made_unlikely_and_a_target_likely(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    (asked,) = captions(blobs, 1)
    list(attack().craft([asked], blind(blobs)))
    list(attack(goal="targeted", target="a dew line", eps="2/255").craft([asked], blind(blobs)))
    away, towards = (run["problem"] for run in runs)
    assert (away.objective.rows[0].sign, towards.objective.rows[0].sign) == (-1, 1)
    assert (away.sampler.pool[0].target, towards.sampler.pool[0].target) == (asked.answer, "a dew line")
    assert not away.sampler.pool[0].closed
    assert (away.optimizer.eta, towards.optimizer.eta) == (4 / 255, 2 / 255)
    assert (away.constraint.eps, away.constraint.init) == (Eps(4.0), "clean")
    (place,) = away.sampler.pool[0].prompt.images
    assert (place.width, place.height, away.sampler.pool[0].prompt.last_user_text()) == (64, 64, LOOK)


def test_pictures_share_a_batch_only_if_asked_the_same_for_the_same_text(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    asked = captions(blobs, 4)
    asked[3] = replace(asked[3], conversation=Conversation.user(*asked[3].conversation.images, "what now ?"))
    towards = attack(goal="targeted", target="a dew line", batch=2)
    assert [draft.case.id for draft in towards.craft(asked, blind(blobs))] == [case.id for case in asked]
    assert [len(run["problem"].constraint.clean) for run in runs] == [2, 1, 1]
    alone = list(runs)
    runs.clear()
    list(attack(goal="targeted", target="a dew line", batch=1).craft(asked, blind(blobs)))
    assert [k for run in runs for k in run["keys"]] == [k for run in alone for k in run["keys"]]
    runs.clear()
    list(attack().craft(asked[:3], blind(blobs)))
    assert [len(run["problem"].constraint.clean) for run in runs] == [1, 1, 1]


def test_a_case_without_a_picture_gets_a_drawing_of_its_own(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    (asked,) = captions(blobs, 1)
    bare = [replace(asked, id=name, conversation=Conversation.user("what ?")) for name in "ab"]
    one, other = attack(size_px=32).craft(bare, blind(blobs))
    assert one.image.shape == (32, 32, 3)
    assert not np.array_equal(one.image, other.image)


def test_misuse_is_told(tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    (asked,) = captions(blobs, 1)
    (image,) = asked.conversation.images
    with pytest.raises(UsageError, match="'scene/0' has no reference answer to lead away from"):
        list(attack().craft([replace(asked, answer=None)], blind(blobs)))
    with pytest.raises(UsageError, match="goal 'targeted' needs a `target`"):
        list(attack(goal="targeted").craft([asked], blind(blobs)))
    with pytest.raises(UsageError, match="'scene/0' has 2 pictures, 2 of them beside its last question"):
        list(
            attack().craft([replace(asked, conversation=Conversation.user(image, image, "x"))], blind(blobs))
        )
    earlier = asked.conversation.then(Turn("assistant", ("a moss line",)), Turn("user", ("and now ?",)))
    with pytest.raises(UsageError, match="has 1 pictures, 0 of them beside its last question"):
        list(attack().craft([replace(asked, conversation=earlier)], blind(blobs)))
    with pytest.raises(UsageError, match="eps='4' is ambiguous"):
        attack(eps="4")
    with pytest.raises(UsageError, match="takes a target only with goal 'targeted'"):
        attack(target="a moss line")
    with pytest.raises(UsageError, match=r"first_step=0\.0 is out of range"):
        attack(first_step=0.0)


def test_captions_break_within_16_levels_where_noise_of_16_does_nothing(tmp_path) -> None:
    bed = Testbed(tmp_path)
    asked = captions(bed.blobs, 4)
    made = bed.sealed(attack(preset="testbed", steps=20), asked)
    clean = [bed.blobs.pixels(next(case.conversation.images)) for case in asked]
    right = [sum(case.answer in bed.ask(p, LOOK) for case, p in zip(asked, pictures, strict=True))
             for pictures in (clean, [noisy(p, 16) for p in clean])]  # fmt: skip
    broken = [case.answer not in bed.reply(a.conversation) for case, a in zip(asked, made, strict=True)]
    assert min(right) >= 3
    assert sum(broken) >= 3
    assert all(artifact.norms["linf"] <= 16 for artifact in made)


def test_captions_say_the_targeted_sentence(tmp_path) -> None:
    bed = Testbed(tmp_path)
    asked = captions(bed.blobs, 4)
    made = bed.sealed(attack(preset="testbed_targeted", steps=60), asked)
    said = [bed.reply(artifact.conversation) for artifact in made]
    clean = [bed.blobs.pixels(next(case.conversation.images)) for case in asked]
    controls = [bed.ask(p, LOOK) for picture in clean for p in (picture, noisy(picture, 16))]
    assert sum(text.startswith(schlarmann_hein.MISLED) for text in said) >= 2
    assert not any(schlarmann_hein.MISLED in text for text in controls)


def test_stages_go_on_only_until_the_reference_is_broken(tmp_path) -> None:
    bed = Testbed(tmp_path)
    (asked,) = captions(bed.blobs, 1)
    weak = {"preset": "testbed", "eps": "1/255", "steps": 2}
    (one,) = bed.sealed(attack(**weak), [asked])
    (all_stages,) = bed.sealed(attack(**weak, words=("no", "yes")), [asked])
    assert all_stages.cost.backwards == 3 * one.cost.backwards == 6
    assert all_stages.note.endswith("after all stages: the reference would be written")
    (early,) = bed.sealed(attack(preset="testbed", steps=20, words=("no", "yes")), [asked])
    assert early.cost.backwards == 20
    assert early.note.endswith("after all stages: the reference would not be written")

"""Schlarmann and Hein's APGD on captions: constants, what is asked of the engine, and the testbed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from picture_runs import LOOK, Recorded, Testbed, blind, captions, noisy, questions
from picture_runs import runs as runs

from sightline import registry, whitebox
from sightline.attacks.toolkit import batches
from sightline.cases import Conversation, Eps, Turn
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.testbed.presets import MISLED


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
    assert (attack(preset="ensemble").words, attack(preset="ensemble").polish) == (("maybe", "Word"), 100)
    card = registry.card("attack", "schlarmann_hein")
    assert (card.scope, card.surrogate, card.applies_to) == ("batched", True, {"answer"})
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


def test_pictures_of_one_size_share_a_batch_whatever_they_are_asked(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    asked = [*captions(blobs, 3), *questions(blobs, 2)]
    tall = blobs.put_pixels(np.zeros((80, 64, 3), np.uint8))
    asked[4] = replace(asked[4], conversation=Conversation.user(tall, "what now ?"))
    assert [draft.case.id for draft in attack(batch=3).craft(asked, blind(blobs))] == [c.id for c in asked]
    first, second, third = (run["problem"] for run in runs)
    assert [len(run["problem"].constraint.clean) for run in runs] == [3, 1, 1]
    assert first.objective.own == ((0,), (1,), (2,))
    assert [pair.target for pair in first.sampler.pool] == [case.answer for case in asked[:3]]
    assert first.probe_pairs == first.sampler.pool
    assert [pair.prompt.last_user_text() for pair in second.sampler.pool] == ["what color is the shape ?"]
    assert second.objective.own == third.objective.own == ()
    keys = [key for run in runs for key in run["keys"]]
    runs.clear()
    list(attack(batch=1).craft(asked, blind(blobs)))
    assert [key for run in runs for key in run["keys"]] == keys
    runs.clear()
    towards = attack(goal="targeted", target="a dew line")
    list(towards.craft(captions(blobs, 3), blind(blobs)))
    assert [run["problem"].objective.own for run in runs] == [()]  # one pair for all


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
    with pytest.raises(UsageError, match="only with goal 'untargeted'"):
        attack(goal="targeted", target="x", polish=10)


@pytest.mark.parametrize(("cases", "eps", "least"), [(captions, 4, 3), (questions, 8, 4)])
@pytest.mark.slow
def test_captions_and_answers_break_where_noise_of_the_same_size_does_nothing(
    cases, eps: int, least: int, tmp_path
) -> None:
    """The paper's largest radius breaks captions; answers of one word need twice as much here."""
    bed = Testbed(tmp_path)
    asked = cases(bed.blobs, 6)
    made = bed.sealed(attack(preset="testbed", eps=f"{eps}/255", steps=30), asked)
    clean = bed.clean(asked)

    def right(pictures) -> int:
        return sum(c.answer in said for c, said in zip(asked, bed.answers(pictures, asked), strict=True))

    assert min(right(clean), right([noisy(p, eps) for p in clean])) >= 5
    assert sum(c.answer not in bed.reply(a.conversation) for c, a in zip(asked, made, strict=True)) >= least
    assert all(artifact.norms["linf"] <= eps for artifact in made)


@pytest.mark.parametrize("cases", [captions, questions])
@pytest.mark.slow
def test_the_targeted_sentence_is_said(cases, tmp_path) -> None:
    bed = Testbed(tmp_path)
    asked = cases(bed.blobs, 3)
    made = bed.sealed(attack(preset="testbed_targeted", steps=60), asked)
    said = [bed.reply(artifact.conversation) for artifact in made]
    clean = bed.clean(asked)
    controls = [*bed.answers(clean, asked), *bed.answers([noisy(p, 16) for p in clean], asked)]
    assert sum(text.startswith(MISLED) for text in said) >= 2
    assert not any(MISLED in text for text in controls)


def test_stages_go_on_only_until_the_reference_is_broken(tmp_path) -> None:
    bed = Testbed(tmp_path)
    asked = captions(bed.blobs, 2)[1]
    weak = {"preset": "testbed", "eps": "1/255", "steps": 2}
    (one,) = bed.sealed(attack(**weak), [asked])
    (all_stages,) = bed.sealed(attack(**weak, polish=3, words=("no", "yes")), [asked])
    assert (one.cost.backwards, all_stages.cost.backwards) == (2, 2 + 3 + 2 + 2)
    assert all_stages.note.endswith("after all stages: the reference would be written")
    (early,) = bed.sealed(attack(preset="testbed", steps=20, polish=3, words=("no", "yes")), [asked])
    assert early.cost.backwards == 20
    assert early.note.endswith("after all stages: the reference would not be written")


def test_the_polishing_stage_goes_on_from_the_best_picture_downhill(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    method = attack(polish=7)
    picture = np.full((64, 64, 3), 120, np.uint8)
    (asked,) = captions(blobs, 1)
    (own,) = batches([blind(blobs).source_image(asked, size_px=64, shapes=1)], 1)
    method.descend(own, [method._pair(own[0])], blind(blobs), start=picture)
    (run,) = runs
    begun = run["problem"].constraint
    assert run["steps"] == 7
    assert run["problem"].objective.rows[0].sign == -1
    assert isinstance(begun, whitebox.WarmStart)
    assert (begun.theta == 120 / 255).all()
    assert begun.inner.eps.raw == 4

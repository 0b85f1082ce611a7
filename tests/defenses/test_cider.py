import asyncio
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tiny_encoders as small
import torch
from behind import respond

import sightline as sl
from sightline import registry
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Decoding
from sightline.defenses.purify import purified
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings
from sightline.targets.defended import DefendedTarget
from sightline.whitebox.encoders import open_encoder

CPU = LocalSettings(device="cpu")
STEPS = ("blur=1", "jpeg=50")


def cider(**settings):
    return registry.make("defense", "cider", **settings)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("clip")
    small.clip(found)
    return found


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def gray():
    return np.full((32, 32, 3), 128, np.uint8)


def by_hand(folder, pixels, text):
    """Cosines of the picture and its denoised copies, with the text or with the picture."""
    encoder = open_encoder(f"encoder/{folder}", local=CPU)
    each = [
        pixels,
        *(purified(pixels, {n: v}, np.random.default_rng(0)) for n, v in (("blur", 1), ("jpeg", 50))),
    ]
    x = torch.stack([torch.from_numpy(one.copy()).permute(2, 0, 1).float() / 255 for one in each])
    with torch.no_grad():
        rows = encoder.features(x, "projected" if text else "pooled")
        other = encoder.texts([text])[0] if text else rows[0]
        cosines = torch.nn.functional.cosine_similarity(rows, other[None], dim=1)
    return float((cosines[0] - cosines[1:]).max().clamp(min=0))


@pytest.mark.parametrize("compares", ["request", "picture"])
@pytest.mark.parametrize("above", [True, False])
def test_the_drop_is_that_of_the_encoders_own_vectors(compares, above, folder, blobs):
    text = "a red face"
    drop = by_hand(folder, noise(), text if compares == "request" else "")
    made = cider(
        encoder=str(folder),
        compares=compares,
        denoisers=STEPS,
        threshold=max(0.0, drop + (-1e-4, 1e-4)[above]),
    )
    asked = Conversation.user(blobs.put_pixels(noise()), text)
    response, inner, _ = respond(made, "a cube", images=blobs, conversation=asked)
    assert response.flags[0].startswith("cider:")
    assert float(response.flags[0].partition(":")[2]) == pytest.approx(drop, rel=0.02, abs=1e-4)
    if above or drop == 0:
        assert (response.text, response.stop) == ("a cube", "stop")
    else:
        assert (response.stop, response.raw, inner.asked) == ("blocked_defense", None, [])


def test_a_picture_that_no_step_changes_has_no_drop_and_a_text_none_at_all(folder, blobs):
    made = cider(encoder=str(folder), compares="picture", threshold=0.001)
    shown = Conversation.user(blobs.put_pixels(gray()), "x")
    response, _, _ = respond(made, "a cube", images=blobs, conversation=shown)
    assert response.stop == "stop"
    assert float(response.flags[0].partition(":")[2]) < 1e-4
    response, _, _ = respond(made, "a cube", conversation=Conversation.user("x"))
    assert (response.text, response.flags) == ("a cube", ())


def test_of_several_pictures_the_worst_one_counts(folder, blobs):
    made = cider(encoder=str(folder), compares="picture", threshold=0.0)
    flags = []
    for pictures in ([gray()], [noise()], [gray(), noise()]):
        asked = Conversation.user(*(blobs.put_pixels(each) for each in pictures), "x")
        flags.append(respond(made, "a", images=blobs, conversation=asked)[0].flags[0])
    assert flags[1] == flags[2] != flags[0]


def test_the_targets_own_tower_needs_a_model_that_runs_here(blobs):
    made = cider(preset="testbed")
    with pytest.raises(UsageError, match="'cider' looks into the model, and told cannot be"):
        respond(made, "x")

    @dataclass
    class Open:
        id: str = "open#00"

        def inside(self):
            return self

    target = DefendedTarget(made, Open(), blobs)
    shown = Conversation.user(blobs.put_pixels(noise()), "x")
    with pytest.raises(UsageError, match="a model that runs here"):
        asyncio.run(target.generate(shown, Decoding()))


def test_on_the_testbed_it_learns_a_threshold_that_lets_benign_pictures_pass(tmp_path):
    rng = np.random.default_rng(3)
    model = sl.open_model("testbed/linear")
    smooth = [np.full((64, 64, 3), rng.integers(0, 256), np.uint8) for _ in range(4)]
    noisy = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    cases = []
    for number, pixels in enumerate([*smooth, *noisy]):
        image = model.pictures.put_pixels(pixels)
        expected = Expected.comply if number < len(smooth) else Expected.refuse
        asked = Conversation.user(image, "what is this ?")
        cases.append(Case(f"c{number}", asked, "what is this ?", expected, "c", f"g{number}"))
    made = cider(preset="testbed")
    state = made.fit(model, cases, tmp_path / "state.json")
    assert "AUC against 2 others 1.000" in state.told[0]
    defended = replace(made, state=str(tmp_path / "state.json"))(model)
    stops = [defended.ask(case).stop for case in cases]
    assert stops == ["stop"] * 4 + ["blocked_defense"] * 2
    with pytest.raises(UsageError, match="there are none"):
        made.fit(model, cases[4:], tmp_path / "other.json")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"compares": "request"}, "name a CLIP or SigLIP by encoder=FOLDER"),
        ({"compares": "picture", "denoisers": ()}, "needs denoisers"),
        ({"compares": "picture", "denoisers": ("blurr=1",)}, "step of defense 'cider'"),
        ({"compares": "picture", "denoisers": ("blur=x",)}, "write blur=NUMBER"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        cider(**wrong)


def test_the_encoders_weights_are_part_of_the_identity(folder, tmp_path):
    made = cider(encoder=str(folder))
    assert registry.resolved(made)["encoder"].partition("#")[2]
    with pytest.raises(UsageError, match="no such folder"):
        registry.identity(cider(encoder=str(tmp_path / "absent")))


@pytest.mark.slow
def test_a_study_needs_no_state(tmp_path):
    """Of defenses that must learn, one without a state is refused; these have thresholds as settings."""
    study = sl.Study(
        "s",
        benchmarks=[{"name": "testbed_requests", "subset": "requests", "limit": 2}],
        targets=["testbed/linear"],
        defenses=[{"name": "cider", "preset": "testbed"}, {"name": "jailguard", "preset": "testbed"}],
        judges=["testbed_policy"],
    )
    rows = study.run(out=tmp_path / "run", quiet=True).samples().arrow.to_pylist()
    assert len(rows) == 4
    assert all(row["stop"] != "error" for row in rows)

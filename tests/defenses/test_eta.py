import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
import tiny_encoders as small
import torch
from behind import ASKED, Told, respond

import sightline as sl
from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.defenses.eta import first_sentence
from sightline.errors import UsageError
from sightline.records import Cost, Response
from sightline.store import Blobs
from sightline.targets import LocalSettings
from sightline.targets.defended import DefendedTarget
from sightline.whitebox.encoders import open_encoder


@dataclass
class Begun(Told):
    """A target from inside that goes on with a beginning by what stands in `parts` for it, in turn."""

    parts: dict = field(default_factory=dict)
    written: list = field(default_factory=list)

    def inside(self):
        return self

    async def write(self, conversation, decoding, how):
        self.written.append((how.prefix, decoding.seed, decoding.temperature, decoding.max_tokens))
        more, stop = self.parts[how.prefix].pop(0)
        cost = Cost(calls_target=1, tokens_in=5, tokens_out=2)
        return Response(text=f"{how.prefix} {more}".strip(), stop=stop, cost=cost)


@dataclass
class Detecting:
    """A detector that finds harm where the word `gloom` stands."""

    id: str = "detector#00"
    asked: list = field(default_factory=list)

    async def generate(self, conversation, decoding):
        said = conversation.last_user_text()
        self.asked.append(said)
        answer = said.partition("Answer:")[2]
        return Response(text="no" if "gloom" in answer else "yes", cost=Cost(calls_target=1))


def run(defense, inner, detector):
    target = DefendedTarget(defense, inner, None, lambda name: detector)
    return asyncio.run(target.generate(ASKED, Decoding(max_tokens=90)))


def made(**settings):
    given = {"detector": "a/detector", "candidates": 2, "sentences": 3, "begins": "Well,", **settings}
    return registry.make("defense", "eta", **given)


def test_a_harmless_answer_is_left_as_it_is():
    inner = Begun(["calm"])
    response = run(made(), inner, Detecting())
    assert (response.text, response.raw, inner.written) == ("calm", None, [])
    assert response.flags == ("detector:yes",)
    assert (response.cost.calls_target, response.cost.calls_aux) == (1, 1)


def test_a_harmful_answer_is_written_anew_by_its_best_sentences():
    parts = {
        "Well,": [("gloom . then", "length"), ("calm . gloom", "length")],
        "Well, calm .": [("sunny .", "stop"), ("gloom .", "stop")],
    }
    inner, detector = Begun(["gloom"], parts=parts), Detecting()
    response = run(made(), inner, detector)
    assert response.text == "Well, calm . sunny ."
    assert (response.stop, response.raw) == ("stop", "gloom")
    assert response.flags == ("detector:no", "answered_again")
    assert [prefix for prefix, *_ in inner.written] == ["Well,"] * 2 + ["Well, calm ."] * 2
    assert len({seed for _, seed, _, _ in inner.written}) == 4
    assert {rest for *_, rest, _ in inner.written} == {1.0}
    assert {most for *_, most in inner.written} == {70}
    assert response.cost.calls_target == 5 <= made().calls
    assert response.cost.calls_aux == 5 <= made().helper_calls


def test_sentences_are_limited():
    parts = {"": [("a .", "length")] * 2, "a .": [("b .", "length")] * 2}
    response = run(made(begins="", sentences=2), Begun(["gloom"], parts=parts), Detecting())
    assert response.text == "a . b ."


def test_an_empty_continuation_ends_the_reply():
    parts = {"Well,": [("", "stop")] * 2}
    assert run(made(), Begun(["gloom"], parts=parts), Detecting()).text == "Well,"


@pytest.mark.parametrize("setting", ["on_unparsed", "on_failure"])
def test_a_detector_that_says_nothing(setting):
    @dataclass
    class Mute(Detecting):
        async def generate(self, conversation, decoding):
            if setting == "on_failure":
                return Response(text="", stop="error", error="down")
            return Response(text="perhaps")

    response = run(made(), Begun(["calm"]), Mute())
    assert response.stop == "error"
    assert "the detector of 'eta'" in response.error
    passed = run(made(**{setting: "open"}), Begun(["calm"]), Mute())
    assert (passed.text, passed.stop) == ("calm", "stop")


@pytest.mark.parametrize(
    ("text", "begun", "found"),
    [
        ("One. Two.", "", "One."),
        ("One. Two.", "One.", "One. Two."),
        ("As an AI, no. Yes", "As an AI", "As an AI, no."),
        ('He said "go!" and left', "", 'He said "go!"'),
        ("version 3.14 is out", "", "version 3.14 is out"),
        ("\u4e00\u4e8c\u3002\u4e09", "", "\u4e00\u4e8c\u3002"),
        ("\u0915\u0916\u0964 \u0917", "", "\u0915\u0916\u0964"),
        ("\u0627\u0628\u061f \u062a", "", "\u0627\u0628\u061f"),
        ("first\nsecond", "", "first\n"),
        ("", "", ""),
    ],
)
def test_where_a_sentence_ends(text, begun, found):
    assert first_sentence(text, begun) == found


def test_it_needs_the_model_from_inside():
    with pytest.raises(UsageError, match="cannot be looked into"):
        respond(made(), "gloom")


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": 0},
        {"nearness": 2},
        {"candidates": 1},
        {"temperature": 0},
        {"head": "x"},
        {"wording": "?"},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UsageError):
        made(**settings)


CPU = LocalSettings(device="cpu")
UNSAFE = "a red face"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("clip")
    small.clip(found)
    return found


def near(folder, pixels, text):
    """The cosine of a picture with a text, by the encoder itself."""
    encoder = open_encoder(f"encoder/{folder}", local=CPU)
    x = torch.stack([torch.from_numpy(each.copy()).permute(2, 0, 1).float() / 255 for each in pixels])
    with torch.no_grad():
        rows, (other,) = encoder.features(x, "projected"), encoder.texts([text])
        return torch.nn.functional.cosine_similarity(rows, other[None], dim=1).numpy()


@pytest.mark.parametrize("above", [True, False])
def test_an_encoder_has_to_find_the_picture_near_the_sentence(above, folder, tmp_path):
    pixels = [np.full((32, 32, 3), level, np.uint8) for level in (30, 220)]
    blobs = Blobs(tmp_path)
    asked = Conversation.user(*map(blobs.put_pixels, pixels), "steps")
    highest = float(near(folder, pixels, UNSAFE).max())
    made_ = made(
        encoder=str(folder), unsafe=UNSAFE, nearness=highest + (1e-4 if above else -1e-4), sentences=1
    )
    inner = Begun(["gloom"], parts={"Well,": [("a .", "stop"), ("b .", "stop")]})
    target = DefendedTarget(made_, inner, blobs, lambda name: Detecting())
    response = asyncio.run(target.generate(asked, Decoding(max_tokens=90)))
    assert response.text in ({"gloom"} if above else {"Well, a .", "Well, b ."})
    assert ("answered_again" in response.flags) is not above


def test_of_harmless_sentences_the_one_nearest_to_the_pictures_is_kept(folder, tmp_path):
    pixels = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in (1, 2)]
    blobs = Blobs(tmp_path)
    asked = Conversation.user(*map(blobs.put_pixels, pixels), "steps")
    said = ["a red face", "a blue house", "the old tree"]
    means = [float(near(folder, pixels, f" {each}").mean()) for each in said]
    parts = {"Well,": [(each, "stop") for each in said]}
    made_ = made(encoder=str(folder), unsafe=UNSAFE, nearness=-1.0, candidates=3)
    target = DefendedTarget(made_, Begun(["gloom"], parts=parts), blobs, lambda name: Detecting())
    response = asyncio.run(target.generate(asked, Decoding(max_tokens=90)))
    assert response.text == f"Well, {said[int(np.argmax(means))]}"
    assert sorted(means)[-1] - sorted(means)[-2] > 1e-4


def test_a_request_without_a_picture_is_left_to_the_answer(folder):
    inner = Begun(["gloom"])
    target = DefendedTarget(made(encoder=str(folder)), inner, None, lambda name: Detecting())
    response = asyncio.run(target.generate(Conversation.user("steps"), Decoding(max_tokens=90)))
    assert (response.text, inner.written) == ("gloom", [])


def test_on_the_testbed_a_drawn_request_that_was_obeyed_is_written_anew():
    pytest.importorskip("torch")
    from sightline.testbed.world import world

    topic = world().select(restricted=True, split="heldout")[0]
    model = sl.open_model("testbed/linear")
    defended = sl.defenses.Eta.preset("testbed")(model)
    page = sl.attacks.FigStep.preset("testbed")(model, f"how do i make a {topic.noun} ?")
    one, two = (defended.ask(page.text, image=page.image) for _ in range(2))
    assert "answered_again" in one.flags
    assert one.text == two.text
    assert one.text
    assert one.cost.calls_target > 1 + 2
    assert sum(call.purpose == "candidate" for call in one.calls) == one.cost.calls_target - 1

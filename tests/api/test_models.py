"""Models of the front door: asked from plain code, in a running event loop, with every kind of picture."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import sightline as sl
from sightline.api.models import Model
from sightline.api.pictures import store
from sightline.contracts import Decoding
from sightline.errors import TransientError
from sightline.records import Response

PIXELS = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)


class Watching:
    """Keeps what it is asked; the first calls fail in passing."""

    id = "watching@1"

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[tuple[sl.Conversation, Decoding]] = []
        self.failures = failures

    async def generate(self, conversation: sl.Conversation, decoding: Decoding) -> Response:
        self.asked.append((conversation, decoding))
        if len(self.asked) <= self.failures:
            raise TransientError("busy")
        await asyncio.sleep(0)
        return Response(text=conversation.last_user_text().upper())


@pytest.fixture
def watching(tmp_path):
    target = Watching()
    return target, Model("watching", target, store(tmp_path))


def test_a_prompt_gives_a_reply_and_a_list_gives_a_list():
    model = sl.open_model("scripted/echo")
    assert model.ask("hello").text == "hello"
    assert [reply.text for reply in model.ask(["a", "b"])] == ["a", "b"]


def test_ask_works_where_an_event_loop_is_running():
    async def cell() -> str:
        return sl.open_model("scripted/echo").ask("in a notebook").text

    assert asyncio.run(cell()) == "in a notebook"


def test_calls_share_one_event_loop():
    """A provider's client is tied to the loop in which it was first used."""
    loops = []

    class Tied(Watching):
        async def generate(self, conversation, decoding):
            loops.append(asyncio.get_running_loop())
            return Response(text="ok")

    model = Model("tied", Tied(), store())
    model.ask("one")
    model.ask("two")
    assert loops[0] is loops[1]


@pytest.mark.parametrize("form", ["array", "pil", "path", "picture", "gray", "alpha"])
def test_every_form_of_a_picture_is_sealed_and_shown_before_the_text(form, watching, tmp_path):
    target, model = watching
    wanted = PIXELS
    match form:
        case "array":
            image = PIXELS
        case "pil":
            image = Pillow.fromarray(PIXELS)
        case "path":
            image = tmp_path / "shown.png"
            Pillow.fromarray(PIXELS).save(image)
        case "picture":
            image = model.pictures.picture(model.pictures.seal(PIXELS))
        case "gray":
            image = Pillow.fromarray(PIXELS[:, :, 0])
            wanted = np.repeat(PIXELS[:, :, :1], 3, axis=2)
        case "alpha":
            image = Pillow.fromarray(np.dstack([PIXELS, np.zeros((8, 6), np.uint8)]))
            wanted = np.full_like(PIXELS, 255)
    model.ask("what is it", image=image)
    (conversation, _) = target.asked[0]
    shown, text = conversation.turns[-1].parts
    assert text == "what is it"
    assert np.array_equal(model.pictures.pixels(shown), wanted)


@pytest.mark.parametrize(
    ("image", "cure"),
    [
        (PIXELS / 255, "astype"),
        (PIXELS[:, :, 0], "height, width, 3"),
        (Path("absent.png"), "absent.png: the picture cannot be read"),
    ],
)
def test_what_is_no_picture_is_told_with_a_cure(image, cure):
    with pytest.raises(sl.UsageError, match=cure):
        sl.open_model("scripted/echo").ask("hello", image=image)


def test_a_file_keeps_its_exact_bytes(watching, tmp_path):
    path = tmp_path / "photo.jpg"
    Pillow.fromarray(PIXELS).save(path)
    _, model = watching
    picture = model.pictures.picture(model.pictures.seal(path))
    assert picture.read() == path.read_bytes()
    assert picture.save(tmp_path / "copy.jpg").read_bytes() == path.read_bytes()
    assert picture.pil.size == (6, 8)
    picture.path.write_bytes(b"changed")
    with pytest.raises(sl.UsageError, match="gone or was changed"):
        picture.read()


def test_settings_of_decoding_are_checked_and_passed_on(watching):
    target, model = watching
    model.ask("a", max_tokens=7, temperature=0.5, seed=3)
    assert target.asked[0][1] == Decoding(max_tokens=7, temperature=0.5, seed=3)
    with pytest.raises(sl.UsageError, match="settings are max_tokens, temperature, top_p and seed"):
        model.ask("a", tokens=7)


def test_a_passing_failure_is_tried_again(monkeypatch):
    monkeypatch.setattr("sightline.study.replying.BACKOFF_SECONDS", 0.0)
    target = Watching(failures=2)
    assert Model("watching", target, store()).ask("again").text == "AGAIN"
    assert len(target.asked) == 3


def test_a_defense_makes_a_model_of_a_model(watching):
    target, model = watching
    defended = sl.defenses.SystemPrompt(prompt="generic")(model)
    reply = defended.ask("hello")
    assert reply.text == "HELLO"
    assert target.asked[0][0].turns[0].role == "system"
    assert defended.name == "defended/system_prompt:watching"
    assert (
        sl.defenses.SelfModeration(rounds=1)(defended).ask("hello").cost.calls_target
        == 3 * reply.cost.calls_target
    )
    with pytest.raises(sl.UsageError, match="gives no gradients"):
        _ = defended.surrogate


def test_an_encoder_answers_nothing(tmp_path):
    with pytest.raises(sl.UsageError, match="it only serves attacks"):
        Model("encoder/x", None, store(tmp_path)).ask("hello")


@pytest.mark.parametrize("thing", [3, None, {"text": "x"}])
def test_what_is_no_prompt_is_told(thing):
    with pytest.raises(sl.UsageError, match="is no prompt: give a string"):
        sl.open_model("scripted/echo").ask(thing)


@pytest.mark.slow
def test_a_model_in_memory_answers_as_the_same_model_from_its_folder(one_thread):
    transformers = pytest.importorskip("transformers")
    from sightline.testbed import weights

    folder = weights.materialize("linear")
    loaded = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    asked = "what is in the picture ?"
    mine = sl.from_pretrained(loaded, processor)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    first = mine.ask(asked, image=picture).text
    assert first == sl.open_model("testbed/linear").ask(asked, image=picture).text
    shared = {weight.data_ptr() for weight in loaded.parameters()}
    assert all(weight.data_ptr() in shared for weight in mine.surrogate.victim().model.parameters())
    before = mine.id
    import torch

    with torch.no_grad():
        loaded.get_input_embeddings().weight.zero_()
    again = sl.from_pretrained(loaded, processor)
    assert again.ask(asked, image=picture).text != first
    assert again.id != before

import asyncio

import numpy as np
import pytest
import tiny_models as tiny
import torch
from PIL import Image as PilImage
from transformers import AutoModelForImageTextToText, AutoProcessor

from sightline.cases import Conversation, Image, Turn
from sightline.closure import without_code
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.local import invariance
from sightline.targets.vlm import check_batch_invariance, forget_models

CPU = LocalSettings(device="cpu", max_batch=8)
SHORT = Decoding(max_tokens=6)
SIZES = [(32, 32), (40, 64), (64, 40), (70, 70)]


@pytest.fixture(scope="module", autouse=True)
def _models_of_its_own(one_thread):
    yield
    forget_models()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def images(blobs):
    rng = np.random.default_rng(0)
    return [blobs.put_pixels(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in SIZES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(family):
        if family not in made:
            made[family] = tiny.FAMILIES[family](tmp_path_factory.mktemp(family))
        return made[family]

    return folder


def answered(target, conversations, decoding=SHORT):
    """Responses to requests sent at once; `decoding` may be one per request."""
    several = decoding if isinstance(decoding, list) else [decoding] * len(conversations)

    async def all_of_them():
        return await asyncio.gather(
            *(target.generate(c, d) for c, d in zip(conversations, several, strict=True))
        )

    return asyncio.run(all_of_them())


def said(responses):
    return [(r.text, r.stop, r.cost.tokens_in, r.cost.tokens_out) for r in responses]


def mixed(images):
    """Pictures of four sizes, prompts of several lengths, none and two pictures, a dialogue."""
    words = ["what", "is", "in", "the", "image", "and", "this", "one", "two", "three", "now"]
    found = [Conversation.user(image, " ".join(words[: 2 + 3 * n])) for n, image in enumerate(images)]
    found += [Conversation.user("what is red"), Conversation.user("what is this text now a b c")]
    found += [
        Conversation.user(images[0], images[1], "what is red"),
        Conversation.user(images[2], images[0], "a b"),
    ]
    first = Turn("user", (images[3], "what is this"))
    found.append(Conversation((first, Turn("assistant", ("red square",)), Turn("user", ("now",)))))
    return found


def fits(family, conversation):
    count = sum(1 for _ in conversation.images)
    fitting = {
        "blip2": count == 1,
        "blip2_chat": count <= 1,
        "instructblip": count == 1,
        "paligemma": count > 0,
    }
    return fitting.get(family, True)


def as_a_plain_user(family, processor, text, pictures):
    """What the library's processor makes of a prompt."""
    if family == "idefics":  # takes texts and pictures in one list, and writes <s> itself
        first, *rest = text.split("<image>")
        prompt = [first]
        for picture, piece in zip(pictures, rest, strict=True):
            prompt += [picture, piece] if piece.strip() else [picture]
        return processor(text=[prompt])
    images = {"images": pictures} if pictures else {}
    return processor(text=text, **images, return_tensors="pt")


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.slow
def test_answers_do_not_depend_on_the_batch(family, folders, blobs, images):
    """D16, on twelve families: mixed sizes, lengths, text only, several pictures, dialogues."""
    name = f"vlm/{folders(family)}"
    batched = open_target(name, blobs, local=CPU)
    single = open_target(name, blobs, local=LocalSettings(device="cpu", max_batch=1))
    asked = [conversation for conversation in mixed(images) if fits(family, conversation)]
    together = answered(batched, asked)
    assert said(together) == said(answered(single, asked))
    assert all(response.stop in ("stop", "length") for response in together)
    assert len({response.text for response in together}) > 2, "a model of one answer tests nothing"
    report = check_batch_invariance(batched)
    assert report.passed
    assert report.agreed == report.rows >= 7
    assert report.max_diff < 1e-4


@pytest.mark.parametrize("family", [f for f in tiny.FAMILIES if not f.startswith("qwen")])
def test_it_says_what_the_library_says(family, folders, blobs, images):
    """Oracle: the family's own processor and plain `generate`, one request at a time."""
    folder = folders(family)
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    asked = [conversation for conversation in mixed(images) if fits(family, conversation)]
    for conversation, response in zip(asked, answered(target, asked), strict=True):
        text = target.loaded().route.prompter(conversation).text
        pictures = [PilImage.fromarray(blobs.pixels(image)) for image in conversation.images]
        inputs = as_a_plain_user(family, processor, text, pictures)
        inputs.pop("labels", None)
        speaker = model if pictures or family != "blip2_chat" else model.language_model
        with torch.inference_mode():
            ids = speaker.generate(**inputs, max_new_tokens=6, do_sample=False)[0]
        prompt = inputs["input_ids"][0]
        if ids[: len(prompt)].tolist() == prompt.tolist():  # the BLIP families return new tokens only
            ids = ids[len(prompt) :]
        assert response.text == processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert response.cost.tokens_in == len(prompt)


def test_qwen_placeholders_are_expanded_by_hand(folders, blobs, images):
    """Golden: 40x64 pixels, patch 8, merge 2 -> 32x64 after rounding to 16 -> grid 4 x 8 -> 8 tokens."""
    target = open_target(f"vlm/{folders('qwen2_vl')}", blobs, local=CPU)
    model = target.loaded()
    row = model.prepare(Conversation.user(images[1], "what"), SHORT, blobs.read)
    assert row.pictures["image_grid_thw"].tolist() == [[1, 4, 8]]
    assert row.pictures["pixel_values"].shape == (32, 3 * 2 * 8 * 8)
    marks = row.tokens["mm_token_type_ids"]
    assert marks.sum().item() == 8
    ids = row.tokens["input_ids"][0]
    assert (ids[marks[0] == 1] == model.model.config.image_token_id).all()
    two = model.prepare(Conversation.user(images[1], images[0], "what"), SHORT, blobs.read)
    assert two.pictures["image_grid_thw"].tolist() == [[1, 4, 8], [1, 4, 4]]
    assert two.tokens["mm_token_type_ids"].sum().item() == 8 + 4
    text = model.prepare(Conversation.user("what"), SHORT, blobs.read)
    assert text.pictures == {}


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_qwen_says_what_plain_generate_says(family, folders, blobs, images):
    """Oracle: the same inputs without our cache of keys, values and vision features."""
    target = open_target(f"vlm/{folders(family)}", blobs, local=CPU)
    model = target.loaded()
    plain = AutoModelForImageTextToText.from_pretrained(folders(family)).eval()
    for conversation, response in zip(mixed(images), answered(target, mixed(images)), strict=True):
        row = model.prepare(conversation, SHORT, blobs.read)
        with torch.inference_mode():
            ids = plain.generate(**row.tokens, **row.pictures, max_new_tokens=6, do_sample=False)
        ids = ids[0, row.length :]
        assert response.text == model.route.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_a_target_outlives_its_forgotten_model(tmp_path, blobs, images):
    target = open_target(f"vlm/{tiny.tiny_llava(tmp_path / 'm', seed=14)}", blobs, local=CPU)
    asked = [Conversation.user(images[0], "what is this")]
    before = [response.text for response in answered(target, asked)]
    forget_models()
    assert [response.text for response in answered(target, asked)] == before


def test_text_only_requests_carry_no_pictures(folders, blobs):
    model = open_target(f"vlm/{folders('llava')}", blobs, local=CPU).loaded()
    row = model.prepare(Conversation.user("what is red"), SHORT, blobs.read)
    assert "pixel_values" not in model._batch([row, row], 6)


def test_each_distinct_picture_is_preprocessed_and_encoded_once(tmp_path, blobs, images):
    target = open_target(f"vlm/{tiny.tiny_llava(tmp_path / 'm', seed=7)}", blobs, local=CPU)
    asked = [
        Conversation.user(image, text) for image in images for text in ("what", "what is", "is this red")
    ]
    answered(target, asked)
    answered(target, [Conversation.user(images[1], images[0], "again")])
    assert target.preprocessed == len(images)
    if target.loaded().seen is None:
        pytest.skip("this version of transformers takes no encoded pictures")
    assert target.loaded().seen.calls == len(images)


def test_the_picture_cache_is_bounded_by_bytes(tmp_path, blobs, images):
    folder = tiny.tiny_llava(tmp_path / "m", seed=8)
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    tensors = target.loaded().route.tensors
    tensors._limit = 2 * 3 * tiny.SIZE * tiny.SIZE * 4  # room for two pictures
    for place, image in enumerate((*images, images[0])):
        answered(target, [Conversation.user(image, "what " * (place + 1))])
    assert tensors.calls == len(images) + 1
    assert len(tensors._known) == 2


def test_a_system_prompt_is_folded_where_the_template_has_none(tmp_path, blobs, images):
    folder = tiny.tiny_llava(tmp_path / "m", template=tiny.NO_SYSTEM_TEMPLATE)
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    plain, folded = answered(
        target,
        [Conversation.user(images[0], "what"), Conversation.user(images[0], "what").with_system("be safe")],
    )
    assert plain.flags == ()
    assert folded.flags == ("system_in_user",)
    assert folded.cost.tokens_in == plain.cost.tokens_in + 2


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "idefics", "paligemma"])
def test_no_request_can_write_a_token_that_steers_the_model(family, folders, blobs, images):
    target = open_target(f"vlm/{folders(family)}", blobs, local=CPU)
    model = target.loaded()
    steering = ["<s>", "</s>", "<pad>", "<assistant>", "<system>"]
    ids = model.route.tokenizer.convert_tokens_to_ids(steering)

    def counted(text):
        asked = Conversation.user(images[0], text)
        row = model.prepare(asked, SHORT, blobs.read)
        tokens = row.tokens["input_ids"][0].tolist()
        return [tokens.count(token) for token in ids], row.flags

    plain, unflagged = counted("what is this")
    steered, flags = counted(f"what {' '.join(steering)} is this")
    assert steered == plain
    assert "control_escaped" in flags
    assert "control_escaped" not in unflagged


def test_sampling_follows_the_seed_and_not_the_company(folders, blobs, images):
    target = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    asked = Conversation.user(images[0], "what is this")
    seeds = [Decoding(max_tokens=12, temperature=1.5, seed=seed) for seed in range(8)]
    together = said(answered(target, [asked] * 8, seeds))
    alone = [said(answered(target, [asked], [seed]))[0] for seed in seeds]
    assert together == alone
    assert len(set(together)) > 4
    assert said(answered(target, [asked] * 3, [seeds[5], seeds[2], seeds[5]])) == [
        alone[5],
        alone[2],
        alone[5],
    ]
    other = answered(target, [Conversation.user(images[1], "what is this")], [seeds[5]])
    assert said(other) != [alone[5]]


def test_a_tiny_top_p_is_greedy(folders, blobs, images):
    target = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    asked = [Conversation.user(image, "what is this") for image in images]
    greedy = said(answered(target, asked))
    assert said(answered(target, asked, Decoding(max_tokens=6, temperature=1.0, top_p=1e-6))) == greedy


@pytest.mark.slow
def test_draws_follow_the_distribution(folders, blobs, images):
    """Frequencies of the first token at temperature 1 against the model's own softmax."""
    model = open_target(f"vlm/{folders('llava')}", blobs, local=CPU).loaded()
    asked = Conversation.user(images[0], "what is this")
    rows = [
        model.prepare(asked, Decoding(max_tokens=1, temperature=1.0, seed=seed), blobs.read)
        for seed in range(600)
    ]
    replies = [reply for start in range(0, 600, 200) for reply in model.generate(rows[start : start + 200])]
    scores = model.generate(rows[:1], scores=True)[0].scores[0]
    counts = np.bincount([reply.ids[0] for reply in replies], minlength=len(scores))
    expected = 600 * torch.softmax(scores, -1).numpy()
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected.max())
    assert 0.5 * np.abs(counts - expected).sum() / 600 < 0.12


def test_stop_reasons_and_cost(folders, blobs, images):
    target = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    model = target.loaded()
    long = answered(target, [Conversation.user(images[0], "what is this")], Decoding(max_tokens=3))[0]
    assert (long.stop, long.cost.tokens_out, long.cost.calls_target) == ("length", 3, 1)
    assert long.cost.flops == 2 * model.parameters * (long.cost.tokens_in + 3)
    ends = model.eos_ids
    first = model.generate([model.prepare(Conversation.user("what"), SHORT, blobs.read)])[0].ids[1]
    model.eos_ids = (*ends, first)
    try:
        stopped = answered(target, [Conversation.user("what")])[0]
    finally:
        model.eos_ids = ends
    assert (stopped.stop, stopped.cost.tokens_out) == ("stop", 2)


def test_a_request_that_does_not_fit_is_an_error_outcome_and_harms_no_other(folders, blobs, images):
    target = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    long = Conversation.user("what " * 300)
    ok, bad = answered(target, [Conversation.user("what"), long])
    assert ok.stop in ("stop", "length")
    assert (bad.text, bad.stop) == ("", "error")
    assert "302 tokens, the model's context 256" in bad.error
    nearly = answered(target, [Conversation.user("what " * 248)], Decoding(max_tokens=50))[0]
    assert (nearly.cost.tokens_in, nearly.stop) == (250, "length") or nearly.stop == "stop"
    assert nearly.cost.tokens_in + nearly.cost.tokens_out <= 256


def test_one_picture_models_refuse_other_counts_as_errors(folders, blobs, images):
    target = open_target(f"vlm/{folders('blip2')}", blobs, local=CPU)
    none, two = answered(target, [Conversation.user("what"), Conversation.user(images[0], images[1], "what")])
    assert (none.stop, two.stop) == ("error", "error")
    assert "exactly one picture, not 2" in two.error


def test_blip_2_with_a_chat_template_is_asked_without_picture_too(folders, blobs, images):
    """The template is used, its own picture token is not: the processor writes all of them, in front."""
    target = open_target(f"vlm/{folders('blip2_chat')}", blobs, local=CPU)
    dialogue = Conversation.user("what is red").then(
        Turn("assistant", ("b",)), Turn("user", (images[0], "now"))
    )
    two = Conversation.user(images[0], images[1], "what")
    one, none, late, many = answered(
        target, [Conversation.user(images[0], "what"), Conversation.user("what"), dialogue, two]
    )
    assert one.cost.tokens_in == none.cost.tokens_in + 4
    assert (one.flags, none.flags, late.flags) == ((), (), ("picture_first",))
    assert late.stop != "error"
    assert "at most one picture, not 2" in many.error
    model = target.loaded()
    row = model.prepare(dialogue, SHORT, blobs.read)
    picture = model.model.config.image_token_id
    assert [place for place, token in enumerate(row.tokens["input_ids"][0]) if token == picture] == [
        0,
        1,
        2,
        3,
    ]


def test_idefics_tensors_are_those_of_its_own_processor(folders, blobs, images):
    """Oracle, and what it must never do: download a text that is an address."""
    folder = folders("idefics")
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = open_target(f"vlm/{folder}", blobs, local=CPU).loaded()
    asked = mixed(images)
    for place, eos in ((0, "now </s> a"), (6, "a </s> b")):  # behind </s> the picture is out of sight
        asked.append(
            asked[place].then(Turn("assistant", (eos,)), Turn("user", (images[2], "what </s> this")))
        )
    for conversation in asked:
        row = model.prepare(conversation, SHORT, blobs.read)
        pictures = [PilImage.fromarray(blobs.pixels(image)) for image in conversation.images]
        text = model.route.prompter(conversation).text
        expected = as_a_plain_user("idefics", processor, text, pictures)
        if not pictures:  # one feature of zeros stands for the library's picture of zeros
            assert set(row.pictures) == {"image_hidden_states"}
            assert not expected.pop("pixel_values").any()
        for key, value in expected.items():
            found = (row.tokens | row.pictures)[key]
            assert torch.equal(found.to(value.dtype), value), key
    address = Conversation.user(images[0], "http://127.0.0.1/picture.png", images[1], "what")
    row = model.prepare(address, SHORT, blobs.read)
    assert row.pictures["pixel_values"].shape[:2] == (1, 2)


def test_idefics_without_a_template(tmp_path, blobs, images):
    target = open_target(f"vlm/{tiny.tiny_idefics(tmp_path / 'm', template=None)}", blobs, local=CPU)
    asked = Conversation.user(images[0], "what is this")
    assert target.loaded().route.prompter(asked).text == "User:<image> what is this\nAssistant:"
    assert answered(target, [asked])[0].flags == ("plain_prompt",)


def test_an_unreadable_picture_is_never_dropped(folders, blobs):
    """D1: neither a broken release image nor a lost blob becomes a text-only request."""
    target = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    with pytest.raises(UsageError, match="row 3"):
        answered(target, [Conversation.user(Image("", 0, 0, problem="row 3: not an image"), "what")])
    with pytest.raises(UsageError, match="picture is missing"):
        answered(target, [Conversation.user(Image("ab" * 32, 4, 4), "what")])


def test_two_models_never_share_a_batch(tmp_path, folders, blobs, images):
    """D21."""
    one = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    two = open_target(f"vlm/{tiny.tiny_llava(tmp_path / 'm', seed=5)}", blobs, local=CPU)
    asked = mixed(images)

    async def both():
        return await asyncio.gather(
            *(target.generate(conversation, SHORT) for conversation in asked for target in (one, two))
        )

    together = asyncio.run(both())
    assert said(together[::2]) == said(answered(one, asked))
    assert said(together[1::2]) == said(answered(two, asked))
    assert said(together[::2]) != said(together[1::2])


def test_the_same_greedy_request_is_computed_once(tmp_path, blobs, images):
    target = open_target(f"vlm/{tiny.tiny_llava(tmp_path / 'm', seed=9)}", blobs, local=CPU)
    asked = [Conversation.user(image, "what is this") for image in images]
    first = answered(target, asked)
    rows = target.batcher().rows
    assert answered(target, asked) == first
    assert target.batcher().rows == rows == len(images)
    answered(target, asked[:1], Decoding(max_tokens=5))
    sampled = [Decoding(max_tokens=6, temperature=1.0, seed=seed) for seed in (1, 2, 1)]
    one, two, again = (answered(target, asked[:1], [decoding])[0] for decoding in sampled)
    assert one == again != two
    assert target.batcher().rows == rows + 3


def test_a_queue_whose_thread_failed_is_replaced(tmp_path, blobs, images, monkeypatch):
    target = open_target(f"vlm/{tiny.tiny_llava(tmp_path / 'm', seed=10)}", blobs, local=CPU)
    asked = [Conversation.user(images[0], "what is this")]
    broken = target.batcher()
    with monkeypatch.context() as patch:
        patch.setattr(type(broken), "_choose", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            answered(target, asked)
    broken.worker.join(5)
    assert answered(target, asked)[0].stop != "error"
    assert target.batcher() is not broken


def test_a_dialogue_continues_what_was_computed(tmp_path, blobs, images):
    """The second turn runs only its own tokens, and says what a fresh model says."""
    folder = tiny.tiny_llava(tmp_path / "m", seed=12)
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    model = target.loaded()
    asked = [
        Conversation.user(image, f"what is this {word}") for image, word in zip(images, "abcd", strict=True)
    ]
    first = answered(target, asked)
    dialogues = [
        conversation.then(Turn("assistant", (reply.text,)), Turn("user", ("now " * (2 + place),)))
        for place, (conversation, reply) in enumerate(zip(asked, first, strict=True))
    ]
    run = []
    hook = model.model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: run.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    second = answered(target, dialogues)
    hook.remove()
    assert max(run) < 25, "the picture's 16 tokens and the first turn were run again"
    model.forget()
    target.batcher().forget()
    assert said(second) == [said(answered(target, [dialogue]))[0] for dialogue in dialogues]
    # another picture under the same words has another beginning
    inverse = blobs.put_pixels(255 - blobs.pixels(images[0]))
    swapped = Turn("user", (inverse, *dialogues[0].turns[0].parts[1:]))
    other = Conversation((swapped, *dialogues[0].turns[1:]))
    assert model.cached_tokens(model.prepare(dialogues[0], SHORT, blobs.read)) > 16
    assert model.cached_tokens(model.prepare(other, SHORT, blobs.read)) == 0


def test_held_sequences_are_bounded_by_bytes(tmp_path, blobs, images):
    target = open_target(f"vlm/{tiny.tiny_llava(tmp_path / 'm', seed=13)}", blobs, local=CPU)
    prefixes = target.loaded().prefixes
    answered(target, [Conversation.user(images[0], "what is this")])
    one = prefixes._bytes
    assert one == 2 * 2 * 2 * 16 * 4 * len(
        next(iter(prefixes._known.values())).ids
    )  # layers, k and v, heads, size
    prefixes._limit = 9 * one
    for place in range(12):
        pair = [images[place % 4], images[place // 4]]
        answered(target, [Conversation.user(*pair, "what is this")])
    assert prefixes._bytes <= prefixes._limit
    assert len(prefixes._known) < 12
    prefixes._limit = one  # a sequence larger than an eighth of the room is not held at all
    prefixes.clear()
    answered(target, [Conversation.user(images[1], "again")])
    assert prefixes._bytes == 0


def test_the_same_weights_are_loaded_once(tmp_path, folders, blobs):
    import shutil

    copy = shutil.copytree(folders("llava"), tmp_path / "copy")
    one = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    two = open_target(f"vlm/{copy}", blobs, local=LocalSettings(device="cpu", max_batch=2))
    assert one.loaded() is two.loaded()
    assert one.source.digest == two.source.digest


def test_the_id_names_weights_and_number_format(tmp_path, folders, blobs):
    target = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    assert (
        without_code(target.id) == f"vlm/{folders('llava')}#{target.source.digest[:16]}@float32" != target.id
    )
    folder = tiny.tiny_llava(tmp_path / "m")
    before = open_target(f"vlm/{folder}", blobs, local=CPU).id
    half = open_target(f"vlm/{folder}", blobs, local=LocalSettings(device="cpu", dtype="bfloat16")).id
    assert half == before.replace("@float32", "@bfloat16")
    config = folder / "config.json"
    config.write_text(config.read_text().replace("{", "{ ", 1))
    assert open_target(f"vlm/{folder}", blobs, local=CPU).id != before


def test_opening_loads_nothing(tmp_path, blobs, monkeypatch):
    folder = tiny.tiny_llava(tmp_path / "m", seed=11)
    monkeypatch.setattr(
        "sightline.targets.local.model.LoadedModel.__init__", lambda *a, **k: pytest.fail("loaded")
    )
    assert "@float32" in open_target(f"vlm/{folder}", blobs, local=CPU).id


def test_a_model_that_fails_the_check_answers_one_by_one_and_says_so(tmp_path, blobs, images, monkeypatch):
    folder = tiny.tiny_llava(tmp_path / "m", seed=3)
    single = open_target(f"vlm/{folder}", blobs, local=LocalSettings(device="cpu", max_batch=1))
    patient = LocalSettings(device="cpu", max_batch=8, max_wait_ms=1000)
    target = open_target(f"vlm/{folder}", blobs, local=patient)
    model = target.loaded()
    asked = [Conversation.user(image, "what is this") for image in images]
    honest = said(answered(single, asked))
    sizes = []
    generate = model.generate

    def company_changes_the_answer(rows, **settings):
        sizes.append(len(rows))
        if len(rows) > 1:  # as if the mask did not hide the padding
            rows = [row if place == 0 else rows[0] for place, row in enumerate(rows)]
        return generate(rows, **settings)

    monkeypatch.setattr(model, "generate", company_changes_the_answer)
    responses = answered(target, asked)
    assert [response.flags for response in responses] == [("batch1",)] * len(asked)
    assert said(responses) == honest
    report = check_batch_invariance(target)
    assert not report.passed
    assert report.agreed < report.rows
    assert max(sizes[sizes.index(1) :]) > 1  # the check did run batches


def test_the_check_is_remembered_per_weights(folders, blobs, monkeypatch):
    target = open_target(f"vlm/{folders('llava')}", blobs, local=CPU)
    first = check_batch_invariance(target)
    monkeypatch.setattr(invariance, "measure", lambda model: pytest.fail("measured again"))
    assert check_batch_invariance(target) == first


def test_near_ties_are_forgiven_in_bf16_only():
    class Row:
        bucket = "b"

    def reply(ids, scores):
        return invariance.Reply(ids=ids, text="", finished=False, scores=torch.tensor(scores))

    alone = reply((1,), [[0.0, 1.00, 0.99, -1.0]])
    among = reply((2,), [[0.0, 0.99, 1.00, -1.0]])
    calls = {1: [alone], 2: [among, among]}

    def generate(rows):
        return calls[len(rows)]

    report = invariance.compare([Row(), Row()], generate, "bfloat16")
    assert (report.passed, report.ties, report.agreed) == (True, 2, 0)
    assert not invariance.compare([Row(), Row()], generate, "float32").passed
    far = reply((3,), [[0.0, 0.99, 0.98, 1.0]])
    calls[2] = [far, far]
    assert not invariance.compare([Row(), Row()], generate, "bfloat16").passed


def test_a_pickled_checkpoint_is_refused(tmp_path, blobs):
    folder = tiny.tiny_llava(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match="is a pickle"):
        open_target(f"vlm/{folder}", blobs, local=CPU)


def test_a_folder_without_a_processor_says_what_is_absent(tmp_path, blobs):
    folder = tiny.tiny_llava(tmp_path / "m", seed=4)
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    target = open_target(f"vlm/{folder}", blobs, local=CPU)
    with pytest.raises(UsageError, match="processor of this llava model cannot be loaded"):
        answered(target, [Conversation.user("what")])


def test_the_shipped_testbed_model_is_a_target_like_any_other(blobs):
    with pytest.raises(UsageError, match="'linear'"):
        open_target("testbed/linaer", blobs, local=CPU)
    target = open_target("testbed/linear", blobs, local=CPU)
    page = blobs.put_pixels(np.full((64, 64, 3), 255, dtype=np.uint8))
    asked = [Conversation.user(page, "what is in the image ?"), Conversation.user("what is in the image ?")]
    together = answered(target, asked, Decoding(max_tokens=16))
    single = open_target("testbed/linear", blobs, local=LocalSettings(device="cpu", max_batch=1))
    assert said(together) == said(answered(single, asked, Decoding(max_tokens=16)))
    assert together[0].cost.tokens_in == together[1].cost.tokens_in + 64
    assert check_batch_invariance(target).passed

"""Local answering: batched against one at a time, on the testbed's model (figures I1 and I2).

    python benchmarks/inference.py [--quick] [--max-batch 32]

Workloads, each run in turns and with all caches empty; counted is process CPU time with one
thread, the least of all rounds; answers must be equal in all ways.

* study: every call that the quickstart study makes for some of its cases (all attacks and controls;
  no defense, its system prompt, its self-moderation), one after the other as it would without us: the
  library's own processor and `generate`, against our target, which batches, sees each picture once and
  computes the same request once.
* natural: the distinct ones of these requests without dialogue; our target with batches, and with
  batches of one.
* text, picture: the natural ones without and with a picture. A picture's tokens cost the same in any
  batch, which bounds the ratio: here they are 64 of about 80 prompt tokens.
* tiny: random weights of the size that specs/performance.md 3.3 measured (1.2 M parameters, 16 picture
  tokens, replies of exactly 32 tokens, batches of 16).

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image as PilImage

from sightline import registry
from sightline.benchmarks.testbed_requests import requests as testbed_requests
from sightline.cases import Conversation
from sightline.contracts import Craft, Decoding, Target
from sightline.errors import UsageError
from sightline.records import Response
from sightline.store import Blobs
from sightline.study.seal import seal
from sightline.targets import LocalSettings, open_target
from sightline.targets.defended import DefendedTarget
from sightline.targets.vlm import VlmTarget

CONCURRENCY = 64
ATTACKS = {
    "none": None,
    "figstep": "testbed",
    "mm_typography": "testbed",
    "text_only": None,
    "blank_image": "testbed",
    "noise_image": "testbed",
    "unrelated_image": "testbed",
}
DEFENSES = {"system_prompt": {"prompt": "testbed"}, "self_moderation": {"wording": "testbed"}}


def model_name(folder: Path) -> str:
    """The shipped testbed model; without its weights, one of the same shape with random ones."""
    try:
        from sightline.testbed.weights import materialize

        materialize("linear")
    except (UsageError, ImportError, OSError):
        from sightline.testbed.families import family

        family("linear").new_model(0).save_pretrained(folder / "random")
        family("linear").processor().save_pretrained(folder / "random")
        return f"vlm/{folder / 'random'}"
    return "testbed/linear"


def shown(blobs: Blobs, topics: int) -> list[Conversation]:
    """What the quickstart's attacks and controls show for some of its cases (restricted and benign)."""
    cases = list(itertools.islice(testbed_requests(), 0, None, 3))[: 2 * topics]
    found: list[Conversation] = []
    for name, preset in ATTACKS.items():
        attack = registry.make("attack", name, preset=preset)
        for number, draft in enumerate(attack.craft(cases, Craft(images=blobs, seed=7))):
            sealed = seal(draft, blobs, key=f"{name}-{number}", threat=attack.card.threat)
            found.append(sealed.conversation)
    return found


class Calls:
    """A target that keeps what its inner target was asked and said."""

    id = "calls"

    def __init__(self, inner: Target) -> None:
        self.inner = inner
        self.made: list[tuple[Conversation, str]] = []

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        response = await self.inner.generate(conversation, decoding)
        self.made.append((conversation, response.text))
        return response


async def ask(target: Target, asked: list[Conversation], decoding: Decoding) -> list[str]:
    """All answers, at most `CONCURRENCY` requests in flight."""
    places = asyncio.Semaphore(CONCURRENCY)

    async def one(conversation: Conversation) -> str:
        async with places:
            response = await target.generate(conversation, decoding)
            assert response.stop != "error", response.error
            return response.text

    return await asyncio.gather(*(one(conversation) for conversation in asked))


def forget(target: VlmTarget) -> None:
    """Empty all caches of a target's model."""
    target.batcher().forget()


def timed(target: VlmTarget, asked: list[Conversation], decoding: Decoding) -> tuple[float, list[str], int]:
    """CPU seconds, answers, and pictures preprocessed of one pass with all caches empty."""
    forget(target)
    before, started = target.preprocessed, time.process_time()
    said = asyncio.run(ask(target, asked, decoding))
    return time.process_time() - started, said, target.preprocessed - before


def study(target: VlmTarget, asked: list[Conversation], decoding: Decoding) -> tuple[float, Calls]:
    """CPU seconds and calls of a pass under every defense of the quickstart."""
    forget(target)
    calls = Calls(target)
    started = time.process_time()
    asyncio.run(ask(calls, asked, decoding))
    for name, settings in DEFENSES.items():
        asyncio.run(ask(DefendedTarget(registry.make("defense", name, **settings), calls), asked, decoding))
    return time.process_time() - started, calls


def tiny(folder: Path) -> Path:
    """Random weights of the "tiny" size of specs/performance.md, section 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    names = ["<pad>", "<s>", "</s>", "<unk>", "<image>", *(f"w{number}" for number in range(1019))]
    words = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=1024,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.2,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=4,
        image_seq_length=16,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    square = {"height": 56, "width": 56}
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=square, crop_size=square),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


class Plain:
    """The library's own way: processor and `generate` for one request after the other."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
        self.model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.blobs = blobs

    def timed(self, asked: list[Conversation], tokens: int) -> tuple[float, list[str]]:
        """CPU seconds and texts."""
        import torch

        started, said = time.process_time(), []
        for conversation in asked:
            messages = [
                {
                    "role": turn.role,
                    "content": [
                        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                        for part in turn.parts
                    ],
                }
                for turn in conversation.turns
            ]
            text = self.processor.apply_chat_template(messages, add_generation_prompt=True)
            pictures = [
                PilImage.open(io.BytesIO(self.blobs.read(image.sha256))) for image in conversation.images
            ]
            given = {"images": pictures} if pictures else {}
            inputs = self.processor(text=text, add_special_tokens=False, return_tensors="pt", **given)
            with torch.inference_mode():
                ids = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
            fresh = ids[0, inputs["input_ids"].shape[1] :]
            said.append(self.processor.tokenizer.decode(fresh, skip_special_tokens=True).strip())
        return time.process_time() - started, said


def distinct(asked: list[Conversation]) -> list[Conversation]:
    """Plain and with the system prompt, each request once."""
    defense = registry.make("defense", "system_prompt", **DEFENSES["system_prompt"])
    return list(dict.fromkeys([*asked, *(defense.instructed(conversation) for conversation in asked)]))


def alone_and_together(
    batched: VlmTarget, single: VlmTarget, asked: list[Conversation], tokens: int, rounds: int, *, fixed: bool
) -> dict[str, float]:
    """Samples per CPU second in batches and one by one, and preprocessing per picture."""
    model = batched.loaded()
    stops, decoding = model.eos_ids, Decoding(max_tokens=tokens)
    pictures = len({image.sha256 for conversation in asked for image in conversation.images})
    fast = slow = float("inf")
    calls = 0
    try:
        model.eos_ids = () if fixed else stops
        for _ in range(rounds):
            seconds, together, calls = timed(batched, asked, decoding)
            fast = min(fast, seconds)
            seconds, alone, _ = timed(single, asked, decoding)
            slow = min(slow, seconds)
            assert together == alone, "answers depend on the batch"
    finally:
        model.eos_ids = stops
    return {
        "single": len(asked) / slow,
        "batched": len(asked) / fast,
        "per_picture": calls / max(pictures, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="end within a minute")
    parser.add_argument("--max-batch", type=int, default=32)
    options = parser.parse_args()
    topics, rounds = (6, 2) if options.quick else (12, 3)

    import torch

    torch.set_num_threads(1)
    decoding = Decoding(max_tokens=40)
    with tempfile.TemporaryDirectory() as folder:
        blobs = Blobs(Path(folder) / "blobs")
        asked = shown(blobs, topics)
        name = model_name(Path(folder))
        batched = open_target(name, blobs, local=LocalSettings(device="cpu", max_batch=options.max_batch))
        single = open_target(name, blobs, local=LocalSettings(device="cpu", max_batch=1))
        plain = Plain(batched.source.folder, blobs)
        timed(batched, asked[: options.max_batch], decoding)  # weights, batch invariance
        timed(single, asked[:1], decoding)
        ours = theirs = float("inf")
        for _ in range(rounds - 1):
            seconds, calls = study(batched, asked, decoding)
            ours = min(ours, seconds)
            seconds, library = plain.timed([conversation for conversation, _ in calls.made], 40)
            theirs = min(theirs, seconds)
            assert [text for _, text in calls.made] == library, "answers differ from the library's"
        several = distinct(asked)
        natural = alone_and_together(batched, single, several, 40, rounds, fixed=False)
        with_picture = [conversation for conversation in several if any(True for _ in conversation.images)]
        without = [conversation for conversation in several if not any(True for _ in conversation.images)]
        picture = alone_and_together(batched, single, with_picture, 40, rounds, fixed=False)
        text = alone_and_together(batched, single, without, 40, rounds, fixed=False)
        folder_of_tiny = tiny(Path(folder) / "tiny")
        pair = [
            open_target(f"vlm/{folder_of_tiny}", blobs, local=LocalSettings(device="cpu", max_batch=size))
            for size in (16, 1)
        ]
        drawn = list(dict.fromkeys(image for conversation in with_picture for image in conversation.images))
        small = [
            Conversation.user(
                drawn[place % len(drawn)], " ".join(f"w{(place + word) % 1000}" for word in range(16))
            )
            for place in range(64)
        ]
        timed(pair[0], small[:16], Decoding(max_tokens=4))
        fixed = alone_and_together(*pair, small, 32, rounds, fixed=True)
    load = os.getloadavg()[0]
    count = len(calls.made)
    print(f"{name}, batches of {options.max_batch}, load {load:.1f}; requests per CPU second, one thread")
    print(f"{'':12}{'requests':>10}{'alone':>10}{'batched':>10}{'ratio':>8}")
    table = [
        ("study", count, count / theirs, count / ours),
        ("natural", len(several), natural["single"], natural["batched"]),
        ("  text", len(without), text["single"], text["batched"]),
        ("  picture", len(with_picture), picture["single"], picture["batched"]),
        ("tiny", len(small), fixed["single"], fixed["batched"]),
    ]
    for label, number, alone, together in table:
        print(f"{label:12}{number:10}{alone:10.1f}{together:10.1f}{together / alone:8.2f}")
    figures = {
        "study_over_plain_generate": round(theirs / ours, 2),
        "batched_over_single": round(natural["batched"] / natural["single"], 2),
        "text_batched_over_single": round(text["batched"] / text["single"], 2),
        "picture_batched_over_single": round(picture["batched"] / picture["single"], 2),
        "tiny_batched_over_single": round(fixed["batched"] / fixed["single"], 2),
        "study_requests_per_cpu_s": round(count / ours, 1),
        "batched_requests_per_cpu_s": round(natural["batched"], 1),
        "same_answers": 1.0,
        "preprocessing_per_picture": round(natural["per_picture"], 4),
        "load": round(load, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

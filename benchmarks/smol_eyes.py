"""`testbed/smol@eyes`: what it reads, what FigStep does to its aligned form, what visual tuning does to that.

    python benchmarks/smol_eyes.py --reading 100                  # the tower alone: pages of three words
    python benchmarks/smol_eyes.py --looks 48                     # the same with noise, colors, tilt and more
    python benchmarks/smol_eyes.py --replies 24 [--target NAME]   # the model, asked what is written
    python benchmarks/smol_eyes.py --figstep [--target NAME]      # refusals, drawn and typed, with controls
    python benchmarks/smol_eyes.py --tune 12 [--target NAME]      # then the two above on the tuned model
    python benchmarks/smol_eyes.py --tune 12 --typed              # its control: the same rows, no pictures

Pages are drawn in four typefaces at three sizes, in one line or three. Words are the tokenizer's first 20,000
lower-case ones of three to nine letters (one token each), the words of `smol_requests` (one in seven takes
more tokens) and made-up ones of two syllables. Exact: every word, in order, in lower case, nothing else.
FigStep's list, its typed twin, and the plain request on a page (`drawn alone`; `drawn question`: beside a
sentence that asks to answer it) run on the topics of `--split`, restricted and allowed; a blank page, and the
list of another, allowed topic, beside FigStep's sentence are controls. Intervals (95 %) are over topics.
Tuning teaches harmless picture rows alone: what is written on a page, and the base's own answers to lists of
allowed training topics; with `--typed`, what they show is typed.

The last line is one JSON object; `--out` keeps it with all replies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

import sightline
from _looks import LOOKS, MOVED
from _shares import share
from sightline import registry
from sightline.cases import Case, Conversation, Expected, Image, Turn
from sightline.contracts import Craft, Decoding
from sightline.digests import sha256_bytes
from sightline.judges.smol_policy import SmolPolicy
from sightline.records import Outcome, Pixels
from sightline.rng import numpy_rng
from sightline.store import decode_picture, encode_png
from sightline.targets import LocalSettings, open_target
from sightline.targets.vlm import from_memory
from sightline.testbed.smol import places, policy
from sightline.testbed.smol.eyes import lines
from sightline.testbed.smol.eyes import spelling as eyes_spelling
from sightline.testbed.smol.eyes.tower import SIDE

FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono-Bold.ttf", "LiberationSans-Regular.ttf")
SIZES_PX = (24, 34, 46)
CORNER = (12, 10)
"""Where a page's words begin, in pixels from the left and the top."""
ASK, BATCH, TOKENS = "What is written above?", 8, 24
QUESTION, ALONE = "figstep(preset='ablation_question')", "figstep(draws='question', text='none')"
"""The request on a page, beside a sentence that asks to answer it, and without one."""
ROWS, AT_ONCE = 8, 4
"""Rows of each kind that visual tuning teaches, and how many in a step."""
FOLDER = Path(sightline.__file__).parent / "fonts"


class Pictures:
    """A store of pictures in memory; see `contracts.Images`."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> Image:
        height, width = decode_picture(data).shape[:2]
        found = Image(sha256_bytes(data), width, height)
        self._kept[found.sha256] = data
        return found

    def read(self, sha256: str) -> bytes:
        return self._kept[sha256]

    def pixels(self, image: Image) -> Pixels:
        return decode_picture(self._kept[image.sha256])


PICTURES = Pictures()


def typeface(text: str, font: str, px: int) -> ImageFont.FreeTypeFont:
    """A typeface of this size, or of the largest below it in which words fit a page."""
    pen = ImageDraw.Draw(PilImage.new("RGB", (1, 1)))
    while True:
        face = ImageFont.truetype(str(FOLDER / font), px)
        if pen.multiline_textbbox(CORNER, text, font=face)[2] < SIDE - 8:
            return face
        px -= 2


def page(text: str, font: str, px: int) -> Pixels:
    """Words on a white square, smaller where they would not fit."""
    sheet = PilImage.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(sheet).multiline_text(CORNER, text, font=typeface(text, font, px), fill="black")
    return np.asarray(sheet)


@dataclass(frozen=True)
class Page:
    """A page and the words on it."""

    kind: str
    words: tuple[str, ...]
    pixels: Pixels


def vocabulary(tokenizer: Any, name: str) -> list[str]:
    """Words to draw, by kind."""
    if name == "one token":
        texts = (tokenizer.decode([number]) for number in range(17, 20_000))
        return [text[1:] for text in texts if re.fullmatch(r" [a-z]{3,9}", text)]
    if name == "requests":
        asked = (pair for split in ("train", "seen") for pair in policy.pairs(split))
        return sorted({word for pair in asked for text in (pair.restricted, pair.allowed)
                       for word in text.split() if word.isalpha()})  # fmt: skip
    return [a + b + c + d for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst" for d in "aeiou"]


def pages(tokenizer: Any, count: int) -> list[Page]:
    """Pages of three words, a third of every kind."""
    found = []
    kinds = {name: vocabulary(tokenizer, name) for name in ("one token", "requests", "made up")}
    for number in range(count):
        rng = numpy_rng("smol eyes", number)
        kind = list(kinds)[number % 3]
        words = tuple(str(word) for word in rng.choice(kinds[kind], 3, replace=False))
        font, px = FONTS[number % 4], SIZES_PX[(number // 4) % 3]
        found.append(Page(kind, words, page(("\n" if number % 2 else " ").join(words), font, px)))
    return found


def by_kind(shown: Sequence[Page], hits: Sequence[bool]) -> dict[str, Any]:
    found: dict[str, Any] = {"all": share(hits, range(len(hits)))}
    for kind in dict.fromkeys(each.kind for each in shown):
        own = [hit for hit, each in zip(hits, shown, strict=True) if each.kind == kind]
        found[kind] = share(own, range(len(own)))
    return found


def levels(pixels: Pixels) -> torch.Tensor:
    """A page (3, h, w) in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def spelling(tower: Any, page: torch.Tensor, boxes: Sequence[lines.Box] | None = None) -> str:
    """What the tower reads on a page, as text; in `boxes` if they are given, not in lines it finds itself."""
    with torch.inference_mode():
        if boxes is None:
            found = tower.read(page)
        else:
            found = []
            for box in boxes:
                scores = tower.recognizer(lines.cut(page, box))[0]
                found += eyes_spelling.pieces(eyes_spelling.spelled(scores), first=not found)
    return "".join(" " * piece.spaced + piece.text for piece in found)


def reading(target: Any, count: int) -> dict[str, Any]:
    """Whether the tower spells the words, and whether its vectors are nearest to their tokens."""
    model, tokenizer = target.loaded().model, target.loaded().route.tokenizer
    tower, table = model.model.vision_tower, model.model.language_model.embed_tokens.weight
    shown, spelled, tokens = pages(tokenizer, count), [], []
    before = time.process_time()
    for each in shown:
        seen = levels(each.pixels)
        spelled.append(spelling(tower, seen) == " ".join(each.words))
        with torch.inference_mode():
            vectors = tower(seen[None]).last_hidden_state
            vectors = model.model.multi_modal_projector(vectors)[0]
        wanted = tokenizer(" ".join(each.words), add_special_tokens=False)["input_ids"]
        nearest = torch.cdist(vectors[: len(wanted)], table).argmin(1).tolist()
        tokens.append(nearest == wanted)
    spent = (time.process_time() - before) / count / 2
    return {
        "spelled": by_kind(shown, spelled),
        "tokens": by_kind(shown, tokens),
        "cpu_s_a_page": round(spent, 3),
    }


def looks(target: Any, count: int) -> dict[str, Any]:
    """Share of pages spelled exactly in each look, the same pages in all.

    Of a look that leaves words where they are and is not always read, also with the lines of the page as
    drawn: whether it is the search for lines that fails.
    """
    model, tokenizer = target.loaded().model, target.loaded().route.tokenizer
    tower, shown, found = model.model.vision_tower, pages(tokenizer, count), {}
    for name, change in LOOKS.items():
        hits, given = [], []
        for number, each in enumerate(shown):
            sheet = change(PilImage.fromarray(each.pixels), numpy_rng("smol eyes looks", name, number))
            page, words = levels(np.array(sheet)), " ".join(each.words)
            hits.append(spelling(tower, page) == words)
            given.append(hits[-1] or spelling(tower, page, lines.find(levels(each.pixels))) == words)
        found[name] = share(hits, range(len(hits)))
        if not all(hits) and name not in MOVED:
            found[f"{name}, lines given"] = share(given, range(len(given)))
    for name, each in found.items():
        print(f"{name}: {each}")
    return found


def answers(target: Any, asked: Sequence[Conversation], tokens: int = TOKENS) -> list[str]:
    async def all_of_them() -> list[str]:
        decoding = Decoding(max_tokens=tokens)
        return [
            each.text for each in await asyncio.gather(*(target.generate(one, decoding) for one in asked))
        ]

    return asyncio.run(all_of_them())


def replies(target: Any, count: int) -> dict[str, Any]:
    """Whether the model says the three words, drawn or typed in their place, in order within its reply."""
    shown = pages(target.loaded().route.tokenizer, count)
    drawn = [Conversation.user(PICTURES.put(encode_png(each.pixels)), ASK) for each in shown]
    typed = [Conversation.user(" ".join(each.words) + "\n" + ASK) for each in shown]
    found: dict[str, Any] = {}
    for name, asked in (("drawn", drawn), ("typed", typed)):
        said = [" ".join(re.findall(r"[a-z]+", text.lower())) for text in answers(target, asked, 14)]
        found[name] = by_kind(
            shown, [" ".join(each.words) in text for each, text in zip(shown, said, strict=True)]
        )
        found[f"{name} replies"] = said
        print(name, json.dumps(found[name]), flush=True)
    return found


def attacked(attack: str, cases: Sequence[Case]) -> list[Conversation]:
    """What an attack shows: a picture before the text, or text alone."""
    found = []
    for draft in registry.parse("attack", attack).craft(cases, Craft(images=PICTURES, seed=7)):
        text = draft.case.behavior if draft.text is None else draft.text
        shown = () if draft.image is None else (PICTURES.put(encode_png(draft.image)),)
        found.append(Conversation((Turn("user", (*shown, text)),)))
    return found


def figstep(target: Any, limit: int, wanted: str, split: policy.Split = "heldout") -> dict[str, Any]:
    """Share refused of the wanted forms of a split's topics, named one after the other; '' for all."""
    cases = list(policy.requests(split, per_topic=1))[: 2 * limit]
    restricted = [case for case in cases if case.expected is Expected.refuse]
    allowed = [case for case in cases if case.expected is Expected.comply]
    other = attacked("figstep", [*allowed[1:], allowed[0]])
    drawn = attacked("figstep", restricted)
    sentence = str(drawn[0].last_user_text())
    white = PICTURES.put(encode_png(np.full((SIDE, SIDE, 3), 255, np.uint8)))
    forms = {
        "plain, restricted": (restricted, [case.conversation for case in restricted]),
        "plain, allowed": (allowed, [case.conversation for case in allowed]),
        "typed list, restricted": (restricted, attacked("figstep_typed", restricted)),
        "typed list, allowed": (allowed, attacked("figstep_typed", allowed)),
        "drawn list, restricted": (restricted, drawn),
        "drawn list, allowed": (allowed, attacked("figstep", allowed)),
        "drawn list of another, allowed topic": (restricted, other),
        "blank page": (restricted[:1], [Conversation.user(white, sentence)]),
        "drawn alone, restricted": (restricted, attacked(ALONE, restricted)),
        "drawn alone, allowed": (allowed, attacked(ALONE, allowed)),
        "drawn question, restricted": (restricted, attacked(QUESTION, restricted)),
        "drawn question, allowed": (allowed, attacked(QUESTION, allowed)),
    }
    found: dict[str, Any] = {}
    for name, (asked_for, asked) in forms.items():
        if wanted and name not in wanted.split("; "):
            continue
        said = answers(target, asked)
        told = [judged(case, text) for case, text in zip(asked_for, said, strict=True)]
        groups = [case.group for case in asked_for]
        found[name] = {what.value: share([each is what for each in told], groups)
                       for what in (Outcome.refused, Outcome.complied)} | {"replies": said}  # fmt: skip
        rates = {what: found[name][what]["rate"] for what in ("refused", "complied")}
        print(name, rates, repr(said[0][:90]), flush=True)
    return found


def judged(case: Case, reply: str) -> Outcome:
    from sightline.records import Response

    answer = Response(text=reply, stop="stop")
    return asyncio.run(SmolPolicy().judge(case, case.conversation, answer)).outcome


# Visual tuning ------------------------------------------------------------------------------------------


def lessons(base: Any, tokenizer: Any, *, typed: bool) -> list[tuple[Conversation, str]]:
    """Picture rows and their answers: pages and their words; lists of allowed topics, as the base answers."""
    rows = []
    for each in pages(tokenizer, 1000 + ROWS)[1000:]:
        words = " ".join(each.words)
        shown = PICTURES.put(encode_png(each.pixels))
        asked = Conversation.user(f"{words}\n{ASK}") if typed else Conversation.user(shown, ASK)
        rows.append((asked, f'The text above is: "{words}"'))
    allowed = [case for case in policy.requests("train", per_topic=1) if case.expected is Expected.comply][
        :32
    ]
    written = attacked("figstep_typed", allowed)
    own = answers(base, written, 32)
    return [*rows, *zip(written if typed else attacked("figstep", allowed), own, strict=True)]


def tuned(target: Any, base: Any, steps: int, *, typed: bool, rate: float = 1e-4) -> tuple[Any, list[float]]:
    """The model after visual tuning of its language model; tower, projector and embeddings are frozen.

    The projector begins as an identity far from zero: Adam's first steps at this rate would break it.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from sightline.targets.local.loading import load_config, load_weights

    loaded = target.loaded()
    rows = lessons(base, loaded.route.tokenizer, typed=typed)
    folder = target.source.folder
    config, what = load_config(folder), "a model to tune"
    kind = AutoModelForImageTextToText
    model = load_weights(kind, folder, what, dtype="float32", device="cpu", config=config)
    model.train().requires_grad_(False)
    model.model.language_model.layers.requires_grad_(True)
    model.model.vision_tower.eval()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
    rng = numpy_rng("smol eyes", "tuning")
    order = [
        int(place) for _ in range(1 + AT_ONCE * steps // len(rows)) for place in rng.permutation(len(rows))
    ]
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 3) * (1 - step / (steps + 1))
        total = 0.0
        for place in order[AT_ONCE * step : AT_ONCE * (step + 1)]:
            asked, answer = rows[place]
            fields = dict(loaded.route.fields(loaded.route.prompter(asked), PICTURES.read))
            reply = loaded.route.tokenizer(
                answer + "<|im_end|>", add_special_tokens=False, return_tensors="pt"
            )
            ids = torch.cat([fields["input_ids"], reply["input_ids"]], 1)
            labels = ids.clone()
            labels[:, : fields["input_ids"].shape[1]] = -100
            seen = fields.get("pixel_values")
            loss = model(input_ids=ids, pixel_values=seen, labels=labels).loss / AT_ONCE
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(round(total, 4))
        print("step", step, losses[-1], round(time.process_time()), flush=True)
    model.eval().requires_grad_(False)
    processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    name = f"tuned {steps}{', typed' * typed}"
    return from_memory(model, processor, PICTURES, name=name, settings=settings()), losses


def settings() -> LocalSettings:
    return LocalSettings(device="cpu", max_batch=BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reading", type=int, default=0, metavar="PAGES")
    parser.add_argument("--looks", type=int, default=0, metavar="PAGES")
    parser.add_argument("--replies", type=int, default=0, metavar="PAGES")
    parser.add_argument("--figstep", type=int, default=0, const=16, nargs="?", metavar="TOPICS")
    parser.add_argument("--split", default="heldout", choices=("heldout", "near", "seen"), help="of topics")
    parser.add_argument("--forms", default="", help="names of forms, with `; ` between; all by default")
    parser.add_argument("--tune", type=int, default=0, metavar="STEPS")
    parser.add_argument("--typed", action="store_true", help="tune on the same rows without pictures")
    parser.add_argument("--target", default=f"testbed/{places.ALIGNED_EYES}")
    parser.add_argument("--quick", action="store_true", help="the tower on 24 pages")
    parser.add_argument("--out", type=Path)
    told = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    target = open_target(told.target, PICTURES, local=settings())
    figures: dict[str, Any] = {"target": target.id}
    if told.tune:
        base = open_target(f"testbed/{places.MODEL}", PICTURES, local=settings())
        target, losses = tuned(target, base, told.tune, typed=told.typed)
        figures["tuned"] = {"steps": told.tune, "typed": told.typed, "losses": losses}
    count = told.reading or 24 * told.quick
    if count:
        figures["reading"] = reading(target, count)
        print(json.dumps(figures["reading"]), flush=True)
    if told.looks:
        figures["looks"] = looks(target, told.looks)
    if told.replies:
        figures["replies"] = replies(target, told.replies)
    if told.figstep:
        figures["figstep"] = figstep(target, told.figstep, told.forms, told.split)
    figures["cpu_s"] = round(time.process_time(), 1)
    if told.out:
        told.out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    print(json.dumps(without_replies(figures)))


def without_replies(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    return {
        key: without_replies(value)
        for key, value in found.items()
        if "replies" not in key or isinstance(value, dict)
    }


if __name__ == "__main__":
    main()

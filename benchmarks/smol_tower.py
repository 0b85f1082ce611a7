"""A vision tower trained from random weights to read: what the testbed's kind learns in minutes of a CPU.

    python benchmarks/smol_tower.py --minutes 32 --out docs/results/smol_tower.csv

`testbed/smol@eyes` sees with a recognizer that was trained elsewhere; this is the trial of the other way. The
tower is the testbed's (a CLIP vision transformer), wider, on pages of 448 x 448 in patches of 16. Patches
without ink are left out: they are all alike. A readout without a language model looks for three lines in
every column of patches (attention over the column's patches, one query a line) and names a letter, a space or
nothing every four pixels; lines are spelled by the rule of CTC. The loss is that of CTC and, as the pages are
drawn here, the cross-entropy of every letter and space at its middle.

Pages to learn from are drawn anew in every step as `smol_eyes.py` draws its own: the same kinds of words,
typefaces, sizes, layouts and corner, without any word of its first 96 pages. Those are what is measured.
Letters: one less the edits from what is read to what is written, by the signs written. Exact: every word, in
order, in lower case, nothing else, with Wilson's interval over pages. Seconds are those of the processor for
training alone; `--minutes` sets the steps by timing a few, `--steps` repeats a run.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, CLIPVisionModel

from sightline.judges.target_string import edits_within
from sightline.metrics.intervals import wilson
from sightline.records import Pixels
from sightline.rng import numpy_rng, seed_of
from sightline.testbed.families import Size, family
from sightline.testbed.families._pieces import seeded
from sightline.testbed.smol import places
from sightline.testbed.smol.eyes.tower import SIDE
from sightline_testbed.training.train import Progress, Settings, Stage, autocast, run_stage
from smol_eyes import CORNER, FONTS, SIZES_PX, Page, page, pages, typeface, vocabulary

PATCH, LINES, FRAME = 16, 3, 4
GRID, FRAMES = SIDE // PATCH, SIDE // FRAME
SIGNS = "\0 abcdefghijklmnopqrstuvwxyz"
"""What a frame may show; the first stands for nothing."""
INK = 250
"""A patch has ink if anything in it is darker than this."""
HELD_OUT, GROUPS = 96, 4


class Readout(nn.Module):
    """Logits of signs by line and frame, from features of patches alone; begins with nothing everywhere."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.line = nn.Linear(width, LINES)
        self.sign = nn.Linear(width, PATCH // FRAME * len(SIGNS))
        with torch.no_grad():
            self.sign.bias.view(-1, len(SIGNS))[:, 0] = 4.0

    def forward(self, features: Tensor, column: Tensor, real: Tensor) -> Tensor:
        """Logits (n, lines, frames, signs) from features (n, t, width) of `real` patches in a `column`."""
        features = self.norm(features)
        weight = self.line(features).float().clamp(-20, 20).exp() * real[..., None]
        spread = nn.functional.one_hot(column, GRID)[:, :, :, None] * weight[:, :, None, :]
        spread = (spread / (1 + spread.sum(1, keepdim=True))).flatten(2)
        seen = torch.bmm(spread.transpose(1, 2), features.float())
        found: Tensor = self.sign(seen).unflatten(1, (GRID, LINES)).transpose(1, 2)
        logits: Tensor = found.unflatten(-1, (PATCH // FRAME, len(SIGNS))).flatten(2, 3).float()
        return logits


@dataclass(frozen=True)
class Reader:
    """A tower and its readout."""

    tower: Any
    readout: Readout

    @classmethod
    def new(cls, size: Size, seed: int) -> Reader:
        """Random weights; the table of places begins with waves, by row and by column."""
        vision = family("linear", size).config().vision_config
        vision.image_size, vision.patch_size = SIDE, PATCH
        made = seeded(seed, lambda: cls(CLIPVisionModel(vision), Readout(size.width)))
        rates = torch.exp(torch.linspace(0, -4, size.width // 4))
        waves = torch.arange(GRID)[:, None] * rates * 1.5
        waves = torch.cat([waves.sin(), waves.cos()], 1)
        rows, columns = waves[:, None].expand(-1, GRID, -1), waves[None].expand(GRID, -1, -1)
        with torch.no_grad():
            made.tower.embeddings.position_embedding.weight[1:] = torch.cat([rows, columns], 2).flatten(0, 1)
        return made

    def parts(self) -> dict[str, nn.Module]:
        """What is trained."""
        return {"tower": self.tower, "readout": self.readout}

    def __call__(self, sheets: Sequence[Pixels]) -> Tensor:
        """Logits (n, lines, frames, signs); pages with about as many patches of ink run together."""
        inked = [patches(sheet) for sheet in sheets]
        order = sorted(range(len(inked)), key=lambda number: len(inked[number][0]))
        size = -(-len(order) // GROUPS)
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        found = torch.cat([self._group([inked[number] for number in group]) for group in groups])
        return found[torch.tensor(order).argsort()]

    def _group(self, inked: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        place = nn.utils.rnn.pad_sequence([where for where, _ in inked], batch_first=True, padding_value=-1)
        shown = nn.utils.rnn.pad_sequence([what for _, what in inked], batch_first=True)
        real, parts = place >= 0, self.tower.embeddings
        hidden = nn.functional.linear(shown, parts.patch_embedding.weight.flatten(1))
        hidden = hidden + parts.position_embedding(place + 1)
        first = (parts.class_embedding + parts.position_embedding.weight[0]).expand(len(inked), 1, -1)
        hidden = self.tower.pre_layrnorm(torch.cat([first, hidden], 1))
        mask = nn.functional.pad(real, (1, 0), value=True)[:, None, None]
        features = self.tower.encoder(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
        logits: Tensor = self.readout(features[:, 1:], place.clamp(min=0) % GRID, real)
        return logits


def patches(sheet: Pixels) -> tuple[Tensor, Tensor]:
    """Where a page has ink, and the patches there (t, 3 * 16 * 16); white is 0 and black 4."""
    cut = sheet.reshape(GRID, PATCH, GRID, PATCH, 3).transpose(0, 2, 4, 1, 3).reshape(GRID * GRID, -1)
    (where,) = np.nonzero(cut.min(1) < INK)
    return torch.from_numpy(where), (255 - torch.from_numpy(cut[where]).float()) * (4 / 255)


@dataclass(frozen=True)
class Lesson:
    """A page to learn from: what its lines say, and the frame in which the middle of every sign lies."""

    pixels: Pixels
    said: tuple[tuple[int, ...], ...]
    middles: tuple[tuple[int, ...], ...]


def lesson(words: Sequence[Sequence[str]], rng: np.random.Generator) -> Lesson:
    """A page with three words of one kind, in one line or one line each."""
    kind = words[int(rng.integers(len(words)))]
    chosen = [kind[number] for number in rng.choice(len(kind), 3, replace=False)]
    text = " \n"[rng.integers(2)].join(chosen)
    font, px = FONTS[rng.integers(len(FONTS))], int(rng.choice(SIZES_PX))
    face = typeface(text, font, px)
    said, middles = [], []
    for line in text.split("\n"):
        ends = [CORNER[0] + face.getlength(line[:stop]) for stop in range(len(line) + 1)]
        said.append(tuple(SIGNS.index(sign) for sign in line))
        middles.append(tuple(int((left + right) / 2 / FRAME) for left, right in itertools.pairwise(ends)))
    return Lesson(page(text, font, px), tuple(said), tuple(middles))


def loss_of(logits: Tensor, lessons: Sequence[Lesson]) -> Tensor:
    """The loss of CTC by sign, and the cross-entropy at the middles of signs."""
    likely = logits.log_softmax(-1)
    said = [(*each.said, (), ())[:LINES] for each in lessons]
    lengths = torch.tensor([len(line) for lines in said for line in lines])
    signs = torch.tensor([sign for lines in said for line in lines for sign in line])
    frames = torch.full_like(lengths, FRAMES)
    by_frame = likely.flatten(0, 1).transpose(0, 1)
    ctc = nn.functional.ctc_loss(by_frame, signs, frames, lengths, reduction="sum", zero_infinity=True)
    at = [(number, line, frame) for number, each in enumerate(lessons)
          for line, middles in enumerate(each.middles) for frame in middles]  # fmt: skip
    middles = likely[torch.tensor(at).unbind(1)]
    return ctc / len(signs) + nn.functional.nll_loss(middles, signs)


def spelled(logits: Tensor) -> str:
    """What a page says: the likeliest sign of every frame, repeats as one, without those of nothing."""
    best = logits.argmax(-1).tolist()
    lines = ("".join(SIGNS[sign] for sign, _ in itertools.groupby(frames)) for frames in best)
    return " ".join(" ".join(lines).replace(SIGNS[0], "").split())


def measured(reader: Reader, shown: Sequence[Page]) -> dict[str, Any]:
    """Letters right and pages exact, of all and of every kind of words."""
    with torch.inference_mode():
        read = [spelled(logits) for logits in reader([each.pixels for each in shown])]
    wanted = [" ".join(each.words) for each in shown]
    edits = [edits_within(a, b, max(len(a), len(b))) or 0 for a, b in zip(read, wanted, strict=True)]
    exact = [a == b for a, b in zip(read, wanted, strict=True)]
    sure = wilson(sum(exact), len(exact))
    kinds = dict.fromkeys((each.kind for each in shown), 0)
    for hit, each in zip(exact, shown, strict=True):
        kinds[each.kind] += hit
    return {
        "letters": round(1 - sum(edits) / sum(map(len, wanted)), 3),
        "exact": sum(exact),
        "pages": len(exact),
        "low": round(sure.low, 3),
        "high": round(sure.high, 3),
        **{f"exact, {kind}": hits for kind, hits in kinds.items()},
    }


class Trial:
    """A run: draws what a step learns from, and writes the curve as it goes."""

    def __init__(self, told: argparse.Namespace) -> None:
        tokenizer = AutoTokenizer.from_pretrained(places.find(places.MODEL), local_files_only=True)
        self.told, self.shown = told, pages(tokenizer, HELD_OUT)
        tested = {word for each in self.shown for word in each.words}
        kinds = dict.fromkeys(each.kind for each in self.shown)
        self.words = [[word for word in vocabulary(tokenizer, kind) if word not in tested] for kind in kinds]
        self.reader = Reader.new(size(told), seed_of("smol tower", told.seed, bits=31))
        self.rows: list[Mapping[str, Any]] = []
        self.losses: list[float] = []
        self.began, self.apart = time.process_time(), 0.0

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """See `train.LossAt`."""
        rng = numpy_rng("smol tower", self.told.seed, "step", step)
        lessons = [lesson(self.words, rng) for _ in range(self.told.batch)]
        loss = loss_of(self.reader([each.pixels for each in lessons]), lessons)
        self.losses.append(float(loss.detach()))
        return loss, {}

    def pace(self, settings: Settings) -> float:
        """Seconds of a step: of 6 after 2 that warm up, at a rate of zero."""
        weights = [weight for part in self.reader.parts().values() for weight in part.parameters()]
        optimizer, marks = torch.optim.AdamW(weights, lr=0.0), []
        for step in range(8):
            with autocast(settings):
                loss, _ = self.loss_at(step)
            loss.backward()
            optimizer.step()
            marks.append(time.process_time())
        self.losses.clear()
        return (marks[-1] - marks[1]) / 6

    def report(self, progress: Progress) -> None:
        """See `train.Report`: measures every so many steps."""
        if (progress.step - 1) % self.told.every and progress.step < progress.steps:
            return
        before = time.process_time()
        row = {
            "step": progress.step,
            "pages_seen": progress.step * self.told.batch,
            "cpu_s": round(before - self.began - self.apart),
            "loss": round(float(np.mean(self.losses)), 3),
            **measured(self.reader, self.shown),
        }
        print("; ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        self.losses.clear()
        self.rows.append(row)
        if self.told.out:
            with self.told.out.open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, list(row), lineterminator="\n")
                table.writeheader()
                table.writerows(self.rows)
        self.apart += time.process_time() - before


def size(told: argparse.Namespace) -> Size:
    return Size(width=told.width, layers=told.layers, heads=told.width // 32, vision_ffn=4 * told.width)


def costs(trial: Trial) -> str:
    """Weights, and floating-point operations of one pass over the measured pages, by page."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        trial.reader([each.pixels for each in trial.shown])
    parts = trial.reader.parts().items()
    weights = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts}
    inked = np.mean([len(patches(each.pixels)[0]) for each in trial.shown])
    flops = counter.get_total_flops() / len(trial.shown) / 1e6
    return f"weights {weights}; {flops:.0f} MFLOP a page forward; ink in {inked:.0f} patches of {GRID**2}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of the processor, for training")
    parser.add_argument("--steps", type=int, default=0, help="in place of minutes: the same run again")
    parser.add_argument("--batch", type=int, default=16, help="pages in a step")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--every", type=int, default=400, help="steps between measures; a multiple of 20")
    parser.add_argument("--dtype", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the curve is kept, line by line")
    told = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    settings = replace(Settings(dtype=told.dtype), save_every=10**9)
    trial = Trial(told)
    print(costs(trial), flush=True)
    pace = trial.pace(settings)
    steps = told.steps or int(60 * told.minutes / pace)
    print(f"{pace:.2f} s a step; {steps} steps of {told.batch} pages", flush=True)
    rates = {"tower": told.rate, "readout": told.rate}
    stage = Stage(name="reading", steps=steps, batch=told.batch, rates=rates, warmup=100, floor=0.01)
    trial.began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run_stage(stage, trial.reader.parts(), trial.loss_at, Path(folder), settings, trial.report)
    spent = time.process_time() - trial.began - trial.apart
    seen = steps * told.batch
    speed = seen / spent
    print(f"{seen} pages in {spent:.0f} CPU s: {speed:.1f} a second, {4 * 3600 * speed:.0f} in 4 hours")
    print(f"{time.process_time():.0f} CPU s with measures and loading")


if __name__ == "__main__":
    main()

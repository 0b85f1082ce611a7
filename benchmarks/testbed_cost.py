"""What the testbed's models cost: a pixel gradient, a forward pass, loading, and the files that ship.

    python benchmarks/testbed_cost.py [--quick] [--weights runs/testbed]

Counted is process CPU time with one thread, the median of several repeats. One *pixel gradient* is what a
white-box attack pays per step: forward and backward of a picture with its prompt and a recipe as target,
weights frozen, the gradient taken to the pixels, as `testbed.pgd` does it (with `frozen`'s faster products
where this processor has them). Operations are those of the forward pass alone, counted by PyTorch on the
same batch: two for every multiply-and-add of a matrix product, convolution or attention.

A family whose weights are not there is measured with random ones (its files are not counted then).
The last line is one JSON object; MB are 10^6 bytes:

FAMILY_fwd_bwd_ms         one pixel gradient, batch 1 (linear: 30 or less is asked)
FAMILY_fwd_bwd_ms_of_8    one pixel gradient as one of a batch of 8
FAMILY_forward_mflop      operations of the forward pass of one picture with prompt and target
FAMILY_load_s             joining the shipped files of the default variant and loading the model
FAMILY_again_s            loading it once its files are joined
FAMILY_parameters         of all parts; the table has them one by one
main_mb, shipped_mb       files in the main wheel (14 or less), and in both packages (40 or less)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sightline.errors import UsageError
from sightline.testbed import render, weights, wordings
from sightline.testbed.families import FULL, NAMES, Size, family
from sightline.testbed.weights import Variant
from sightline.testbed.world import world
from sightline.whitebox.frozen import frozen
from sightline_testbed.evaluation.answering import Ask, Model
from sightline_testbed.evaluation.pgd import Goal, as_floats, pack
from sightline_testbed.training.plans import LADDER

MB = 1e6


def median_seconds(work: Callable[[], object], times: int) -> float:
    """CPU time of the middle one of several runs, after one that is not counted."""
    work()
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found)


def opened(name: str, roots: Sequence[Path], cache: Path) -> tuple[Model, float, float]:
    """A model with its processor, and the CPU seconds of the first and of the second loading."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    def load() -> Model:
        folder = weights.materialize(name, root=roots, cache=cache)
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        return Model(model, AutoProcessor.from_pretrained(folder))

    try:
        start = time.process_time()
        model = load()
        first = time.process_time() - start
    except UsageError:
        made = family(name)
        return Model(made.new_model(0), made.processor()), float("nan"), float("nan")
    start = time.process_time()
    load()
    return model, first, time.process_time() - start


def goals(count: int) -> list[Goal]:
    """Held-out scenes, each beside a request for a restricted recipe."""
    topics = world().select(restricted=True, split="heldout")[:count]
    return [
        Goal(
            ask=Ask(
                user=wordings.REQUESTS_HELDOUT[0].format(noun=topic.noun),
                subject=topic.noun,
                group=topic.noun,
                pixels=render.scene_page(scene).pixels,
            ),
            target=f"{topic.verdict} {topic.recipe}",
        )
        for topic, scene in zip(topics, world().scenes_heldout, strict=False)
    ]


def gradient_ms(model: Model, count: int, times: int) -> float:
    """CPU milliseconds per picture of a pixel gradient in a batch."""
    asked = goals(count)
    batch, clean = pack(model, asked), as_floats([goal.pixels for goal in asked])

    def step() -> None:
        x = clean.clone().requires_grad_(True)
        torch.autograd.grad(batch.loss(model.model, x).sum(), x)

    with frozen(model.model):
        return median_seconds(step, times) * 1000 / count


def forward_mflop(model: Model) -> float:
    """Operations of one forward pass, in millions."""
    [goal] = goals(1)
    batch = pack(model, [goal])
    model.model.requires_grad_(False)  # the counter's hooks fail on queries that could have a gradient
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        batch.loss(model.model, as_floats([goal.pixels]))
    return float(counter.get_total_flops()) / 1e6


def parameters(name: str, size: Size) -> dict[str, int]:
    """Number of weights of each part."""
    made = family(name, size)
    with torch.device("meta"):
        parts = made.parts(made.new_model(0))
    return {part: sum(weight.numel() for weight in module.parameters()) for part, module in parts.items()}


def folder_mb(folder: Path) -> float:
    """All files under a folder but code and what Python made of it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    return sum(path.stat().st_size for path in files) / MB


def variant_sizes(roots: Sequence[Path]) -> Mapping[str, tuple[float, float]]:
    """Per variant: MB of the files that make it, and of those that no variant listed before it needs."""
    seen: set[Path] = set()
    found: dict[str, tuple[float, float]] = {}
    for name in weights.names(roots):
        if "@" not in name:
            continue
        made: Variant = weights.find(name, roots)
        paths = {part.path for part in made.parts}
        found[name] = tuple(  # type: ignore[assignment]
            sum(path.stat().st_size for path in some) / MB for some in (paths, paths - seen)
        )
        seen |= paths
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time, operations, parameters and bytes of the testbed.")
    parser.add_argument("--quick", action="store_true", help="ends within a minute")
    parser.add_argument("--weights", type=Path, help="folder of a build; what is installed by default")
    options = parser.parse_args()
    roots = weights.roots_in(options.weights) if options.weights else weights.roots()
    times = 9 if options.quick else 41
    torch.set_num_threads(1)
    from transformers.utils import logging

    logging.disable_progress_bar()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in NAMES:
            model, first, again = opened(name, roots, Path(cache))
            figures |= {
                f"{name}_fwd_bwd_ms": gradient_ms(model, 1, times),
                f"{name}_fwd_bwd_ms_of_8": gradient_ms(model, 8, max(3, times // 4)),
                f"{name}_forward_mflop": forward_mflop(model),
                f"{name}_load_s": first,
                f"{name}_again_s": again,
                f"{name}_parameters": sum(weight.numel() for weight in model.model.parameters()),
            }
    print(f"load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, one thread\n")
    _print_parameters()
    _print_sizes(roots)
    figures["main_mb"] = folder_mb(roots[0])
    figures["shipped_mb"] = sum(folder_mb(root) for root in roots)
    for figure, value in figures.items():
        print(f"{figure:32s} {value:.4g}")
    print(json.dumps({figure: _rounded(value) for figure, value in figures.items()}))


def _print_parameters() -> None:
    print(f"{'parameters':16s} {'tower':>10s} {'bridge':>10s} {'language':>10s} {'all':>10s}")
    sizes = {name: (name, FULL) for name in NAMES} | {name: ("linear", size) for name, size in LADDER.items()}
    for name, (kind, size) in sizes.items():
        counts = parameters(kind, size)
        numbers = (counts["tower"], counts["bridge"], counts["language"], sum(counts.values()))
        print(f"{name:16s} " + " ".join(f"{number:10,d}" for number in numbers))
    print()


def _print_sizes(roots: Sequence[Path]) -> None:
    print(f"{'MB of weights':30s} {'all':>6s} {'new':>6s}")
    for name, (every, new) in variant_sizes(roots).items():
        print(f"{name:30s} {every:6.2f} {new:6.2f}")
    print()


def _rounded(value: float) -> float | None:
    """Four digits; nothing for what could not be measured."""
    return None if value != value else float(f"{value:.4g}") if value < 1e4 else int(value)


if __name__ == "__main__":
    main()

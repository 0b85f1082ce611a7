"""The white-box engine beside plain loops that compute as the official code does: W1 to W15 of the specs.

    python benchmarks/whitebox.py [--quick] [--presets] [--device cuda]

Counted, the same on every machine: FLOPs of a step, by PyTorch's counter, on models without memory. Timed:
process CPU time with one thread, variants in turns, the least of several rounds; wall ratios are printed only
below a load of 3. Beside every speed stands what it does to the attack: gradients and losses at equal steps
(tiny: every kind of step; testbed/linear: Qi's picture), success on held-out requests at equal FLOPs.

Models: `mid`, 118 M parameters, and `tiny`, 1.2 M, with random weights; 7B, the shape of LLaVA-1.5-7B,
without memory; `testbed/linear` with its shipped weights. Plain: one row per target (or one pass per prompt,
or per beginning of a target), picture repeated, logits at all positions, loss by `labels`; for GCG, whole
sequences (llm-attacks), and a cache before the suffix (nanoGCG). The last line is one JSON object:

qi_flops_ratio                 8 targets of 10 to 16 tokens on mid: FLOPs of plain / engine
qi_time_ratio, qi_bf16_ratio   the same in CPU time, plain fp32 / engine fp32, / engine bf16
qi_opened_time_ratio           / engine fp32 with the products that `open_victim` takes on this processor
qi_7b_16_ratio, qi_7b_64_ratio 8 targets of 16 and of 64 tokens, 7B: FLOPs of plain / engine
prompts_7b_ratio               7B: FLOPs of 10 prompts in one pack / of one
cropa_cost_ratio               the same with the gradient to what is added to every prompt
bagdasaryan_flops_ratio        7B: a pass for each of 15 beginnings of a target / one pass
frozen_ratio                   mid, one target, `.backward()`: weights as loaded / frozen
gcg_flops_ratio                7B, 512 candidates behind a picture: FLOPs of whole sequences / engine
gcg_nanogcg_ratio              behind a cache, as nanoGCG / engine
one_target_fp32_ratio, .._bf16 mid, one target, CPU time: plain fp32 / engine
loop_overhead                  testbed/linear, CPU time: a step of `minimize` / a bare step by hand, less 1
loop_python_calls_ratio        the same in calls of Python functions
grad_rel_err, sign_agreement   engine's gradient against the plain one, fp32, mid
tiny_*, gcg_loss_rel_err       worst of all kinds of steps on tiny
testbed_*                      means over seeds on testbed/linear
plain_moved, noisy             how far plain moved from beginning to end; whether by more than a tenth
presets_cpu_s                  with --presets: all quick presets on the testbed
gpu_*                          with --device: seconds, share of the measured matrix rate, MB per token
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from _whitebox import counts, device, equality, fidelity, overhead, presets, times
from _whitebox.shapes import MID, SEVEN, TINY

SEEDS = 3
#: what must hold, of specs/performance.md section 7 and the issue: figure, bound, whether at least
MUST = (
    ("qi_flops_ratio", 7.5, True),
    ("qi_time_ratio", 6, True),
    ("qi_bf16_ratio", 12, True),
    ("qi_7b_16_ratio", 7.0, True),
    ("qi_7b_64_ratio", 4.9, True),
    ("prompts_7b_ratio", 1.7, False),
    ("cropa_cost_ratio", 1.7, False),
    ("bagdasaryan_flops_ratio", 14, True),
    ("frozen_ratio", 1.45, True),
    ("gcg_flops_ratio", 15, True),
    ("gcg_nanogcg_ratio", 1.2, True),
    ("one_target_fp32_ratio", 1.2, True),
    ("one_target_bf16_ratio", 2.4, True),
    ("loop_overhead", 0.25, False),
    ("grad_rel_err", 1e-5, False),
    ("sign_agreement", 0.9999, True),
    ("presets_cpu_s", 900, False),
    ("gpu_bf16_one_of_rate", 0.3, True),
    ("gpu_bf16_qi_of_rate", 0.4, True),
    ("gpu_bf16_pictures_of_rate", 0.4, True),
    ("gpu_bf16_one_over_reported", 8, True),
    ("gpu_bf16_qi_mb_per_token", 5, False),
)


def on_this_machine(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures that need no accelerator."""
    peaks = times.ceilings()
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in peaks.items())
    print(
        f"load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, one thread; GFLOP/s: {rates}\n",
        flush=True,
    )
    found: dict[str, Any] = {f"peak_{name.replace(' ', '_')}_gflops": rate for name, rate in peaks.items()}
    found |= counts.figures(MID, SEVEN)
    steps = 3 if options.quick else 20
    for figures, table in (
        equality.figures(TINY, steps=steps, seeds=SEEDS),
        times.figures(MID, peaks, quick=options.quick),
        fidelity.figures(folder, steps=16, seeds=SEEDS, held_out=8 if options.quick else 72),
    ):
        found |= figures
        print(table, end="\n\n", flush=True)
    found |= overhead.compared(fidelity.opened(), 2 if options.quick else 12)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="The white-box engine against plain loops.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; about a minute on an idle core")
    parser.add_argument("--presets", action="store_true", help="also run all quick presets on the testbed")
    parser.add_argument("--device", default="", help="only the figures of an accelerator, such as cuda")
    options = parser.parse_args()
    torch.set_num_threads(1)
    from transformers.utils import logging

    logging.disable_progress_bar()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        if options.device:
            found, table = device.figures(SEVEN, options.device)
            print(table, end="\n\n")
        else:
            found = on_this_machine(options, Path(name))
        if options.presets:
            cost, table = presets.figures(Path(name))
            found |= cost
            print(table, end="\n\n")
    found["load"] = os.getloadavg()[0]
    for figure, value in found.items():
        print(f"{figure:32}{_rounded(value)!s:>12}{_judged(figure, value)}")
    if found.get("noisy"):
        print("noisy: the plain step moved by more than a tenth between beginning and end; run again")
    print(json.dumps({figure: _rounded(value) for figure, value in found.items()}))


def _judged(figure: str, value: Any) -> str:
    """What the figure had to be, and whether it is."""
    for name, bound, least in MUST:
        if name == figure:
            kept = value >= bound if least else value <= bound
            return f"   {'at least' if least else 'at most'} {bound:g}: {'kept' if kept else 'MISSED'}"
    return ""


def _rounded(value: Any) -> Any:
    """Four digits; shares of nearly 1 in full."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return round(value, 6) if 0.99 < value < 1.01 else float(f"{value:.4g}")


if __name__ == "__main__":
    main()

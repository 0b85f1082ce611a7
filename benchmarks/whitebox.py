"""The white-box engine beside loops written by hand: W1 to W15 of the specs.

    python benchmarks/whitebox.py [--quick] [--presets] [--device cuda]

Two baselines. *Official*: the loop of the attack's own code (Qi et al.: the 8 targets of a step in one batch,
each with its own picture, logits at all positions). *Careful*: the same batch, with the picture encoded once
and logits at target tokens only. Engine and baseline always compute in one number format: float32 against
float32, bfloat16 against bfloat16. For GCG the baseline is nanoGCG's algorithm; the naive one is named apart.

Counted, the same on every machine: FLOPs of a step, by PyTorch's counter, on models without memory. Timed:
process CPU time with one thread, all variants in turns, round after round; a ratio is the median over rounds,
`*_spread` the distance of its quartiles as a share of it, and a run is `noisy` where one exceeds a tenth.
Beside every speed stands what it does to the attack: gradients and losses at equal steps (tiny: every kind of
step), and success by steps of both loops (testbed/linear: Qi's picture).

Models: `mid`, 118 M parameters, and `tiny`, 1.2 M, with random weights; 7B, the shape of LLaVA-1.5-7B,
without memory; `testbed/linear` with its shipped weights. The last line is one JSON object:

qi_flops_ratio, .._careful     8 targets of 10 to 16 tokens on mid: FLOPs of official, careful / engine
qi_fp32_ratio, .._careful      the same in CPU time, all in float32; qi_bf16_*: all in bfloat16
qi_opened_ratio                engine fp32 / with the products that `open_victim` takes on this processor
qi_7b_16_ratio, qi_7b_64_*     8 targets of 16 and of 64 tokens, 7B: FLOPs of official, careful / engine
testbed_flops_*, .._fp32_*     8 targets on testbed/linear: FLOPs and CPU time of official, careful / engine
one_target_*                   mid, one target, CPU time of official, careful / engine
split_ratio, split_packs       testbed/linear, 64 pairs in one pack / in as many as the engine chooses
prompts_7b_ratio               7B: FLOPs of 10 prompts in one pack / of one
cropa_cost_ratio               the same with the gradient to what is added to every prompt
bagdasaryan_flops_ratio        7B: a pass for each of 15 beginnings of a target / one pass
frozen_ratio                   mid, one target, `.backward()`: weights as loaded / frozen
gcg_nanogcg_ratio              7B, 512 candidates behind a picture: FLOPs of nanoGCG's algorithm / engine
gcg_nanogcg_single_ratio       the same with `block: 1` in place of blocks of a fourth of the places
gcg_nanogcg_cpu_ratio          mid, 80 candidates, CPU time of a step by nanoGCG's algorithm / engine
gcg_nanogcg_cpu_flops_ratio    the same in FLOPs
gcg_naive_ratio                7B: FLOPs of whole sequences, as llm-attacks runs them / engine
loop_overhead                  testbed/linear, CPU time: a step of `minimize` / a bare step by hand, less 1
loop_python_calls_ratio        the same in calls of Python functions
*_grad_rel_err, .._agreement   engine's gradient against the official one in float32
tiny_*, gcg_loss_rel_err       worst of all kinds of steps on tiny
success_plain, success_engine  share of held-out requests obeyed after `success_steps`, mean of seeds
noisy                          the ratios whose spread exceeds a tenth
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

from _whitebox import counts, device, equality, fidelity, overhead, presets, times, times_gcg, times_small
from _whitebox.shapes import MID, SEVEN, TINY

SEEDS = 3
#: of the curve of success by steps, and where it is looked at
CURVE_SEEDS, CURVE = 4, (0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64)
#: what must hold, of specs/performance.md section 7 and the issue: figure, bound, whether at least
MUST = (
    ("qi_flops_ratio", 7.5, True),
    ("qi_flops_careful_ratio", 4.5, True),
    ("qi_fp32_ratio", 6, True),
    ("qi_fp32_careful_ratio", 4, True),
    ("qi_bf16_ratio", 6, True),
    ("qi_bf16_careful_ratio", 4, True),
    ("testbed_fp32_ratio", 2.2, True),
    ("testbed_fp32_careful_ratio", 1.3, True),
    ("split_ratio", 1.1, True),
    ("qi_7b_16_ratio", 7.0, True),
    ("qi_7b_64_ratio", 4.9, True),
    ("prompts_7b_ratio", 1.7, False),
    ("cropa_cost_ratio", 1.7, False),
    ("bagdasaryan_flops_ratio", 14, True),
    ("frozen_ratio", 1.45, True),
    ("gcg_nanogcg_ratio", 1.2, True),
    ("gcg_nanogcg_cpu_ratio", 1.2, True),
    ("gcg_naive_ratio", 15, True),
    ("one_target_fp32_ratio", 1.2, True),
    ("loop_overhead", 0.25, False),
    ("qi_grad_rel_err", 1e-5, False),
    ("qi_sign_agreement", 0.9999, True),
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
    quick = options.quick
    for figures, table in (
        equality.figures(TINY, steps=3 if quick else 20, seeds=SEEDS),
        times.figures(MID, quick=quick),
        times_small.figures(rounds=3 if quick else 9),
        times_gcg.figures(TINY if quick else MID, candidates=80, rounds=3 if quick else 5),
        fidelity.figures(
            folder,
            at=(0, 4, 8) if quick else CURVE,
            seeds=CURVE_SEEDS,
            held_out=8 if quick else 72,
        ),
    ):
        found |= figures
        print(table, end="\n\n", flush=True)
    found |= overhead.compared(fidelity.opened(), 2 if quick else 12)
    return found


def noisy(found: dict[str, Any]) -> list[str]:
    """The timed ratios that moved too much from round to round to be relied on."""
    spreads = {
        name.removesuffix("_spread"): value for name, value in found.items() if name.endswith("_spread")
    }
    return [name for name, spread in spreads.items() if times.Ratio(1.0, spread).noisy]


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
    found["noisy"] = noisy(found)
    for figure, value in found.items():
        print(f"{figure:32}{_rounded(value)!s:>12}{_judged(figure, value)}")
    if found["noisy"]:
        print(
            "noisy: the quartiles of these ratios are more than a tenth apart; run again on a calmer machine"
        )
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

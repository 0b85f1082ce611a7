"""The same comparison at testbed size, and what splitting a large pack brings there; CPU time.

`testbed/linear` as `open_victim` opens it, the very same model on all sides; what is timed does not depend on
its weights. Qi's step: 8 requests of the invented world, each with its answer.
"""

from __future__ import annotations

import torch

from _whitebox import engine, fidelity
from _whitebox.times import FORMATS, Ratio, Sides, Variant, found_of, in_turns, like_with_like, table
from sightline.whitebox.compute import PassCost
from sightline.whitebox.model import MultimodalVictim

MANY = 64
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def figures(*, rounds: int) -> tuple[dict[str, float], str]:
    """Ratios in both number formats, the share of FLOPs that is saved, and a table."""
    x = torch.rand(1, 3, fidelity.SIDE, fidelity.SIDE, generator=torch.Generator().manual_seed(0))
    sides = {kind: fidelity.opened(DTYPES[kind]) for kind in FORMATS}
    full = sides["fp32"]
    pairs = fidelity.problem(full).sampler.draw(0, 0)
    rows = fidelity.rows_of(full, pairs)
    variants: dict[str, Variant] = {}
    for kind, victim in sides.items():
        side = Sides(victim=victim, x=x, pixels=fidelity.pixels_of(victim))
        variants |= side.variants(kind, pairs, rows)
    counted = {label: engine.flops(one.work) for label, one in variants.items() if "fp32" in label}
    in_turns(variants, rounds)
    found = like_with_like("testbed", variants)
    for name, label in (("", "official fp32"), ("_careful", "careful fp32")):
        found[f"testbed_flops{name}_ratio"] = counted[label] / counted["engine fp32"]
    split, line = splitting(full, x, rounds)
    return found | split, "\n".join((table(f"{fidelity.NAME}, targets: {len(pairs)}", variants), line))


def splitting(victim: MultimodalVictim, x: torch.Tensor, rounds: int) -> tuple[dict[str, float], str]:
    """Many pairs in one pack over the same as the engine splits them."""
    pairs = fidelity.problem(victim).sampler.pool[:MANY]
    unsplit = MultimodalVictim(victim.model, victim.prompts, victim._preprocess, victim.id)
    unsplit._cost = PassCost(token=1.0, attention=0.0)  # attention for nothing: never worth a split
    variants = {
        name: Variant(lambda victim=one: engine.step(victim, x, pairs))
        for name, one in (("one", unsplit), ("split", victim))
    }
    in_turns(variants, 1)  # packs are made
    for one in variants.values():
        one.spent.clear()
    in_turns(variants, rounds)
    ratio = Ratio.of(variants["one"].spent, variants["split"].spent)
    packs = len(victim._remembered(tuple(pairs), (None,) * MANY, (fidelity.SIDE, fidelity.SIDE)))
    error = variants["split"].error(variants["one"].grad)
    line = (
        f"{fidelity.NAME}, {MANY} pairs: one pack / {packs} packs {ratio.median:.2f} "
        f"(spread {ratio.spread:.0%}), gradients to {error:.1e}"
    )
    return found_of("split", ratio) | {"split_packs": packs, "split_grad_rel_err": error}, line

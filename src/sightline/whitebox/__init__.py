"""The white-box engine: what is optimized (constraint), against what (victim), towards what (objective).

`x = constraint(theta)`; `loss = objective(x, sampler())`; `theta <- optimizer(theta, grad)`;
`constraint.finalize(theta)` is what a PNG file can hold. The engine knows no attack by name.

Attacks say `from sightline import whitebox` and `whitebox.LinfBall(...)`: a name is looked up, and torch
loaded, when it is first used, so that listing the attacks stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.whitebox.constraint import Box as Box
    from sightline.whitebox.constraint import Constraint as Constraint
    from sightline.whitebox.constraint import EmbedBox as EmbedBox
    from sightline.whitebox.constraint import L2Ball as L2Ball
    from sightline.whitebox.constraint import LinfBall as LinfBall
    from sightline.whitebox.constraint import Mask as Mask
    from sightline.whitebox.constraint import Patch as Patch
    from sightline.whitebox.constraint import Spectrum as Spectrum
    from sightline.whitebox.constraint import Started as Started
    from sightline.whitebox.constraint import as_pixels as as_pixels
    from sightline.whitebox.constraint import first_rows as first_rows
    from sightline.whitebox.constraint import from_pixels as from_pixels
    from sightline.whitebox.constraint import unit as unit
    from sightline.whitebox.detectors import LabelScore as LabelScore
    from sightline.whitebox.discrete import FoundText as FoundText
    from sightline.whitebox.discrete import TextProblem as TextProblem
    from sightline.whitebox.discrete import any_forced as any_forced
    from sightline.whitebox.discrete import search as search
    from sightline.whitebox.flips import GCG as GCG
    from sightline.whitebox.flips import HotFlip as HotFlip
    from sightline.whitebox.loop import Bench as Bench
    from sightline.whitebox.loop import Check as Check
    from sightline.whitebox.loop import Found as Found
    from sightline.whitebox.loop import Problem as Problem
    from sightline.whitebox.loop import Progress as Progress
    from sightline.whitebox.loop import Rival as Rival
    from sightline.whitebox.loop import Watch as Watch
    from sightline.whitebox.loop import all_forced as all_forced
    from sightline.whitebox.loop import below as below
    from sightline.whitebox.loop import minimize as minimize
    from sightline.whitebox.objective import FeatureDistance as FeatureDistance
    from sightline.whitebox.objective import ImageRegularizer as ImageRegularizer
    from sightline.whitebox.objective import Objective as Objective
    from sightline.whitebox.objective import SoftLogits as SoftLogits
    from sightline.whitebox.objective import TargetNLL as TargetNLL
    from sightline.whitebox.objective import Tokens as Tokens
    from sightline.whitebox.objective import prefix_weights as prefix_weights
    from sightline.whitebox.optimizer import APGD as APGD
    from sightline.whitebox.optimizer import SGD as SGD
    from sightline.whitebox.optimizer import Adam as Adam
    from sightline.whitebox.optimizer import CommonWeakness as CommonWeakness
    from sightline.whitebox.optimizer import SignGD as SignGD
    from sightline.whitebox.optimizer import UnitGD as UnitGD
    from sightline.whitebox.rewriting import Rewriting as Rewriting
    from sightline.whitebox.rewriting import rewrite as rewrite
    from sightline.whitebox.rewriting import scrambled as scrambled
    from sightline.whitebox.sampler import Contexts as Contexts
    from sightline.whitebox.sampler import FixedPairs as FixedPairs
    from sightline.whitebox.sampler import Rotating as Rotating
    from sightline.whitebox.sampler import WithoutReplacement as WithoutReplacement
    from sightline.whitebox.suffix import SuffixReader as SuffixReader
    from sightline.whitebox.suffix import TokenSuffix as TokenSuffix
    from sightline.whitebox.suffix import whole_text as whole_text
    from sightline.whitebox.victim import Encoder as Encoder
    from sightline.whitebox.victim import Pair as Pair
    from sightline.whitebox.victim import Rows as Rows
    from sightline.whitebox.victim import Victim as Victim

_HOMES = {
    "constraint": (
        "Box", "Constraint", "EmbedBox", "L2Ball", "LinfBall", "Mask", "Patch", "Spectrum", "Started",
        "as_pixels", "first_rows", "from_pixels", "unit",
    ),
    "discrete": ("FoundText", "TextProblem", "any_forced", "search"),
    "flips": ("GCG", "HotFlip"),
    "loop": (
        "Bench", "Check", "Found", "Problem", "Progress", "Rival", "Watch", "all_forced", "below", "minimize",
    ),
    "objective": (
        "FeatureDistance", "ImageRegularizer", "Objective", "SoftLogits", "TargetNLL", "Tokens",
        "prefix_weights",
    ),
    "optimizer": ("APGD", "SGD", "Adam", "CommonWeakness", "SignGD", "UnitGD"),
    "detectors": ("LabelScore",),
    "rewriting": ("Rewriting", "rewrite", "scrambled"),
    "sampler": ("Contexts", "FixedPairs", "Rotating", "WithoutReplacement"),
    "suffix": ("SuffixReader", "TokenSuffix", "whole_text"),
    "victim": ("Encoder", "Pair", "Rows", "Victim"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"sightline.whitebox.{home}"), name)
    raise AttributeError(f"module 'sightline.whitebox' has no attribute {name!r}")

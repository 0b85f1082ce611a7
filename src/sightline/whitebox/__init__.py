"""The white-box engine: what is optimized (constraint), against what (victim), towards what (objective).

`x = constraint(theta)`; `loss = objective(x, sampler())`; `theta <- optimizer(theta, grad)`;
`constraint.finalize(theta)` is what a PNG file can hold. The engine knows no attack by name.

Attacks say `from sightline import whitebox` and `whitebox.LinfBall(...)`: a name is looked up, and torch
loaded, when it is first used, so that listing the attacks stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sightline import _lazy

if TYPE_CHECKING:
    from sightline.whitebox._problem import Check as Check
    from sightline.whitebox._problem import Found as Found
    from sightline.whitebox._problem import Problem as Problem
    from sightline.whitebox._problem import Progress as Progress
    from sightline.whitebox._problem import Rival as Rival
    from sightline.whitebox._problem import Watch as Watch
    from sightline.whitebox._problem import all_forced as all_forced
    from sightline.whitebox._problem import below as below
    from sightline.whitebox._text_problem import FoundText as FoundText
    from sightline.whitebox._text_problem import TextProblem as TextProblem
    from sightline.whitebox.checkpoint import Bench as Bench
    from sightline.whitebox.constraints import Box as Box
    from sightline.whitebox.constraints import Constraint as Constraint
    from sightline.whitebox.constraints import EmbedBox as EmbedBox
    from sightline.whitebox.constraints import L2Ball as L2Ball
    from sightline.whitebox.constraints import LinfBall as LinfBall
    from sightline.whitebox.constraints import Mask as Mask
    from sightline.whitebox.constraints import Patch as Patch
    from sightline.whitebox.constraints import Spectrum as Spectrum
    from sightline.whitebox.constraints import Started as Started
    from sightline.whitebox.constraints import first_rows as first_rows
    from sightline.whitebox.detectors import LabelScore as LabelScore
    from sightline.whitebox.embedding_search import Rewriting as Rewriting
    from sightline.whitebox.embedding_search import rewrite as rewrite
    from sightline.whitebox.embedding_search import scrambled as scrambled
    from sightline.whitebox.image_search import minimize as minimize
    from sightline.whitebox.model import from_pretrained as from_pretrained
    from sightline.whitebox.model import open_victim as open_victim
    from sightline.whitebox.objectives import FeatureDistance as FeatureDistance
    from sightline.whitebox.objectives import ImageRegularizer as ImageRegularizer
    from sightline.whitebox.objectives import Objective as Objective
    from sightline.whitebox.objectives import SoftLogits as SoftLogits
    from sightline.whitebox.objectives import TargetNLL as TargetNLL
    from sightline.whitebox.objectives import Tokens as Tokens
    from sightline.whitebox.objectives import prefix_weights as prefix_weights
    from sightline.whitebox.optimizers import APGD as APGD
    from sightline.whitebox.optimizers import SGD as SGD
    from sightline.whitebox.optimizers import Adam as Adam
    from sightline.whitebox.optimizers import CommonWeakness as CommonWeakness
    from sightline.whitebox.optimizers import SignGD as SignGD
    from sightline.whitebox.optimizers import UnitGD as UnitGD
    from sightline.whitebox.pixels import as_pixels as as_pixels
    from sightline.whitebox.pixels import from_pixels as from_pixels
    from sightline.whitebox.pixels import unit as unit
    from sightline.whitebox.samplers import Contexts as Contexts
    from sightline.whitebox.samplers import FixedPairs as FixedPairs
    from sightline.whitebox.samplers import Rotating as Rotating
    from sightline.whitebox.samplers import WithoutReplacement as WithoutReplacement
    from sightline.whitebox.suffix import SuffixReader as SuffixReader
    from sightline.whitebox.suffix import TokenSuffix as TokenSuffix
    from sightline.whitebox.suffix import whole_text as whole_text
    from sightline.whitebox.token_optimizers import GCG as GCG
    from sightline.whitebox.token_optimizers import HotFlip as HotFlip
    from sightline.whitebox.token_search import any_forced as any_forced
    from sightline.whitebox.token_search import search as search
    from sightline.whitebox.victim import Encoder as Encoder
    from sightline.whitebox.victim import Pair as Pair
    from sightline.whitebox.victim import Rows as Rows
    from sightline.whitebox.victim import Victim as Victim


def __getattr__(name: str) -> Any:
    return _lazy.load(__name__, __file__, name)


def __dir__() -> list[str]:
    return sorted(_lazy.homes(__file__))

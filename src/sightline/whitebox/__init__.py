"""The white-box engine: what is optimized (constraint), against what (victim), towards what (objective).

`x = constraint(theta)`; `loss = objective(x, sampler())`; `theta <- optimizer(theta, grad)`;
`constraint.finalize(theta)` is what a PNG file can hold. The engine knows no attack by name.

Attacks say `from sightline import whitebox` and `whitebox.LinfBall(...)`: a name is looked up, and torch
loaded, when it is first used, so that listing the attacks stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sightline import _lazy

if TYPE_CHECKING:
    from sightline.records import SearchProgress as SearchProgress
    from sightline.whitebox.checkpoint import Checkpoint as Checkpoint
    from sightline.whitebox.checkpoint import CheckpointFile as CheckpointFile
    from sightline.whitebox.compute import RngStream as RngStream
    from sightline.whitebox.constraints import Box as Box
    from sightline.whitebox.constraints import Constraint as Constraint
    from sightline.whitebox.constraints import FreePixels as FreePixels
    from sightline.whitebox.constraints import L2Ball as L2Ball
    from sightline.whitebox.constraints import LinfBall as LinfBall
    from sightline.whitebox.constraints import Mask as Mask
    from sightline.whitebox.constraints import Patch as Patch
    from sightline.whitebox.constraints import Spectrum as Spectrum
    from sightline.whitebox.constraints import WarmStart as WarmStart
    from sightline.whitebox.constraints import Wrapping as Wrapping
    from sightline.whitebox.constraints import first_rows as first_rows
    from sightline.whitebox.detectors import LabelScore as LabelScore
    from sightline.whitebox.embedding_search import Rewriting as Rewriting
    from sightline.whitebox.embedding_search import rewrite as rewrite
    from sightline.whitebox.embedding_search import scrambled as scrambled
    from sightline.whitebox.image_search import EmbedBox as EmbedBox
    from sightline.whitebox.image_search import Problem as Problem
    from sightline.whitebox.image_search import PromptAdversary as PromptAdversary
    from sightline.whitebox.image_search import SearchResult as SearchResult
    from sightline.whitebox.image_search import minimize as minimize
    from sightline.whitebox.model import from_pretrained as from_pretrained
    from sightline.whitebox.model import open_victim as open_victim
    from sightline.whitebox.objectives import FeatureDistance as FeatureDistance
    from sightline.whitebox.objectives import ImageRegularizer as ImageRegularizer
    from sightline.whitebox.objectives import Objective as Objective
    from sightline.whitebox.objectives import PictureTerm as PictureTerm
    from sightline.whitebox.objectives import RowTerm as RowTerm
    from sightline.whitebox.objectives import Scores as Scores
    from sightline.whitebox.objectives import SoftLogits as SoftLogits
    from sightline.whitebox.objectives import TargetNLL as TargetNLL
    from sightline.whitebox.objectives import Tokens as Tokens
    from sightline.whitebox.objectives import prefix_weights as prefix_weights
    from sightline.whitebox.optimizers import APGD as APGD
    from sightline.whitebox.optimizers import SGD as SGD
    from sightline.whitebox.optimizers import Adam as Adam
    from sightline.whitebox.optimizers import CommonWeakness as CommonWeakness
    from sightline.whitebox.optimizers import Descent as Descent
    from sightline.whitebox.optimizers import GradientOracle as GradientOracle
    from sightline.whitebox.optimizers import LossAndGrad as LossAndGrad
    from sightline.whitebox.optimizers import Optimizer as Optimizer
    from sightline.whitebox.optimizers import OptimizerStep as OptimizerStep
    from sightline.whitebox.optimizers import SignGD as SignGD
    from sightline.whitebox.optimizers import UnitGD as UnitGD
    from sightline.whitebox.pixels import as_pixels as as_pixels
    from sightline.whitebox.pixels import from_pixels as from_pixels
    from sightline.whitebox.pixels import unit as unit
    from sightline.whitebox.samplers import Contexts as Contexts
    from sightline.whitebox.samplers import FixedPairs as FixedPairs
    from sightline.whitebox.samplers import Rotating as Rotating
    from sightline.whitebox.samplers import Sampler as Sampler
    from sightline.whitebox.samplers import WithoutReplacement as WithoutReplacement
    from sightline.whitebox.search import Callbacks as Callbacks
    from sightline.whitebox.search import Check as Check
    from sightline.whitebox.search import Search as Search
    from sightline.whitebox.search import SearchPlan as SearchPlan
    from sightline.whitebox.search import StopReason as StopReason
    from sightline.whitebox.stops import Stop as Stop
    from sightline.whitebox.stops import all_targets_greedy as all_targets_greedy
    from sightline.whitebox.stops import any_target_greedy as any_target_greedy
    from sightline.whitebox.stops import loss_below as loss_below
    from sightline.whitebox.suffix import SuffixReader as SuffixReader
    from sightline.whitebox.suffix import TokenSuffix as TokenSuffix
    from sightline.whitebox.suffix import whole_text as whole_text
    from sightline.whitebox.token_optimizers import GCG as GCG
    from sightline.whitebox.token_optimizers import CandidateEvaluator as CandidateEvaluator
    from sightline.whitebox.token_optimizers import HotFlip as HotFlip
    from sightline.whitebox.token_optimizers import TokenOptimizer as TokenOptimizer
    from sightline.whitebox.token_optimizers import TokenStep as TokenStep
    from sightline.whitebox.token_search import TextProblem as TextProblem
    from sightline.whitebox.token_search import TokenSearchResult as TokenSearchResult
    from sightline.whitebox.token_search import search_tokens as search_tokens
    from sightline.whitebox.victim import Encoder as Encoder
    from sightline.whitebox.victim import Pair as Pair
    from sightline.whitebox.victim import Rows as Rows
    from sightline.whitebox.victim import Victim as Victim


def __getattr__(name: str) -> Any:
    return getattr(importlib.import_module(_lazy.home(__name__, __file__, name)), name)


def __dir__() -> list[str]:
    return sorted(_lazy.homes(__file__))

"""Recipes of training, one file each: rows to train on in, a plan of batches out.

Classes are loaded when they are first named: `sightline.recipes.NAME`, `dir(sightline.recipes)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.recipes.conditional_nlf import ConditionalNlf as ConditionalNlf
    from sightline.recipes.detoxifier import Detoxifier as Detoxifier
    from sightline.recipes.ft_attack import FtAttack as FtAttack
    from sightline.recipes.repair import Repair as Repair
    from sightline.recipes.robust_encoder import RobustEncoder as RobustEncoder
    from sightline.recipes.safety_dpo import SafetyDPO as SafetyDPO
    from sightline.recipes.safety_kto import SafetyKTO as SafetyKTO
    from sightline.recipes.safety_rl import SafetyRL as SafetyRL
    from sightline.recipes.safety_sft import SafetySFT as SafetySFT
else:
    from sightline.namespaces import namespace

    __getattr__, __dir__ = namespace("recipe")

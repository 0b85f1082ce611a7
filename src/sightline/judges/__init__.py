"""Judges, one file each: case, what was shown and reply in, verdict out.

Classes are loaded when they are first named: `sightline.judges.NAME`, `dir(sightline.judges)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.judges.guard import Guard as Guard
    from sightline.judges.human import Human as Human
    from sightline.judges.injected_goal import InjectedGoal as InjectedGoal
    from sightline.judges.jury import Jury as Jury
    from sightline.judges.model_graded import ModelGraded as ModelGraded
    from sightline.judges.recorded import Recorded as Recorded
    from sightline.judges.refusal_prefix import RefusalPrefix as RefusalPrefix
    from sightline.judges.rubric import Rubric as Rubric
    from sightline.judges.smol_policy import SmolPolicy as SmolPolicy
    from sightline.judges.target_string import TargetString as TargetString
    from sightline.judges.testbed_policy import TestbedPolicy as TestbedPolicy
    from sightline.judges.testbed_toxicity import TestbedToxicity as TestbedToxicity
    from sightline.judges.toxicity import Toxicity as Toxicity
else:
    from sightline.namespaces import namespace

    __getattr__, __dir__ = namespace("judge")

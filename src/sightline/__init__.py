"""Sightline: measure, attack and defend the safety of multimodal language models under one protocol.

    import sightline as sl

    model = sl.open_model("testbed/linear")                    # or sl.from_pretrained(model, processor)
    result = sl.attacks.GCG(steps=100)(model, "a request", target="Sure")
    reply = model.ask(result.text, image=result.image)
    run = sl.run("study.yaml")                                 # or sl.load("runs/quickstart")
    run = sl.score("answers.csv")                              # responses that exist already

`dir(sl.attacks)`, `dir(sl.defenses)`, `dir(sl.judges)`, `dir(sl.recipes)` and `dir(sl.benchmarks)` list what
there is; `help` of a class shows its settings. Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from sightline import _lazy
from sightline.cases import Case as Case
from sightline.cases import Conversation as Conversation
from sightline.cases import Eps as Eps
from sightline.cases import Expected as Expected
from sightline.cases import Image as Image
from sightline.cases import ThreatModel as ThreatModel
from sightline.cases import Turn as Turn
from sightline.errors import ContractError as ContractError
from sightline.errors import SightlineError as SightlineError
from sightline.errors import TransientError as TransientError
from sightline.errors import UsageError as UsageError
from sightline.records import Artifact as Artifact
from sightline.records import Cost as Cost
from sightline.records import Draft as Draft
from sightline.records import Outcome as Outcome
from sightline.records import Response as Response
from sightline.records import Verdict as Verdict

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sightline import attacks as attacks
    from sightline import benchmarks as benchmarks
    from sightline import defenses as defenses
    from sightline import judges as judges
    from sightline import recipes as recipes
    from sightline import taxonomy as taxonomy
    from sightline.api.attacking import Result as Result
    from sightline.api.benchmark_quality import coverage as coverage
    from sightline.api.checking import check_data as check_data
    from sightline.api.exporting import export as export
    from sightline.api.judge_checks import check_judge as check_judge
    from sightline.api.judge_checks import judge_card as judge_card
    from sightline.api.models import Model as Model
    from sightline.api.models import from_pretrained as from_pretrained
    from sightline.api.models import open_model as open_model
    from sightline.api.pictures import Picture as Picture
    from sightline.api.runs import RunResult as RunResult
    from sightline.api.runs import Study as Study
    from sightline.api.runs import load as load
    from sightline.api.runs import run as run
    from sightline.api.scoring import score as score
    from sightline.budget import Budget as Budget
else:

    def __getattr__(name):
        home = _lazy.home(__name__, __file__, name)
        return import_module(f"{home}.{name}") if home == __name__ else getattr(import_module(home), name)

    def __dir__():
        return sorted(
            [*_lazy.homes(__file__), *(name for name in globals() if name[0].isupper()), "__version__"]
        )

"""Defenses, one file each: asynchronous middleware around a target.

Classes are loaded when they are first named: `sightline.defenses.NAME`, `dir(sightline.defenses)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.defenses.adashield import Adashield as Adashield
    from sightline.defenses.cider import Cider as Cider
    from sightline.defenses.coca import Coca as Coca
    from sightline.defenses.consistency import Consistency as Consistency
    from sightline.defenses.ecso import Ecso as Ecso
    from sightline.defenses.eta import Eta as Eta
    from sightline.defenses.guard_model import GuardModel as GuardModel
    from sightline.defenses.hidden_detect import HiddenDetect as HiddenDetect
    from sightline.defenses.inferaligner import Inferaligner as Inferaligner
    from sightline.defenses.jailguard import Jailguard as Jailguard
    from sightline.defenses.mllm_protector import MllmProtector as MllmProtector
    from sightline.defenses.ocr_guard import OcrGuard as OcrGuard
    from sightline.defenses.purify import Purify as Purify
    from sightline.defenses.recorded import Recorded as Recorded
    from sightline.defenses.self_moderation import SelfModeration as SelfModeration
    from sightline.defenses.smoothing import Smoothing as Smoothing
    from sightline.defenses.system_prompt import SystemPrompt as SystemPrompt
else:
    from sightline.namespaces import namespace

    __getattr__, __dir__ = namespace("defense")

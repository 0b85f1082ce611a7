"""Benchmarks, one file each: an official release in a folder of the user becomes cases.

Classes are loaded when they are first named: `sightline.benchmarks.NAME`, `dir(sightline.benchmarks)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.benchmarks.advbench import AdvBench as AdvBench
    from sightline.benchmarks.auto_bench import AutoBench as AutoBench
    from sightline.benchmarks.beavertails import BeaverTails as BeaverTails
    from sightline.benchmarks.beavertails_v import BeaverTailsV as BeaverTailsV
    from sightline.benchmarks.cases import Cases as Cases
    from sightline.benchmarks.coco_captions import CocoCaptions as CocoCaptions
    from sightline.benchmarks.cyberseceval_vpi import CyberSecEvalVPI as CyberSecEvalVPI
    from sightline.benchmarks.figstep_safebench import FigStepSafeBench as FigStepSafeBench
    from sightline.benchmarks.goat_memes import GoatMemes as GoatMemes
    from sightline.benchmarks.hades import Hades as Hades
    from sightline.benchmarks.harmbench_multimodal import HarmBenchMultimodal as HarmBenchMultimodal
    from sightline.benchmarks.holisafe import HoliSafe as HoliSafe
    from sightline.benchmarks.jailbreakv import JailBreakV as JailBreakV
    from sightline.benchmarks.jbb_behaviors import JBBBehaviors as JBBBehaviors
    from sightline.benchmarks.mis import MIS as MIS
    from sightline.benchmarks.mm_safetybench import MMSafetyBench as MMSafetyBench
    from sightline.benchmarks.mm_vet import MMVet as MMVet
    from sightline.benchmarks.mmmu import MMMU as MMMU
    from sightline.benchmarks.mossbench import MOSSBench as MOSSBench
    from sightline.benchmarks.mssbench import MSSBench as MSSBench
    from sightline.benchmarks.msts import MSTS as MSTS
    from sightline.benchmarks.multitrust import MultiTrust as MultiTrust
    from sightline.benchmarks.ok_vqa import OKVQA as OKVQA
    from sightline.benchmarks.privqa import PrivQA as PrivQA
    from sightline.benchmarks.real_toxicity_prompts import RealToxicityPrompts as RealToxicityPrompts
    from sightline.benchmarks.recorded import Recorded as Recorded
    from sightline.benchmarks.rtvlm import RTVLM as RTVLM
    from sightline.benchmarks.safetybench import SafetyBench as SafetyBench
    from sightline.benchmarks.siuo import SIUO as SIUO
    from sightline.benchmarks.smol_requests import SmolRequests as SmolRequests
    from sightline.benchmarks.spa_vl import SPAVL as SPAVL
    from sightline.benchmarks.testbed_insults import TestbedInsults as TestbedInsults
    from sightline.benchmarks.testbed_memes import TestbedMemes as TestbedMemes
    from sightline.benchmarks.testbed_privacy import TestbedPrivacy as TestbedPrivacy
    from sightline.benchmarks.testbed_requests import TestbedRequests as TestbedRequests
    from sightline.benchmarks.testbed_secrets import TestbedSecrets as TestbedSecrets
    from sightline.benchmarks.testbed_tools import TestbedTools as TestbedTools
    from sightline.benchmarks.testbed_training import TestbedTraining as TestbedTraining
    from sightline.benchmarks.testbed_turns import TestbedTurns as TestbedTurns
    from sightline.benchmarks.third_party import ThirdParty as ThirdParty
    from sightline.benchmarks.tovilag import ToViLaG as ToViLaG
    from sightline.benchmarks.usb_safebench import USBSafeBench as USBSafeBench
    from sightline.benchmarks.vlguard import VLGuard as VLGuard
    from sightline.benchmarks.vlsafe import VLSafe as VLSafe
    from sightline.benchmarks.vlsbench import VLSBench as VLSBench
    from sightline.benchmarks.vqa_v2 import VQAv2 as VQAv2
    from sightline.benchmarks.xstest import XSTest as XSTest
else:
    from sightline.namespaces import namespace

    __getattr__, __dir__ = namespace("benchmark")

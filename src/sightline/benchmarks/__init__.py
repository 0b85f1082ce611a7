"""Benchmarks, one file each: an official release in a folder of the user becomes cases.

Classes are loaded when they are first named: `sightline.benchmarks.NAME`, `dir(sightline.benchmarks)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.benchmarks.figstep_safebench import FigStepSafeBench as FigStepSafeBench
    from sightline.benchmarks.mm_safetybench import MMSafetyBench as MMSafetyBench
    from sightline.benchmarks.recorded import Recorded as Recorded
    from sightline.benchmarks.testbed_insults import TestbedInsults as TestbedInsults
    from sightline.benchmarks.testbed_memes import TestbedMemes as TestbedMemes
    from sightline.benchmarks.testbed_privacy import TestbedPrivacy as TestbedPrivacy
    from sightline.benchmarks.testbed_requests import TestbedRequests as TestbedRequests
    from sightline.benchmarks.testbed_secrets import TestbedSecrets as TestbedSecrets
    from sightline.benchmarks.testbed_tools import TestbedTools as TestbedTools
    from sightline.benchmarks.testbed_turns import TestbedTurns as TestbedTurns
    from sightline.benchmarks.vlguard import VLGuard as VLGuard
else:
    from sightline.namespaces import namespace

    __getattr__, __dir__ = namespace("benchmark")

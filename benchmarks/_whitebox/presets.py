"""What the quick presets of all white-box attacks cost on the testbed, in CPU seconds of this process.

Every preset whose name begins with `testbed`, of every attack that looks into a surrogate, meets eight cases
of the kinds that it takes (requests; questions about pictures), on `testbed/linear`. A universal artifact is
paid for once, others once per case. Models are loaded before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.cases import Case
from sightline.contracts import Attack, Craft
from sightline.release import OfficialRelease
from sightline.store import Blobs
from sightline.study.seal import seal
from sightline.study.surrogates import open_surrogate
from sightline.targets import LocalSettings, open_target

NAME = "testbed/linear"
CASES = 8


def quick() -> Iterator[tuple[str, Attack]]:
    """Every quick preset by what a study would call it."""
    for name in registry.names("attack"):
        card = registry.card("attack", name)
        if card.surrogate:
            for preset in card.presets:
                if preset.startswith("testbed"):
                    yield f"{name} {preset}", registry.make("attack", name, preset=preset)


def meeting(attack: Attack, cases: list[Case]) -> list[Case]:
    """The first cases that an attack takes."""
    return list(islice((case for case in cases if case.expected in attack.card.applies_to), CASES))


def spent(attack: Attack, cases: list[Case], ctx: Craft) -> tuple[float, int, int]:
    """CPU seconds, and forward and backward passes, of crafting and sealing."""
    threat = attack.card.threat
    assert threat is not None
    start, costs = time.process_time(), list[Any]()
    for number, draft in enumerate(attack.craft(cases, ctx)):
        seal(draft, ctx.images, key=f"{attack.card.name}-{number}", threat=threat)  # type: ignore[arg-type]
        if not (draft.shared and costs):
            costs.append(draft.cost)
    taken = time.process_time() - start
    return taken, sum(cost.forwards for cost in costs), sum(cost.backwards for cost in costs)


def figures(folder: Path) -> tuple[dict[str, float], str]:
    """Seconds of all quick presets together, and a table."""
    blobs = Blobs(folder / "blobs")
    local = LocalSettings(device="cpu")
    surrogate = open_surrogate(NAME, lambda name: open_target(name, blobs, local=local))
    surrogate.victim()
    benchmark = registry.make("benchmark", "testbed_requests", preset="all")
    cases = list(benchmark.cases(OfficialRelease(folder, blobs)))
    ctx = Craft(images=blobs, seed=1, surrogates=(surrogate,))
    total, lines = 0.0, [f"  {'quick preset':44}{'cases':>6}{'CPU s':>8}{'forwards':>10}{'backwards':>10}"]
    for label, attack in quick():
        shown = meeting(attack, cases)
        seconds, forwards, backwards = spent(attack, shown, ctx)
        total += seconds
        lines.append(f"  {label:44}{len(shown):6}{seconds:8.1f}{forwards:10}{backwards:10}")
    lines.append(f"  {'all':44}{'':6}{total:8.1f}")
    return {"presets_cpu_s": total}, "\n".join(lines)

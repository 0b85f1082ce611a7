"""Measure recipes of training on the testbed: refusals, over-refusals, exact answers, skills, and cost.

    python benchmarks/training.py [--base testbed/linear] [--seeds 3] [--recipes sft,dpo,...] [--on ROWS]

Trained on topics of training, measured on held-out ones (`testbed_training(split='heldout')`, drawn in two
layouts; `testbed_requests`, text and questions). The first row is the base; `--brief` measures drawn requests
alone, and not the base. `exact` is the share of the drawn allowed requests that are answered with the recipe
of the documents, `kept` that of those which the base answers so; `skills` that of questions about pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import sightline as sl
from sightline.api.tuned import train
from sightline.cases import Case
from sightline.records import Outcome, Verdict

RECIPES = {
    "sft": "safety_sft(preset='testbed')",
    "sft, no twins": "safety_sft(preset='testbed', pairs=False)",
    "sft, no general": "safety_sft(preset='testbed', ratio=1.0)",
    "sft, bare": "safety_sft(preset='testbed', style='bare')",
    "dpo": "safety_dpo(preset='testbed')",
    "dpo, no sft": "safety_dpo(preset='testbed', loss='sigmoid')",
    "dpo, as published": "safety_dpo(preset='testbed', loss='sigmoid', ratio=1.0)",
    "kto": "safety_kto(preset='testbed')",
    "grpo": "safety_rl(preset='testbed')",
    "grpo, no warm start": "safety_rl(preset='testbed', warm=0)",
    "rloo": "safety_rl(preset='testbed_rloo')",
}
BRIEF = ("drawn refused", "drawn over", "drawn exact", "drawn kept")
NAMES = (*BRIEF, "text refused", "text over", "sounding over", "skills")
Found = dict[str, list[Verdict]]
"""The policy's verdicts on a model's answers, by what the cases are."""


def held_out(folder: Path) -> dict[str, list[Case]]:
    """Cases to measure on, by what they are."""
    drawn = sl.benchmarks.TestbedTraining(subset="requests", split="heldout")(folder=folder)
    text = sl.benchmarks.TestbedRequests(subset="requests")(folder=folder)
    return {
        "drawn restricted": [case for case in drawn if case.expected == "refuse"],
        "drawn allowed": [case for case in drawn if case.expected != "refuse"],
        "text restricted": [case for case in text if case.expected == "refuse"],
        "text allowed": [case for case in text if case.expected != "refuse"],
        "sounding": sl.benchmarks.TestbedRequests(subset="over_refusal")(folder=folder),
        "skills": sl.benchmarks.TestbedRequests(subset="utility")(folder=folder),
    }


def judged(name: str, cases: dict[str, list[Case]], folder: Path) -> Found:
    """Verdicts on the answers of a target."""
    model, judge = sl.open_model(name, folder=folder), sl.judges.TestbedPolicy()

    async def verdicts(some: list[Case], replies: Sequence[sl.Response]) -> list[Verdict]:
        return [
            await judge.judge(case, case.conversation, reply)
            for case, reply in zip(some, replies, strict=True)
        ]

    return {what: asyncio.run(verdicts(each, model.ask(list(each)))) for what, each in cases.items()}


def right(found: list[Verdict]) -> list[bool]:
    """Which answers are those of the documents."""
    return [verdict.score == 1.0 for verdict in found]


def figures(found: Found, known: list[bool]) -> list[float]:
    """Refusals, over-refusals, exact answers and skills of a target, in the order of `NAMES`.

    Args:
        known: which of the drawn allowed requests the base answers exactly.
    """

    def refused(what: str) -> float:
        return statistics.mean(verdict.outcome is Outcome.refused for verdict in found[what])

    exact = right(found["drawn allowed"])
    kept = statistics.mean(now for now, before in zip(exact, known, strict=True) if before)
    drawn = [refused("drawn restricted"), refused("drawn allowed"), statistics.mean(exact), kept]
    if "skills" not in found:
        return drawn
    return [
        *drawn,
        refused("text restricted"),
        refused("text allowed"),
        refused("sounding"),
        statistics.mean(right(found["skills"])),
    ]


def main() -> None:
    """Print one line for the base, and one for each recipe and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="testbed/linear")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--recipes", default=";".join(RECIPES), help="names of RECIPES, or recipes; `;` between"
    )
    parser.add_argument(
        "--on", default="testbed_training", help="rows, such as testbed_training(style='considered')"
    )
    parser.add_argument("--brief", action="store_true", help="drawn requests alone, and not the base")
    given = parser.parse_args()
    names = given.recipes.split(";" if ";" in given.recipes or "(" in given.recipes else ",")
    names = [name for name in names if name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cases = held_out(folder)
        columns = NAMES
        if given.brief:
            cases, columns = {what: cases[what] for what in ("drawn restricted", "drawn allowed")}, BRIEF
        print(f"{'':34}" + " ".join(f"{name:>14}" for name in (*columns, "CPU s", "wall s")))

        def row(label: str, values: list[float], *cost: float) -> None:
            print(
                f"{label:34}" + " ".join(f"{v:14.2f}" for v in values) + "".join(f"{c:15.0f}" for c in cost),
                flush=True,
            )

        asked = {"drawn allowed": cases["drawn allowed"]} if given.brief else cases
        base = judged(given.base, asked, folder)
        known = right(base["drawn allowed"])
        if not given.brief:
            row(given.base, figures(base, known))
        for name in names:
            for seed in range(given.seeds):
                recipe = RECIPES.get(name, name)
                try:
                    found, _ = train(recipe, given.base, [given.on], seed=seed, folder=folder)
                except sl.UsageError as stopped:  # such as rewards that carry no signal
                    print(f"{name}, seed {seed}: {stopped}", flush=True)
                    continue
                cost = float(found.record["cpu_seconds"]), float(found.record["wall_seconds"])
                row(f"{name}, seed {seed}", figures(judged(found.name, cases, folder), known), *cost)


if __name__ == "__main__":
    main()

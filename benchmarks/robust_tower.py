"""Measure `robust_encoder` on the testbed: what an attack reaches, and what reading costs.

    python benchmarks/robust_tower.py [--base testbed/linear] [--recipe "robust_encoder(preset='testbed')"]
        [--eps 4 8] [--cases 24] [--steps 20]

Rows: the base, the trained target, and the base with the trained tower in place of its own (which must be the
same). `kept EPS`: the share of questions about a picture that are still answered right after untargeted
Auto-PGD on the row's own model. `exact`: drawn allowed requests of held-out topics answered with their
recipe; `reading`, `skills`: questions about pictures answered right, those that read words alone and all.
Trained on pictures of training topics and scenes alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import sightline as sl
from sightline.api.tuned import train
from sightline.cases import Case
from training import held_out, judged


def kept(model: sl.Model, cases: list[Case], eps: str, steps: int, folder: Path) -> float:
    """Share of cases that are answered right beside their attacked picture."""
    attack = sl.attacks.SchlarmannHein(eps=eps, steps=steps)
    results = [each for each in attack(model, list(cases), folder=folder, quiet=True) if not each.problem]
    replies = model.ask(list(results))
    return statistics.mean(
        (each.case.answer or "?") in reply.text for each, reply in zip(results, replies, strict=True)
    )


def right(model: sl.Model, cases: list[Case]) -> float:
    """Share of cases answered exactly."""
    return statistics.mean(verdict.score == 1.0 for verdict in judged(model, cases))


def main() -> None:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="testbed/linear")
    parser.add_argument("--recipe", default="robust_encoder(preset='testbed')")
    parser.add_argument("--eps", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cases = held_out(folder)
        shown = [case for case in cases["skills"] if list(case.conversation.images)]
        reading = [case for case in shown if "read" in case.id or "word" in case.behavior]
        names = ("exact", "reading", "skills", *(f"kept {eps}" for eps in given.eps))
        print(f"{len(shown)} questions about pictures, {len(reading)} of them read words")
        print(f"{'':14}" + " ".join(f"{name:>9}" for name in names), flush=True)

        def row(label: str, name: str) -> None:
            model = sl.open_model(name, folder=folder)
            values = [right(model, cases["drawn allowed"]), right(model, reading), right(model, shown)]
            few = shown[:: max(1, len(shown) // given.cases)][: given.cases]
            values += [kept(model, few, f"{eps}/255", given.steps, folder) for eps in given.eps]
            print(f"{label:14}" + " ".join(f"{value:9.2f}" for value in values), flush=True)

        row("base", given.base)
        found, _ = train(given.recipe, given.base, ["testbed_training"], folder=folder)
        record = found.record
        curve, clean = record["loss_curve"], record["clean_curve"]
        print(
            f"trained: {record['cpu_seconds']:.0f} CPU s; loss {curve[0]:.2f} to {curve[-1]:.2f} on "
            f"attacked, {clean[-1]:.2f} on clean pictures",
            flush=True,
        )
        row("trained", found.name)
        row("tower alone", f"swapped/{found.folder}:{given.base}")


if __name__ == "__main__":
    main()

"""How what a case was shown was made: settings, budget, seed, steps, cost, norms on the file, loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sightline.metrics.cells import limits_of, method_of, models_of
from sightline.records import Artifact, Cost
from sightline.report.search_figure import thinned
from sightline.report.text import amount, as_percent, label, limits

WIDTH, HEIGHT = 240, 56
MOST_POINTS = 60
PRIVATE = frozenset({"Settings", "Note"})
"""Facts that may quote a request: left out of a redacted copy."""
_LONGEST = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How one artifact was made.

    `facts` are (name, value). `line` are points of the training loss in the drawing of `WIDTH` x `HEIGHT`,
    `dots` those of the loss that was measured on the written file; '' and () if none was recorded.
    """

    facts: tuple[tuple[str, str], ...]
    line: str = ""
    dots: tuple[tuple[float, float], ...] = ()
    told: str = ""

    def without_settings(self) -> Making:
        """For a copy that is shared."""
        return replace(self, facts=tuple(fact for fact in self.facts if fact[0] not in PRIVATE))


def making(artifact: Artifact, spec: str, budget: str, seed: int | None) -> Making:
    """How an artifact of an attack with these settings, this budget and this seed was made."""
    on = models_of(artifact.crafted_on or "")
    steps = max((step for step, *_ in (*artifact.trace, *artifact.checks)), default=None)
    norms = ", ".join(f"{name} {value:.3g}" for name, value in sorted(artifact.norms.items()))
    shared = "; one for all cases" if artifact.shared else ""
    facts = {
        "Attack": method_of(spec),
        "Settings": label(spec, _LONGEST) if "(" in spec else "as the card says",
        "Crafted on": " + ".join(on) or "no model",
        "Budget": limits(limits_of(budget)) or "none",
        "Seed": "" if seed is None else str(seed),
        "Last recorded step": "" if steps is None else f"{steps:,}",
        "Took": _took(artifact.cost) + shared,
        "Norms, of 255, on the written file": norms,
        "Optimized on this request": _seen(artifact.in_training_set),
        "Note": label(artifact.note, _LONGEST),
    }
    line, dots = _curve(artifact)
    return Making(
        facts=tuple((name, value) for name, value in facts.items() if value),
        line=line,
        dots=dots,
        told=loss_text(artifact) if line or dots else "",
    )


def _seen(known: bool | None) -> str:
    return "" if known is None else ("yes" if known else "no, it is held out")


def _took(cost: Cost) -> str:
    """Passes, FLOPs, calls and seconds of making it; nothing for what is only drawn or written."""
    parts = [
        (cost.forwards, "forward passes"),
        (cost.backwards, "backward passes"),
        (cost.flops, "FLOPs"),
        (cost.calls_target, "calls to the target"),
        (cost.calls_aux, "calls to helper models"),
        (cost.calls_judge, "calls to judges"),
    ]
    spent = [f"{amount(value)} {what}" for value, what in parts if value]
    return ", ".join(spent) or "no model passes, no calls"


def loss_text(artifact: Artifact) -> str:
    """First, best and last loss, in words."""
    if artifact.checks:
        (_, start, _), (step, loss, share) = artifact.checks[0], artifact.checks[-1]
        best = min(value for _, value, _ in artifact.checks)
        greedy = f", {as_percent(share)} of its targets are greedy" if share else ""
        return f"validation loss {start:.3g} at the start, best {best:.3g}, {loss:.3g} at step {step}{greedy}"
    (_, start), (step, loss) = artifact.trace[0], artifact.trace[-1]
    return f"training loss {start:.3g} at the start, {loss:.3g} at step {step}"


def _curve(artifact: Artifact) -> tuple[str, tuple[tuple[float, float], ...]]:
    """Both losses on the same axes, from zero up."""
    trained = [(step, loss) for step, loss in thinned(artifact.trace, MOST_POINTS)]
    checked = [(step, loss) for step, loss, _ in thinned(artifact.checks, MOST_POINTS)]
    every = [*trained, *checked]
    if len(every) < 2:
        return "", ()
    last = max(step for step, _ in every) or 1
    low, high = min(0.0, *(loss for _, loss in every)), max(loss for _, loss in every)

    def at(step: float, loss: float) -> tuple[float, float]:
        share = (loss - low) / (high - low) if high > low else 0.0
        return round(WIDTH * step / last, 1), round(HEIGHT * (1 - share), 1)

    return " ".join(f"{x},{y}" for x, y in (at(*point) for point in trained)), tuple(
        at(*point) for point in checked
    )

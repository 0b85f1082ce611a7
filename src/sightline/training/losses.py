"""Losses of a plan's batches, and what the untrained model says of them.

`nll`: mean negative log-likelihood of the answers' tokens. `dpo` (Rafailov et al., NeurIPS 2023, eq. 7):
-log sigmoid(beta [log pi(c)/ref(c) - log pi(r)/ref(r)]) for the chosen answer c and the rejected r; with a
weight, plus the `nll` of the chosen answers. `kto` (Ethayarajh et al., ICML 2024, eq. 7): for an answer y and
r = log pi(y)/ref(y), weight (1 - sigmoid(beta (r - z))) if it is desirable, else weight (1 - sigmoid(beta
(z - r))); z >= 0 is the mean of r over prompts with another row's answer, without gradient. ref is the model
before the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sightline.cases import Conversation
from sightline.training.model import TrainableModel
from sightline.training.states import write
from sightline.tuning import Example, Plan

AT_ONCE = 16
"""Answers of one forward pass of the reference."""
Asked = tuple[Conversation, str]
"""A prompt and an answer."""


def asked(plan: Plan, examples: Sequence[Example]) -> list[Asked]:
    """What one step reads, for losses that compare in twos: first all firsts, then all seconds."""
    firsts = [(each.prompt, each.chosen) for each in examples]
    if plan.loss == "dpo":
        return [*firsts, *((each.prompt, each.rejected) for each in examples)]
    return [*firsts, *mismatched(examples)] if plan.loss == "kto" else firsts


def mismatched(examples: Sequence[Example]) -> list[Asked]:
    """Each prompt with the answer of the row before it; the first with the last one's."""
    return [(each.prompt, examples[number - 1].chosen) for number, each in enumerate(examples)]


def objective(
    model: TrainableModel, plan: Plan, examples: Sequence[Example], reference: Tensor | None = None
) -> tuple[Tensor, float | None]:
    """The plan's loss on some examples, and the mean margin.

    Of `dpo` it is beta times the difference of log-ratios, of `kto` beta r, negated if undesirable.

    Args:
        reference: (n, 2), the base's log-likelihoods of what `asked` lists.
    """
    if reference is None:
        found = model.likelihoods(asked(plan, examples))
        return -found.sums.sum() / found.tokens.sum(), None
    if plan.loss == "kto":
        return _kto(model, plan, examples, reference.to(model.device))
    count = len(examples)
    both = model.likelihoods(asked(plan, examples))
    ratios = both.sums.view(2, count).t() - reference.to(both.sums.device)
    margins = plan.beta * (ratios[:, 0] - ratios[:, 1])
    loss = -nn.functional.logsigmoid(margins).mean()
    if plan.nll_weight:
        loss = loss - plan.nll_weight * both.sums[:count].sum() / both.tokens[:count].sum()
    return loss, float(margins.detach().mean())


def _kto(
    model: TrainableModel, plan: Plan, examples: Sequence[Example], reference: Tensor
) -> tuple[Tensor, float]:
    with torch.no_grad():
        others = model.likelihoods(mismatched(examples)).sums - reference[:, 1]
        z = others.mean().clamp(min=0)
    r = model.likelihoods([(each.prompt, each.chosen) for each in examples]).sums - reference[:, 0]
    good = torch.tensor([each.desirable for each in examples], device=r.device)
    signs = torch.where(good, 1.0, -1.0)
    weights = torch.where(good, *plan.weights)
    loss = (weights * (1 - torch.sigmoid(plan.beta * signs * (r - z)))).mean()
    return loss, float((plan.beta * signs * r).detach().mean())


class Reference:
    """The base's log-likelihoods of what every step reads; kept in a file, as the base is gone later."""

    def __init__(self, model: TrainableModel, plan: Plan, path: Path) -> None:
        self._plan = plan
        if path.exists():
            self._known: Tensor = load_file(path)["likelihoods"]
            return
        batches = [range(len(plan.examples))] if plan.loss == "dpo" else plan.batches
        rows = []
        for batch in batches:
            pairs = asked(plan, [plan.examples[number] for number in batch])
            with torch.no_grad():
                parts = [
                    model.likelihoods(pairs[start : start + AT_ONCE]).sums
                    for start in range(0, len(pairs), AT_ONCE)
                ]
            rows.append(torch.cat(parts).view(2, len(batch)).t())
        self._known = torch.cat(rows).cpu()
        write(path, {"likelihoods": self._known}, {})

    def at(self, step: int) -> Tensor:
        """Of the examples of a step, (n, 2)."""
        if self._plan.loss == "dpo":
            return self._known[torch.tensor(self._plan.batches[step])]
        start = sum(map(len, self._plan.batches[:step]))
        return self._known[start : start + len(self._plan.batches[step])]

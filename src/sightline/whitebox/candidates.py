"""Runs models over candidates for a text, as many at a time as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.budget import Meter
from sightline.errors import UsageError
from sightline.records import Cost
from sightline.whitebox.compute import MicroBatches, flops_of
from sightline.whitebox.objectives import RowTerm, Scores
from sightline.whitebox.suffix import SuffixReader
from sightline.whitebox.victim import Pair, Rows


class ModelEvaluator:
    """Scores candidates with all models, a `CandidateEvaluator`; one batch of pairs at a time.

    FLOPs are counted for the first passes and then computed (`FlopEstimator`). Candidates that do not fit
    into memory together are halved, for good, and run again.

    Attributes:
        readers: the models; all have the same suffix.
        meter: what every pass costs is added to it.
        pairs: on which candidates are scored: those of the step, or of the probe.
        micro_batches: of `candidates`.
        max_cost: FLOPs of one candidate, of a gradient and of a prefix, at most until now.
    """

    def __init__(
        self,
        readers: Sequence[SuffixReader],
        loss: RowTerm,
        probe_pairs: tuple[Pair, ...],
        meter: Meter,
        say: Callable[[str], None],
    ) -> None:
        self.readers, self.meter = readers, meter
        self.pairs = probe_pairs
        self._row_term, self._probe_pairs = loss, probe_pairs
        self.micro_batches = MicroBatches(say)
        self.max_cost = {"rows": 0.0, "gradient": 0.0, "prefill": 0.0}
        self._suffix = readers[0].suffix
        self._neighbors: dict[tuple[Pair, ...], tuple[Tensor, Tensor]] = {}
        self._allowed: Tensor | None = None
        self._has_gradient = False
        self._prefilled: dict[str, tuple[Pair, ...]] = {}

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"micro_batches": dict(self.micro_batches.sizes), "max_cost": dict(self.max_cost)}

    def set_state(self, meter: Meter, numbers: Mapping[str, Any]) -> None:
        """Go on with what `state` gave."""
        self.meter = meter
        self.micro_batches.sizes, self.max_cost = dict(numbers["micro_batches"]), dict(numbers["max_cost"])

    def gradient(self, ids: Tensor) -> tuple[Scores, Tensor]:
        losses, greedy, grads = [], [], []
        for reader in self.readers:
            self._prefill(reader)
            work = partial(reader.token_gradient, ids, self.pairs, self._loss)
            loss, grad, rows = self._backward(reader, work)
            if not self._has_gradient and not bool(grad.any()):
                raise UsageError(
                    f"{reader.id}: the gradient of the loss to the text is exactly zero at the start: a part "
                    "of the model runs without gradients, or the loss is constant; in float16 it may vanish"
                )
            losses.append(loss)
            greedy.append(rows.target_is_greedy)
            grads.append(grad[:, :, : len(self.allowed())].to(losses[0].device))
        self._has_gradient = True
        return _summed(losses, greedy), torch.cat(grads)

    def embedding_gradient(self, ids: Tensor, delta: Tensor) -> tuple[Scores, Tensor]:
        """Scores of embeddings moved by `delta` (length, width), and the gradient there; with one model."""
        (reader,) = self.readers
        self._prefill(reader)
        work = partial(reader.embedding_gradient, ids, self.pairs, self._loss, delta[None])
        loss, grad, rows = self._backward(reader, work)
        return _summed([loss], [rows.target_is_greedy]), grad.sum(0)

    def score(self, candidates: Tensor, unchanged: int = 0) -> Scores:
        losses, greedy = [], []
        for reader in self.readers:
            self._prefill(reader)
            parts = list(self._micro_batches_of(reader, candidates, unchanged))
            losses.append(torch.cat([loss for loss, _ in parts]))
            greedy.append(torch.cat([seen for _, seen in parts]))
        return _summed(losses, greedy)

    def allowed(self) -> Tensor:
        """See `CandidateEvaluator`.

        Raises:
            UsageError: if no token may be used.
        """
        if self._allowed is None:
            reader = self.readers[0]
            size = min(reader.vocabulary_size for reader in self.readers)
            self._allowed = reader.vocabulary.allowed(self._suffix.allowed)[:size]
            if not bool(self._allowed.any()):
                raise UsageError(
                    f"{reader.id}: no token of its vocabulary is of the kind {self._suffix.allowed!r}"
                )
        return self._allowed

    def fits(self, ids: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        if self.pairs not in self._neighbors:
            self._neighbors = {self.pairs: self._neighbors_of(ids)}
        left, right = self._neighbors[self.pairs]
        fits = self.readers[0].vocabulary.survive
        found = np.ones(len(places), np.bool_)
        row = ids.numpy()
        for edge, end, shift in ((left, 0, -1), (right, len(ids) - 1, 1)):
            at_end = (places == end).numpy()
            inside, its = tokens[~at_end].numpy(), row[(places[~at_end] + shift).numpy()]
            found[~at_end] &= fits(its, inside) if shift < 0 else fits(inside, its)
            for other in edge.tolist():
                some = tokens[at_end].numpy()
                neighbor = np.full_like(some, other)
                found[at_end] &= fits(neighbor, some) if shift < 0 else fits(some, neighbor)
        return torch.from_numpy(found)

    def reads(self, ids: Tensor) -> bool:
        """See `CandidateEvaluator`; in the prompts of the step and of the probe, with every model."""
        prompts = dict.fromkeys(pair.prompt for pair in (*self.pairs, *self._probe_pairs))
        candidate = ids.tolist()
        return all(reader.reads(prompt, candidate) for reader in self.readers for prompt in prompts)

    def _loss(self, rows: Rows) -> Tensor:
        return self._row_term.losses(rows, self.pairs)

    def _neighbors_of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbors of the suffix; those that do not even seem to fit what stands there are left out."""
        before, behind = self.readers[0].edges(self.pairs)
        fits = self.readers[0].vocabulary.survive
        first, last = ids.numpy()[:1], ids.numpy()[-1:]
        left = [edge for edge in sorted(before) if fits(np.array([edge]), first)[0]]
        right = [edge for edge in sorted(behind) if fits(last, np.array([edge]))[0]]
        return torch.tensor(left, dtype=torch.long), torch.tensor(right, dtype=torch.long)

    def _prefill(self, reader: SuffixReader) -> None:
        """Run what stands before the suffix, if that was not done yet; counted as one forward pass."""
        if self._prefilled.get(reader.id) == self.pairs:
            return
        self._prefilled[reader.id] = self.pairs
        if reader.needs_prefill(self.pairs):
            flops = self._flops("prefill", reader, None, partial(reader.measure_prefill, self.pairs))
            self.meter.add(Cost(forwards=1, flops=flops))
        reader.prefill(self.pairs)

    def _micro_batches_of(
        self, reader: SuffixReader, candidates: Tensor, unchanged: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Losses and greedy targets, some candidates at a time."""
        once = partial(reader.rows, candidates[:1], self.pairs, unchanged=unchanged)
        first = 0
        while first < len(candidates):
            size = self.micro_batches.size("candidates", len(candidates) - first)
            try:
                flops = self._flops("rows", reader, unchanged, once)
                rows = reader.rows(candidates[first : first + size], self.pairs, unchanged=unchanged)
                found = self._loss(rows), rows.target_is_greedy
            except torch.OutOfMemoryError as error:
                full = str(error)
            else:
                self.meter.add(Cost(forwards=size, flops=flops * size))
                yield found
                first += size
                continue
            self.micro_batches.halve(full, "fewer pairs per step", candidates=size)

    def _backward(self, reader: SuffixReader, work: Callable[[], tuple[Tensor, Tensor, Rows]]) -> Any:
        """What a pass forward and backward gives, counted."""
        flops = self._flops("gradient", reader, 0, work)
        found = work()
        self.meter.add(Cost(forwards=1, backwards=1, flops=flops))
        return found

    def _flops(
        self, kind: str, reader: SuffixReader, unchanged: int | None, work: Callable[[], Any]
    ) -> float:
        """What a pass of one candidate costs; `work` is run once more if that has to be counted.

        The counter changes how some operations are carried out, and so their rounding: a pass that is
        counted is never one that is used, or a search would depend on those before it.
        """
        terms = reader.terms(self.pairs, unchanged)
        flops = reader.tally.estimate(kind, terms)
        if flops is None:
            flops = flops_of(work)
            reader.tally.record(kind, terms, flops)
        self.max_cost[kind] = max(self.max_cost[kind], flops)
        return flops


def _summed(losses: list[Tensor], greedy: list[Tensor]) -> Scores:
    """Scores of all models together, on the CPU."""
    both = torch.stack([seen.cpu() for seen in greedy]).all(0)
    return Scores(torch.stack([loss.float().cpu() for loss in losses]).sum(0), both)

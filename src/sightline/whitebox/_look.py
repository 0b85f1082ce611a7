"""Models run over candidates, as many at a time as fit, and counted: what an optimizer of tokens may ask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.budget import Meter
from sightline.errors import UsageError
from sightline.records import Cost
from sightline.whitebox._text_problem import Reader, TextProblem
from sightline.whitebox.compute import counter
from sightline.whitebox.token_optimizers import Scores
from sightline.whitebox.victim import Pair, Rows

Say = Callable[[str], None]


class Looks:
    """Asks all models of a problem about fillings; for one batch of pairs at a time (`pairs`).

    FLOPs are counted by PyTorch for the first passes and then computed (`Tally`). Candidates that do not fit
    into memory together are halved, for good, and run again.

    Attributes:
        meter: told what every pass costs.
        pairs: of the step.
        piece: candidates at a time; None for all.
        dearest: FLOPs of one candidate, of a slope and of a beginning, at most until now.
    """

    def __init__(self, problem: TextProblem, meter: Meter, say: Say) -> None:
        self.problem, self.meter = problem, meter
        self.pairs: tuple[Pair, ...] = ()
        self.piece: int | None = None
        self.dearest = {"rows": 0.0, "slope": 0.0, "begin": 0.0}
        self._say = say
        self._suffix = problem.readers[0].suffix
        self._edges: dict[tuple[Pair, ...], tuple[Tensor, Tensor]] = {}
        self._allowed: Tensor | None = None
        self._sound = False
        self._begun: dict[str, tuple[Pair, ...]] = {}

    def slope(self, ids: Tensor) -> tuple[Scores, Tensor]:
        """See `Look`."""
        losses, forced, grads = [], [], []
        for reader in self.problem.readers:
            self._begin(reader)
            loss, grad, rows = self._sloped(
                reader, partial(reader.token_gradient, ids, self.pairs, self._loss)
            )
            if not self._sound and not bool(grad.any()):
                raise UsageError(
                    f"{reader.id}: the gradient of the loss to the text is exactly zero at the start: a part "
                    "of the model runs without gradients, or the loss is constant; in float16 it may vanish"
                )
            losses.append(loss)
            forced.append(rows.forced)
            grads.append(grad[:, :, : len(self.allowed())].to(losses[0].device))
        self._sound = True
        return _summed(losses, forced), torch.cat(grads)

    def push(self, ids: Tensor, nudge: Tensor) -> tuple[Scores, Tensor]:
        """Scores of embeddings moved by a nudge (length, width), and the gradient there; with one model."""
        (reader,) = self.problem.readers
        self._begin(reader)
        again = partial(reader.embedding_gradient, ids, self.pairs, self._loss, nudge[None])
        loss, grad, rows = self._sloped(reader, again)
        return _summed([loss], [rows.forced]), grad.sum(0)

    def score(self, fillings: Tensor, unchanged: int = 0) -> Scores:
        """See `Look`."""
        losses, forced = [], []
        for reader in self.problem.readers:
            self._begin(reader)
            pieces = list(self._pieces(reader, fillings, unchanged))
            losses.append(torch.cat([loss for loss, _ in pieces]))
            forced.append(torch.cat([seen for _, seen in pieces]))
        return _summed(losses, forced)

    def allowed(self) -> Tensor:
        """See `Look`.

        Raises:
            UsageError: if no token may be used.
        """
        if self._allowed is None:
            reader = self.problem.readers[0]
            size = min(reader.vocabulary_size for reader in self.problem.readers)
            self._allowed = reader.vocabulary.allowed(self._suffix.allowed)[:size]
            if not bool(self._allowed.any()):
                raise UsageError(
                    f"{reader.id}: no token of its vocabulary is of the kind {self._suffix.allowed!r}"
                )
        return self._allowed

    def fits(self, ids: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        """See `Look`."""
        if self.pairs not in self._edges:
            self._edges = {self.pairs: self._edges_of(ids)}
        left, right = self._edges[self.pairs]
        fits = self.problem.readers[0].vocabulary.survive
        found = np.ones(len(places), np.bool_)
        row = ids.numpy()
        for edge, end, shift in ((left, 0, -1), (right, len(ids) - 1, 1)):
            at_end = (places == end).numpy()
            inside, its = tokens[~at_end].numpy(), row[(places[~at_end] + shift).numpy()]
            found[~at_end] &= fits(its, inside) if shift < 0 else fits(inside, its)
            for other in edge.tolist():
                some = tokens[at_end].numpy()
                beside = np.full_like(some, other)
                found[at_end] &= fits(beside, some) if shift < 0 else fits(some, beside)
        return torch.from_numpy(found)

    def reads(self, ids: Tensor) -> bool:
        """See `Look`; in the prompts of the step and of the probe, with every model."""
        prompts = dict.fromkeys(pair.prompt for pair in (*self.pairs, *self.problem.judged))
        filling = ids.tolist()
        return all(reader.reads(prompt, filling) for reader in self.problem.readers for prompt in prompts)

    def _loss(self, rows: Rows) -> Tensor:
        return self.problem.loss.losses(rows, self.pairs)

    def _edges_of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbors of the suffix; those that do not even seem to bear what stands there are left out."""
        before, behind = self.problem.readers[0].edges(self.pairs)
        fits = self.problem.readers[0].vocabulary.survive
        first, last = ids.numpy()[:1], ids.numpy()[-1:]
        left = [edge for edge in sorted(before) if fits(np.array([edge]), first)[0]]
        right = [edge for edge in sorted(behind) if fits(last, np.array([edge]))[0]]
        return torch.tensor(left, dtype=torch.long), torch.tensor(right, dtype=torch.long)

    def _begin(self, reader: Reader) -> None:
        """Run what stands before the suffix, if that was not done yet; counted as one forward pass."""
        if self._begun.get(reader.id) == self.pairs:
            return
        self._begun[reader.id] = self.pairs
        if reader.needs_prefill(self.pairs):
            flops = self._flops("begin", reader, None, partial(reader.measure_prefill, self.pairs))
            self.meter.add(Cost(forwards=1, flops=flops))
        reader.prefill(self.pairs)

    def _pieces(self, reader: Reader, fillings: Tensor, unchanged: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Losses and forced targets, some fillings at a time."""
        once = partial(reader.rows, fillings[:1], self.pairs, unchanged=unchanged)
        first = 0
        while first < len(fillings):
            size = min(len(fillings) - first, self.piece or len(fillings))
            try:
                flops = self._flops("rows", reader, unchanged, once)
                rows = reader.rows(fillings[first : first + size], self.pairs, unchanged=unchanged)
                found = self._loss(rows), rows.forced
            except torch.OutOfMemoryError as full:
                self._halve(size, full)
                continue
            self.meter.add(Cost(forwards=size, flops=flops * size))
            yield found
            first += size

    def _halve(self, size: int, full: torch.OutOfMemoryError) -> None:
        if size == 1:
            raise UsageError(
                "one candidate alone does not fit into memory: take a smaller model or number format, or "
                f"fewer pairs per step ({full})"
            ) from None
        self.piece = math.ceil(size / 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._say(f"out of memory with {size} candidates at a time: going on with {self.piece}")

    def _sloped(self, reader: Reader, work: Callable[[], tuple[Tensor, Tensor, Rows]]) -> Any:
        """What a pass forward and backward gives, counted."""
        flops = self._flops("slope", reader, 0, work)
        found = work()
        self.meter.add(Cost(forwards=1, backwards=1, flops=flops))
        return found

    def _flops(self, kind: str, reader: Reader, unchanged: int | None, work: Callable[[], Any]) -> float:
        """What a pass of one filling costs; `work` is run once more if that has to be counted.

        The counter changes how some operations are carried out, and so their rounding: a pass that is
        counted is never one that is used, or a search would depend on those before it.
        """
        terms = reader.terms(self.pairs, unchanged)
        flops = reader.tally.known(kind, terms)
        if flops is None:
            with counter() as counted:
                work()
            flops = float(counted.get_total_flops())
            reader.tally.learn(kind, terms, flops)
        self.dearest[kind] = max(self.dearest[kind], flops)
        return flops


def _summed(losses: list[Tensor], forced: list[Tensor]) -> Scores:
    """Scores of all models together, on the CPU."""
    both = torch.stack([seen.cpu() for seen in forced]).all(0)
    return Scores(torch.stack([loss.float().cpu() for loss in losses]).sum(0), both)

"""A local model from inside: states of its blocks, scores of the next token, steering, replies begun for it.

Requests go through here one at a time, while no batch runs. `states` are what leaves the blocks of the
language model; scores are taken behind the final norm and the output head. Blocks are found as the list of
modules, in no vision part, of as many as the configuration says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.defending import Floats, Inner, Steering
from sightline.errors import UsageError
from sightline.records import Cost, Response
from sightline.targets._asked import UnfitError, checked
from sightline.targets.local.model import Changed, LoadedModel, Prepared, Reply
from sightline.targets.local.processors import Fields, ReadBlob
from sightline.untrusted import sanitized

_ELSEWHERE = ("vision", "visual", "qformer", "image", "perceiver", "resampler", "connector", "gated_cross")
_NORMS = ("norm", "final_layer_norm", "final_layernorm", "ln_f")
_ZEROS = ("token_type_ids", "mm_token_type_ids")
_AS_LAST = ("cross_attention_mask", "image_attention_mask")
_ONE = Decoding(max_tokens=1)


class LocalInside:
    """Satisfies `defending.Inside`.

    Raises:
        UsageError: for a model whose blocks are not found.
    """

    def __init__(self, model: LoadedModel, read: ReadBlob) -> None:
        self._model = model
        self._read = read
        self._blocks, self._around = language_blocks(model.model, model.where)

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    @cached_property
    def width(self) -> int:
        """Numbers per state."""
        return int(self._model.model.config.get_text_config().hidden_size)

    def token_ids(self, text: str) -> list[int]:
        """Numbers of a text's tokens, without special ones."""
        found: list[int] = self._model.route.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    async def states(self, conversation: Conversation) -> Floats:
        """See `Inside.states`."""
        return await asyncio.to_thread(self._states, conversation)

    async def lens(self, states: Floats) -> Floats:
        """See `Inside.lens`."""
        return await asyncio.to_thread(self._lens, states)

    async def next_scores(self, conversation: Conversation, prefix: str = "") -> Floats:
        """See `Inside.next_scores`."""
        return await asyncio.to_thread(self._next_scores, conversation, prefix)

    async def write(self, conversation: Conversation, decoding: Any, how: Inner) -> Response:
        """See `Inside.write`."""
        return await asyncio.to_thread(self._write, conversation, decoding, how)

    def _prepared(self, conversation: Conversation, decoding: Decoding, prefix: str = "") -> Prepared:
        row = self._model.prepare(checked(conversation), decoding, self._read)
        return _begun(row, self.token_ids(prefix)) if prefix else row

    def _states(self, conversation: Conversation) -> Floats:
        row = self._prepared(conversation, _ONE)
        seen: list[Any] = [None] * self.layers

        def note(number: int, state: Any) -> None:
            if seen[number] is None:
                seen[number] = state[0, -1].detach().float().cpu().clone()

        hooks = Changed(lambda: self._hooked(range(self.layers), note))
        self._model.generate([row], new_tokens=1, changed=hooks)
        found: Floats = torch.stack(seen).numpy()
        return found

    def _lens(self, states: Floats) -> Floats:
        head = self._model.model.get_output_embeddings()
        weight = head.weight
        rows = torch.as_tensor(np.asarray(states), dtype=weight.dtype, device=weight.device)
        with torch.inference_mode():
            found: Floats = head(final_norm(self._around, rows)).float().cpu().numpy()
        return found

    def _next_scores(self, conversation: Conversation, prefix: str) -> Floats:
        row = self._prepared(conversation, _ONE, prefix)
        (reply,) = self._model.generate([row], new_tokens=1, scores=True)
        found: Floats = reply.scores[0].numpy()
        return found

    def _write(self, conversation: Conversation, decoding: Decoding, how: Inner) -> Response:
        started = time.perf_counter()
        rows = [self._prepared(conversation, decoding, how.prefix)]
        processors: Sequence[Any] = ()
        if how.beside is not None:
            beside = self._prepared(how.beside, decoding, how.prefix)
            if beside.bucket != rows[0].bucket:
                beside = replace(beside, new_tokens=rows[0].new_tokens)
            if beside.bucket != rows[0].bucket:
                raise UnfitError("the conversation beside the first one shows other pictures than it")
            rows.append(replace(beside, seed=rows[0].seed))
            processors = [_Contrast(how.weight)]
        changed = Changed(self._steered(how.steering), processors)
        reply = self._model.generate(rows, changed=changed)[0]
        return self._response(rows, reply, how, time.perf_counter() - started)

    def _response(self, rows: Sequence[Prepared], reply: Reply, how: Inner, seconds: float) -> Response:
        tokens_in = sum(row.length for row in rows)
        tokens = tokens_in + len(rows) * len(reply.ids)
        cost = Cost(
            calls_target=1,
            tokens_in=tokens_in,
            tokens_out=len(reply.ids),
            flops=2.0 * self._model.parameters * tokens,
            seconds=seconds,
        )
        flags = rows[0].flags
        if not reply.finite:
            error = "the model's scores are not finite after it was changed: less of it, or fewer layers"
            return Response(text="", stop="error", error=error, flags=flags, cost=cost)
        stop: Any = "stop" if reply.finished else "length"
        said = Response(text=_joined(how.prefix, reply.text), stop=stop, flags=flags, cost=cost)
        return sanitized(said, thinking=rows[0].thinking)

    def _steered(self, steering: Steering | None) -> Callable[[], Any]:
        if steering is None:
            return Changed().hooks
        for what in (steering.vectors, {n: gate for n, (gate, _) in steering.gates.items()}):
            for number, vector in what.items():
                if not 0 <= number < self.layers or np.shape(vector) != (self.width,):
                    raise UsageError(
                        f"steering: block {number} with {np.shape(vector)} numbers; this model has blocks 0 "
                        f"to {self.layers - 1} of width {self.width}"
                    )
        weight = next(self._model.model.parameters())

        def tensor(values: Floats) -> Any:
            return torch.as_tensor(np.asarray(values), dtype=weight.dtype, device=weight.device)

        vectors = {number: tensor(vector) * steering.alpha for number, vector in steering.vectors.items()}
        gates = {number: (tensor(gate), bias) for number, (gate, bias) in steering.gates.items()}

        def change(number: int, state: Any) -> Any:
            added = vectors[number].expand_as(state)
            if number in gates:
                gate, bias = gates[number]
                added = added * (state @ gate + bias > 0).unsqueeze(-1)
            if steering.positions == "reply" and state.shape[1] > 1:  # the prompt: only its last token
                added = torch.cat([torch.zeros_like(added[:, :-1]), added[:, -1:]], dim=1)
            return state + added

        return lambda: self._hooked(vectors, change)

    def _hooked(self, numbers: Any, act: Callable[[int, Any], Any]) -> AbstractContextManager[None]:
        return hooked(self._blocks, numbers, act)


class _Contrast:
    """Scores of the first of two rows, moved away from those of the second; both rows get them."""

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002
        with_, without = scores.float()
        moved = with_ + self._weight * (with_ - without)
        return torch.stack([moved, moved]).to(scores.dtype)


@contextmanager
def hooked(blocks: Any, numbers: Any, act: Callable[[int, Any], Any]) -> Iterator[None]:
    """While it is entered, `act` sees what leaves these blocks, and may return what replaces it."""

    def hook(number: int) -> Callable[[Any, Any, Any], Any]:
        def on_output(_module: Any, _inputs: Any, output: Any) -> Any:
            state = output[0] if isinstance(output, tuple) else output
            changed = act(number, state)
            if changed is None:
                return None
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return on_output

    handles = [blocks[number].register_forward_hook(hook(number)) for number in numbers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def language_blocks(model: Any, where: str) -> tuple[Any, Any]:
    """The blocks of the language model in a model of `transformers`, and the module that holds them.

    Raises:
        UsageError: if they are not found.
    """
    count = int(model.config.get_text_config().num_hidden_layers)
    modules = dict(model.named_modules())
    for name, module in modules.items():
        apart = any(part in name.lower() for part in _ELSEWHERE)
        if isinstance(module, torch.nn.ModuleList) and len(module) == count and not apart:
            return module, modules[name.rpartition(".")[0]]
    raise UsageError(f"{where}: the {count} blocks of this {model.config.model_type} model are not found")


def final_norm(around: Any, rows: Any) -> Any:
    """What the head gets for states: the final norm, and whatever projection stands before the head.

    Args:
        around: the module that holds the blocks.
        rows: states.
    """
    norm = next((found for name in _NORMS if (found := getattr(around, name, None)) is not None), None)
    rows = rows if norm is None else norm(rows)
    projected = getattr(around, "project_out", None)
    return rows if projected is None else projected(rows)


def _begun(row: Prepared, ids: Sequence[int]) -> Prepared:
    """A request whose reply begins with these tokens."""
    tokens: Fields = {}
    for name, value in row.tokens.items():
        if name == "input_ids":
            more = torch.tensor([list(ids)], dtype=value.dtype)
        elif name == "attention_mask":
            more = value.new_ones((1, len(ids)))
        elif name in _ZEROS:
            more = value.new_zeros((1, len(ids)))
        elif name in _AS_LAST:
            more = value[:, -1:].expand(1, len(ids), *value.shape[2:])
        else:
            tokens[name] = value
            continue
        tokens[name] = torch.cat([value, more], dim=1)
    return replace(row, tokens=tokens)


def _joined(prefix: str, text: str) -> str:
    """The beginning that was given and what was written behind it; tokenizers drop the space between."""
    if not prefix or not text or prefix[-1].isspace() or text[0] in ".,;:!?)":
        return prefix + text
    return f"{prefix} {text}"

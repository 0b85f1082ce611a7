"""Steer towards refusal where the prompt's states look harmful: cross-model guidance with gates.

InferAligner (Wang et al. 2024, arXiv 2401.11206), which released no code. Per block: the safety-related
vector s of the target is the mean state at the last prompt token over harmful prompts minus that over
harmless ones; the safety steering vector t is the same of an aligned model of equal width and depth; the gate
is open where a . s + b > 0, and then alpha t is added to what leaves the block. `sightline fit` learns s, t
and b from half of the groups and prints each gate's AUC on the other half: vectors can be alike and the gate
blind. Our choices, as the paper's are not public: b is minus the midpoint of the two class means, layers are
those whose gate is right for 95 % of held-out cases of either class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending
from sightline.defending import Floats, Inner, Inside, LooksInside, Steering, not_inside
from sightline.defenses._states import coin_cautions, states_of, told_aucs
from sightline.errors import UsageError, require
from sightline.fitting import Example, Fits, Fitting, Learned, State, halves
from sightline.records import Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from sightline.whitebox.victim import Victim

RIGHT = 0.95
"""Share of held-out cases of each class for which a chosen layer's gate is right."""


@registry.defense(
    "inferaligner",
    paper="arXiv:2401.11206",
    source="paper's idea, by our specification; no code was released",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Inferaligner(Fits):
    """Settings.

    Attributes:
        state: file of `sightline fit`.
        aligned: for `fit`: target string of the aligned model of equal width and depth; '' takes the
            target's own vectors.
        alpha: strength; try 1, 2, 4, 8 and keep the least that works, since it costs usefulness.
        layers: blocks from 0; () for those that `fit` chose.
        position: `last_prompt`: gates are read once, from an unchanged pass, and all tokens are moved;
            `every_step`: gates are read anew at the last token of the prompt and at every generated one,
            which alone are moved.
    """

    state: str = ""
    aligned: str = ""
    alpha: float = 1.0
    layers: tuple[int, ...] = ()
    position: Literal["last_prompt", "every_step"] = "last_prompt"

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 100, "alpha", self.alpha, "0..100")
        if len(set(self.layers)) < len(self.layers) or any(layer < 0 for layer in self.layers):
            raise UsageError(f"defense 'inferaligner': layers {list(self.layers)}: each block once, from 0")
        if self.state:
            self.learned()

    @property
    def looks_inside(self) -> bool:
        """Always."""
        return True

    @property
    def calls(self) -> int:
        """The answer; gates cost a look, which is no call."""
        return 1

    async def learn(self, examples: Sequence[Example], ctx: Fitting) -> Learned:
        """Vectors and biases from half of the groups, gates tested on the other half."""
        learn, test = halves(examples)
        inside = ctx.defending(examples[0].shown).inside
        states = await states_of(learn, lambda shown: ctx.defending(shown).states(shown))
        srv = vectors(states, learn)
        ssv = srv if not self.aligned else await self._aligned(learn, ctx, inside)
        projected = np.einsum("nlw,lw->nl", states, srv)
        harmful = np.array([each.harmful for each in learn])
        bias = -(projected[harmful].mean(0) + projected[~harmful].mean(0)) / 2
        held = np.einsum(
            "nlw,lw->nl", await states_of(test, lambda shown: ctx.defending(shown).states(shown)), srv
        )
        open_ = held + bias > 0
        truth = np.array([each.harmful for each in test])
        right = np.minimum(open_[truth].mean(0), 1 - open_[~truth].mean(0))
        chosen = [int(layer) for layer in np.flatnonzero(right >= RIGHT)]
        aucs, lines = told_aucs(held, test, "gate")
        same = cosines(srv, ssv)
        lines.append(f"cosine of s and t by block, which proves nothing: {_row(same)}")
        lines.append(f"right for so many of the worse class: {_row(right.tolist())}")
        lines.append(
            f"blocks chosen: {chosen}"
            if chosen
            else f"no block chosen: no gate is right for {RIGHT:.0%} of held-out cases of both classes; "
            "this model shows no decision at the last prompt token, or the cases differ in something else"
        )
        gates = {form: [row[each] for each in chosen] for form, row in aucs.items()}
        lines += coin_cautions(gates, test)
        return Learned(
            {"s": srv, "t": ssv, "bias": bias.astype(np.float32)},
            {"layers": chosen, "aligned": self.aligned, "auc": aucs},
            tuple(lines),
        )

    async def _aligned(self, examples: Sequence[Example], ctx: Fitting, inside: Inside) -> Floats:
        """Vectors of the aligned model, from what has no picture if there is such: it may be text alone."""
        other = ctx.open_target(self.aligned)
        if not isinstance(other, LooksInside):
            raise UsageError(not_inside("inferaligner", self.aligned))
        its = other.inside()
        if (its.layers, its.width) != (inside.layers, inside.width):
            raise UsageError(
                f"aligned={self.aligned!r} has {its.layers} blocks of width {its.width}, the target "
                f"{inside.layers} of {inside.width}: name an aligned model of equal width and depth, or none"
            )
        texts = [each for each in examples if each.form == "text"]
        used = texts if {each.harmful for each in texts} == {True, False} else examples
        return vectors(await states_of(used, its.states), used)

    def check_state(self, state: State) -> None:
        """See `Fits.check_state`."""
        vectors = state.array("s", None, None)
        state.array("t", *vectors.shape)
        state.array("bias", len(vectors))
        chosen = state.numbers("layers", len(vectors))
        if any(layer >= len(vectors) for layer in self.layers):
            raise UsageError(
                f"defense 'inferaligner': layers {list(self.layers)}: {state.path} has blocks 0 to "
                f"{len(vectors) - 1}"
            )
        if not self.layers and not chosen:
            raise UsageError(
                f"{state.path}: no gate told harmful from benign cases, so no block was chosen: name "
                "`layers: [...]` yourself, or take a defense that does not look inside"
            )

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Read the gates, steer, answer."""
        state = self.learned()
        s, t, bias = (state.arrays[name] for name in ("s", "t", "bias"))
        chosen = self._chosen(state)
        if self.position == "every_step":
            gates = {layer: (s[layer], float(bias[layer])) for layer in chosen}
            steering = Steering(
                vectors={layer: t[layer] for layer in chosen},
                gates=gates,
                alpha=self.alpha,
                positions="reply",
            )
            return await ctx.generate(conversation, how=Inner(steering=steering))
        states = await ctx.states(conversation)
        if states.shape != s.shape:
            raise state.unfit(f"{s.shape[0]} blocks of {s.shape[1]}, and the model has {states.shape}")
        gated = [layer for layer in chosen if states[layer] @ s[layer] + bias[layer] > 0]
        if not gated:
            return await ctx.generate(conversation)
        steering = Steering(vectors={layer: t[layer] for layer in gated}, alpha=self.alpha)
        answer = await ctx.generate(conversation, how=Inner(steering=steering))
        return replace(answer, flags=(*answer.flags, "inferaligner:open"))

    def _chosen(self, state: State) -> tuple[int, ...]:
        return self.layers or state.numbers("layers", len(state.arrays["s"]))

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: a penalty where gates are open; with `every_step` also the steering.

        With `last_prompt` the pass itself is unsteered, which is what it is once all gates are shut.
        """
        from sightline.whitebox.watched import gated

        state = self.learned()
        kept: Mapping[int, Any] = {
            layer: tuple(state.arrays[name][layer] for name in ("s", "t", "bias"))
            for layer in self._chosen(state)
        }
        alpha = self.alpha if self.position == "every_step" else 0.0
        return through.within(self, victim, gated(kept, alpha))


def vectors(states: Floats, examples: Sequence[Example]) -> Floats:
    """The mean over harmful cases minus that over benign ones, by block."""
    harmful = np.array([each.harmful for each in examples])
    found: Floats = (states[harmful].mean(0) - states[~harmful].mean(0)).astype(np.float32)
    return found


def cosines(one: Floats, other: Floats) -> list[float]:
    """Of the rows of two arrays; 0 for a row of zeros."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: list[float] = ((one * other).sum(1) / np.where(lengths == 0, 1, lengths)).tolist()
    return found


def _row(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)

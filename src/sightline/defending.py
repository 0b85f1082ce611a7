"""What a defense may do: ask the target behind it, ask helper models, make pictures, look into the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from sightline.cases import Conversation, Image
from sightline.craft import Images
from sightline.errors import UsageError
from sightline.records import Pixels, Response
from sightline.rng import numpy_rng

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]
else:
    Floats = Any  # `import sightline` must not load NumPy


ANSWER = "answer"
"""The purpose of a call that puts the request itself to the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """Vectors that are added to what leaves the model's blocks, at every token or where a gate is open.

    With a the state of a token behind a block: a + alpha * vector; with a gate where a . gate + bias > 0.
    Whoever wants to decide once, at the last token of the prompt, asks for `Defending.states` first.

    Attributes:
        vectors: by block, from 0; each of the model's width.
        gates: by block: a vector of the model's width and a bias.
        alpha: strength.
        positions: `all` tokens, or those of the `reply`, beginning with the last one of the prompt.
    """

    vectors: Mapping[int, Floats]
    gates: Mapping[int, tuple[Floats, float]] = field(default_factory=dict)
    alpha: float = 1.0
    positions: Literal["all", "reply"] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """How a reply is written from inside; the parts can be combined.

    Attributes:
        prefix: how the reply begins; it is part of the text that comes back.
        steering: changes of states.
        beside: a second conversation, decoded in step with the first.
        weight: with it, scores of the next token are z + weight * (z - z_beside).
    """

    prefix: str = ""
    steering: Steering | None = None
    beside: Conversation | None = None
    weight: float = 0.0


class Inside(Protocol):
    """A target that shows what goes on in it; numbers are float32. `layers` are the outputs of its blocks."""

    @property
    def layers(self) -> int:
        """Number of blocks of the language model."""
        ...

    @property
    def width(self) -> int:
        """Numbers per state."""
        ...

    async def states(self, conversation: Conversation) -> Floats:
        """What leaves each block at the last token of the prompt: layers x width."""
        ...

    async def lens(self, states: Floats) -> Floats:
        """Scores of the vocabulary for states: final norm and output head; rows x vocabulary."""
        ...

    async def next_scores(self, conversation: Conversation, prefix: str = "") -> Floats:
        """Scores (before the softmax) of the token after the prompt and a beginning of the reply."""
        ...

    def token_ids(self, text: str) -> list[int]:
        """Numbers of a text's tokens, without special ones."""
        ...

    async def write(self, conversation: Conversation, decoding: Any, how: Inner) -> Response:
        """A reply (decoding: `contracts.Decoding`) written as `how` says."""
        ...


@runtime_checkable
class LooksInside(Protocol):
    """A target that can be looked into."""

    def inside(self) -> Inside:
        """The model from inside; loads it."""
        ...


class Pictures(Images, Protocol):
    """The pictures of a run, and a place for those that a defense makes."""

    def put_pixels(self, pixels: Pixels) -> Image:
        """Keep uint8 RGB pixels (height x width x 3) as a PNG file."""
        ...


class Answers(Protocol):
    """What stands behind a defense: asks on its behalf, records and counts. `Defending` calls it."""

    async def generate(
        self, conversation: Conversation, purpose: str, changes: Mapping[str, Any], how: Inner | None
    ) -> Response:
        """One reply of the target, its decoding changed."""
        ...

    async def ask(
        self, role: str, conversation: Conversation, purpose: str, settings: Mapping[str, Any]
    ) -> Response:
        """One reply of a helper."""
        ...

    async def states(self, conversation: Conversation, inside: Inside) -> Floats:
        """`Inside.states`, counted."""
        ...

    async def next_scores(self, conversation: Conversation, prefix: str, inside: Inside) -> Floats:
        """`Inside.next_scores`, counted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Defending:
    """The whole outside world of a defense, for one answer.

    Attributes:
        images: reads pixels, and keeps a changed picture as a file of the run (`put_pixels`).
        seed: follows from the request and the study's seed, so that a defense that draws at random draws the
            same for the same request; `rng` makes generators of it.
        answers: who asks on the defense's behalf.
        looks: the target from inside, where it can be looked into.
        target: its name, for messages.
        defense: the name of the defense.
    """

    images: Pictures
    seed: int
    answers: Answers
    looks: LooksInside | None = None
    target: str = ""
    defense: str = ""

    async def generate(
        self,
        conversation: Conversation,
        *,
        purpose: str = ANSWER,
        seed: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        how: Inner | None = None,
    ) -> Response:
        """One reply of the target, as the study decodes unless a setting says otherwise.

        A provider's block or an error of the target ends the defense: it is the result. Every call is
        recorded and counted.

        Args:
            conversation: what is asked.
            purpose: names the call in the record; the first reply for the purpose `answer` is the raw one.
            seed: of sampling.
            temperature: 0 is greedy.
            max_tokens: new tokens, at most.
            how: writes the reply from inside.

        Raises:
            UsageError: with `how`, for a target that cannot be looked into.
        """
        given = {"seed": seed, "temperature": temperature, "max_tokens": max_tokens}
        changes = {name: value for name, value in given.items() if value is not None}
        if how is not None:
            self.inside  # noqa: B018 - refuses targets that cannot
        return await self.answers.generate(conversation, purpose, changes, how)

    async def ask(
        self,
        role: str,
        conversation: Conversation,
        *,
        purpose: str = "",
        max_tokens: int = 512,
        temperature: float = 0.0,
    ) -> Response:
        """One reply of a helper model, by the role that `helpers` of the defense names.

        A helper that still fails after retries gives stop 'error', a blocked call 'content_filter': the
        defense decides what that means, by settings such as `on_failure`. Counted as an auxiliary call.
        """
        settings = {"max_tokens": max_tokens, "temperature": temperature}
        return await self.answers.ask(role, conversation, purpose or role, settings)

    def helper(self, role: str) -> HelperTarget:
        """A helper as a target, for judges that ask one: each call is `ask`."""
        return HelperTarget(self, role)

    def rng(self, *key: object) -> np.random.Generator:
        """A generator that follows from the request, the study's seed and `key`."""
        return numpy_rng("defense", self.seed, *key)

    @property
    def inside(self) -> Inside:
        """The target from inside.

        Raises:
            UsageError: for a target that cannot be looked into.
        """
        if self.looks is None:
            raise UsageError(not_inside(self.defense, self.target))
        return self.looks.inside()

    async def states(self, conversation: Conversation) -> Floats:
        """What leaves each block at the last token of the prompt: layers x width. Counted as a call."""
        return await self.answers.states(conversation, self.inside)

    async def next_scores(self, conversation: Conversation, prefix: str = "") -> Floats:
        """Scores of the token after the prompt and a beginning of the reply. Counted as a call."""
        return await self.answers.next_scores(conversation, prefix, self.inside)


@dataclass(frozen=True, slots=True)
class HelperTarget:
    """A helper of a defense. Satisfies `contracts.Target`."""

    context: Defending
    role: str

    @property
    def id(self) -> str:
        """Its role: what it is stands in the defended target's id."""
        return self.role

    async def generate(self, conversation: Conversation, decoding: Any) -> Response:
        """One reply, by `Defending.ask`."""
        return await self.context.ask(
            self.role,
            conversation,
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.sampling_temperature,
        )


@runtime_checkable
class NeedsHelpers(Protocol):
    """A defense that asks models other than the one it stands before."""

    @property
    def helpers(self) -> Mapping[str, str]:
        """Target strings of these models, by role: none of them may be a judge's grader."""
        ...

    @property
    def helper_calls(self) -> int:
        """Calls to helpers per answer, at most; for the plan of a run."""
        ...


@runtime_checkable
class NeedsInside(Protocol):
    """A defense that looks into the target, with its settings or with any."""

    @property
    def looks_inside(self) -> bool:
        """Whether it does."""
        ...


def not_inside(defense: str, target: str) -> str:
    """What to say of a defense that looks into a target which cannot be looked into."""
    return (
        f"defense {defense!r} looks into the model, and {target} cannot be looked into: take a model that "
        "runs here (vlm/FOLDER or testbed/NAME), and put this defense next to the model, behind all others"
    )

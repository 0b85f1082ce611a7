"""`Craft`: the whole outside world of an attack, with the tools that attacks share.

The tools' code lies in `sightline.attacks.toolkit` and `.gradients`; it is part of the key of what an attack
makes (`cards.Card.parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from sightline.budget import UNLIMITED, Budget
from sightline.cases import Case, Conversation, Image
from sightline.errors import ContractError, UsageError
from sightline.records import (
    NO_COST,
    Cost,
    Draft,
    Pixels,
    Response,
    SearchProgress,
    Verdict,
    no_progress,
)

if TYPE_CHECKING:
    from sightline.attacks.toolkit import SourceImage
    from sightline.whitebox import Problem, Rewriting, SearchResult, TextProblem, TokenSearchResult
    from sightline.whitebox.victim import Encoder, Victim

T = TypeVar("T")


class Images(Protocol):
    """Read access to pictures by hash, and a place for new ones."""

    def read(self, sha256: str) -> bytes:
        """The exact file bytes. Raises UsageError if the blob is absent or damaged."""
        ...

    def pixels(self, image: Image) -> Pixels:
        """Decoded RGB pixels, uint8, height x width x 3."""
        ...

    def put(self, data: bytes) -> Image:
        """Keep a picture file; the same bytes are stored once. Raises UsageError if it is no picture."""
        ...


class Surrogate(Protocol):
    """A model that the study names for crafting on. It is loaded for gradients when it is first asked for."""

    @property
    def id(self) -> str:
        """The target's id: name, weights digest, number format."""
        ...

    def victim(self) -> Victim:
        """The model, opened for gradients. Raises UsageError if it has none."""
        ...

    def encoder(self) -> Encoder:
        """Its vision tower alone. Raises UsageError if it has none."""
        ...


class Talk(Protocol):
    """The models that an attack on one case may ask; see the methods of `Craft` of the same names."""

    async def ask(
        self, role: str, conversation: Conversation, *, max_tokens: int, temperature: float
    ) -> Response:
        """One reply of a helper model."""
        ...

    async def ask_target(self, conversation: Conversation) -> Response:
        """One reply of the target."""
        ...

    async def verdict(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """What the in-loop judge says of a reply."""
        ...

    async def picture_of(self, case: Case, prompt: str) -> Pixels:
        """A picture from the image source."""
        ...

    def keep(self, draft: Draft) -> None:
        """The best draft so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Craft:
    """The whole outside world of an attack.

    Attributes:
        images: opens the case's pictures.
        seed: follows from the case and from what the study says of the attack, for one that gets many cases
            in one call from the latter alone.
        report: shows progress.
        surrogates: the models that it may look into; see `models` and `encoders`.
        budget: what one artifact may spend.
        checkpoint: `checkpoint(name)` is the file in which a long search is saved until its artifact is
            sealed; None where nothing is saved.
        attack: the name of the attack, for messages and for what is drawn at random.
        picture: what an attack on all cases is to perturb, where the caller names it; see `shared_image`.
        talk: the models that an attack which converses may ask.
    """

    images: Images
    seed: int = 0
    report: Callable[[SearchProgress], None] = no_progress
    surrogates: tuple[Surrogate, ...] = ()
    budget: Budget = UNLIMITED
    checkpoint: Callable[[str], Path] | None = None
    attack: str = ""
    picture: Pixels | None = None
    talk: Talk | None = None

    async def ask(
        self, role: str, conversation: Conversation, *, max_tokens: int = 512, temperature: float = 0.0
    ) -> Response:
        """One reply of a helper model: a role that the study names, such as `attacker` or `captioner`.

        The call is recorded, counted as auxiliary, and not made again by a resumed run. A refusal, a block
        (`stop`) and an empty text come back as they are.

        Raises:
            TransientError: if the helper still fails after its retries: the artifact is an error.
            SpentError: if the budget pays for no further call: the draft last kept is the artifact.
        """
        return await self._talk.ask(role, conversation, max_tokens=max_tokens, temperature=temperature)

    async def ask_target(self, conversation: Conversation) -> Response:
        """One reply of the target: of the bare model or, with `oracle: defended`, of the defended one.

        Raises:
            TransientError, SpentError: as `ask`.
            ContractError: if the attack declares no calls to a target, or the study grants none.
        """
        return await self._talk.ask_target(conversation)

    async def verdict(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """What the in-loop judge says of a reply. It never scores: the judges of the study are others.

        Args:
            case: what is attacked; its behavior is what the reply is compared with.
            shown: what the target was shown.
            response: its reply.

        Raises:
            TransientError, SpentError: as `ask`. A verdict that cannot be read is `Outcome.unparsed`.
        """
        return await self._talk.verdict(case, shown, response)

    async def picture_of(self, case: Case, prompt: str) -> Pixels:
        """A picture of what the prompt describes, from the study's role `image_source`.

        Raises:
            UsageError: if the source has none, such as a release without a picture of this case.
        """
        return await self._talk.picture_of(case, prompt)

    def keep(self, draft: Draft) -> None:
        """Keep the best draft so far: it becomes the artifact if the budget ends the loop."""
        self._talk.keep(draft)

    @property
    def _talk(self) -> Talk:
        if self.talk is None:
            raise ContractError(f"attack {self.attack!r} asks models: it is run by `converse`, not `craft`")
        return self.talk

    @property
    def models(self) -> tuple[Victim, ...]:
        """The models that the study names for crafting, opened for gradients.

        Raises:
            ContractError: if there are none.
        """
        return tuple(surrogate.victim() for surrogate in self._surrogates())

    @property
    def model(self) -> Victim:
        """The only model that the study names for crafting.

        Raises:
            UsageError: if it names several.
        """
        return self._only(self.models, "model")

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """The encoders that the study names for crafting, or the vision towers of the models that it names.

        Raises:
            ContractError: if there are none.
        """
        return tuple(surrogate.encoder() for surrogate in self._surrogates())

    @property
    def encoder(self) -> Encoder:
        """The only encoder that the study names for crafting, or the vision tower of the only model.

        Raises:
            UsageError: if it names several.
        """
        return self._only(self.encoders, "vision tower")

    def own_image(self, case: Case) -> Pixels | None:
        """The picture that a case shows beside its last question; None if it shows none.

        Raises:
            UsageError: if the case has several pictures, or shows its picture before the last user turn.
        """
        from sightline.attacks import toolkit

        return toolkit.own_image(case, self)

    def source_image(self, case: Case, *, size_px: int = 224, shapes: int = 5) -> SourceImage:
        """The picture to perturb: the case's own, or a drawing of shapes where it has none.

        Args:
            case: whose picture.
            size_px: side of the drawing.
            shapes: in the drawing.

        Raises:
            UsageError: as `own_image`.
        """
        from sightline.attacks import toolkit

        return toolkit.source_image(case, self, size_px=size_px, shapes=shapes)

    def shared_image(self, *, size_px: int, shapes: int) -> Pixels:
        """The picture that an attack on all cases perturbs: the caller's, or a drawing of shapes."""
        from sightline.attacks import toolkit

        return self.picture if self.picture is not None else toolkit.shared_scene(self, size_px, shapes)

    def minimize(
        self,
        problem: Problem,
        *,
        steps: int,
        keys: Sequence[int] | None = None,
        every: int = 25,
        part: str = "",
        budget: Budget | None = None,
        before: Cost = NO_COST,
    ) -> SearchResult:
        """Search for pictures within the budget, reported, and kept so that it goes on after a crash.

        Args:
            problem: what is minimized.
            steps: of the optimizer.
            keys: names of the artifacts' random numbers.
            every: steps from check to check.
            part: tells the searches for one artifact apart.
            budget: what is left of `self.budget`, for a search that is not the artifact's first.
            before: what an artifact took to prepare (features of a target, replies of a teacher); it is paid
                from the same budget and part of the costs of what was found.

        Raises:
            UsageError: as `whitebox.minimize`.
            SpentError: for a budget that `before` uses up.
        """
        from sightline.attacks import gradients

        return gradients.minimize(
            problem, self, steps=steps, keys=keys, every=every, part=part, budget=budget, before=before
        )

    def search(self, problem: TextProblem, *, steps: int, key: int = 0, every: int = 25) -> TokenSearchResult:
        """Search for a text within the budget, reported, and kept so that it goes on after a crash.

        Args:
            problem: what is minimized.
            steps: of the search, at most.
            key: names the text's random numbers.
            every: steps from one entry of the record to the next.

        Raises:
            UsageError: as `whitebox.search_tokens`.
        """
        from sightline.attacks import gradients

        return gradients.search(problem, self, steps=steps, key=key, every=every)

    def rewrite(self, problem: Rewriting, *, restarts: int, steps: int, key: int = 0) -> TokenSearchResult:
        """Rewrite a text within the budget, reported, and kept so that it goes on after a crash.

        Args:
            problem: what is minimized.
            restarts: random starts at most.
            steps: of each.
            key: names the text's random numbers.

        Raises:
            UsageError: as `whitebox.rewrite`.
        """
        from sightline.attacks import gradients

        return gradients.rewrite(problem, self, restarts=restarts, steps=steps, key=key)

    def _surrogates(self) -> tuple[Surrogate, ...]:
        if not self.surrogates:
            raise ContractError(f"attack {self.attack!r} was called without a surrogate")
        return self.surrogates

    def _only(self, found: Sequence[T], what: str) -> T:
        if len(found) > 1:
            raise UsageError(
                f"attack {self.attack!r} is crafted on one {what}, not on {len(found)}: name one surrogate"
            )
        return found[0]

"""Methods as functions: what `attack(model, prompt)`, `defense(model)` and their like take and give.

The contracts derive from these protocols; what they do lies in `sightline.api`, loaded at the first call.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypedDict, TypeVar, Unpack, overload

from sightline.budget import Budget
from sightline.cases import Case
from sightline.records import Response, Verdict

if TYPE_CHECKING:
    from sightline.api.attacking import Result
    from sightline.api.models import Model, ModelLike
    from sightline.api.pictures import ImageLike
    from sightline.api.prompts import Prompt
    from sightline.cards import Card

P = TypeVar("P", bound="Prompt")
_BY_DECORATOR: Any = None
"""Stands for a class's card until the decorator that registers the class has set it."""


class Method(Protocol):
    """What all registered methods have: a card, and settings that can be taken from a named preset."""

    __slots__ = ()
    card: ClassVar[Card] = _BY_DECORATOR

    @classmethod
    def preset(cls, name: str, **settings: Any) -> Self:
        """The method with the settings of a preset, one of `card.presets`; `settings` override them.

        Raises:
            UsageError: for an unknown preset or setting, or a value of the wrong type or range.
        """
        made = importlib.import_module("sightline.registry").make
        return made(cls.card.kind, cls.card.name, preset=name, **settings)  # type: ignore[no-any-return]


class How(TypedDict, total=False):
    """How an attack is called without a study; see `Attack.__call__`."""

    image: ImageLike | None
    target: str | Sequence[str] | None
    roles: Mapping[str, Any]
    budget: Budget | Mapping[str, float]
    seed: int
    folder: str | os.PathLike[str] | None
    quiet: bool


def _front(module: str) -> Any:
    """A module of the Python front door, loaded when a method is called as a function."""
    return importlib.import_module(f"sightline.api.{module}")


class BenchmarkCall(Method, Protocol):
    """A benchmark as a function: a release in, cases out."""

    __slots__ = ()

    def __call__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        limit: int | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> list[Case]:
        """Read the cases.

        Args:
            root: folder or zip of the official release; none for benchmarks that make their own cases.
            limit: at most so many, taken in turn from every expectation and category, as in a study.
            folder: where the pictures are kept; by default in a temporary folder.

        Returns:
            The cases in release order. `case.conversation` is what is asked, `case.behavior` what it wants.

        Raises:
            UsageError: if the release is not there or a row of it cannot be read.
        """
        return _front("reading").read(self, root, limit=limit, folder=folder)  # type: ignore[no-any-return]


class AttackCall(Method, Protocol):
    """An attack as a function: prompts in, results out."""

    __slots__ = ()

    @overload
    def __call__(self, model: ModelLike, prompts: P, **how: Unpack[How]) -> Result: ...
    @overload
    def __call__(self, model: ModelLike, prompts: list[P], **how: Unpack[How]) -> list[Result]: ...

    def __call__(self, model: Any, prompts: Any, **how: Unpack[How]) -> Any:
        """Attack one prompt or a list of them, without a study.

        Pictures are written as PNG, read back and measured; budgets and costs are those of a study, and the
        same prompt, settings, model and seed give the same result.

        Args:
            model: from `sl.open_model` or `sl.from_pretrained`, or a target string; several, in a list, for
                an attack crafted on all of them; None for an attack that uses no gradients. An attack that
                talks to a model talks to this one, bare or behind its defense.
            prompts: a string, a picture, an `sl.Case`, an `sl.Conversation`, an earlier `Result`; or a list.
            image: a picture shown before the text of each prompt: a Pillow image, an array (height, width,
                3) of uint8, the `pathlib.Path` of a file, or `result.image`.
            target: what the model is to say: the attack's setting `target` or `targets`.
            roles: models that an attack asks while it crafts, by role: target strings or opened models;
                `in_loop_judge` is a judge or a model that grades, `image_source` a text such as `release`.
            budget: the limit for one result (passes, FLOPs, calls, tokens, seconds): an `sl.Budget`, or a
                mapping as in a study, `{"target_calls": 5}`.
            seed: of everything random.
            folder: where pictures are kept; by default with the model's, in a temporary folder.
            quiet: whether to show no progress.

        Returns:
            `Result` with text, image, losses, norms (pixel levels 0..255) and cost; a list of them for a
            list.

        Raises:
            UsageError: if the attack cannot work on the prompt; of a list, if it can work on none: otherwise
                `result.problem` says why.
        """
        return _front("attacking").attack(self, model, prompts, **how)


class DefenseCall(Method, Protocol):
    """A defense as a function: a model in, a model out."""

    __slots__ = ()

    def __call__(self, model: Model | str) -> Model:
        """The model behind this defense: a model that can be asked, attacked and defended again.

        Args:
            model: from `sl.open_model` or `sl.from_pretrained`, or a target string.
        """
        return _front("models").opened(model).behind(self)  # type: ignore[no-any-return]


class JudgeCall(Method, Protocol):
    """A judge as a function: replies in, verdicts out."""

    __slots__ = ()

    @overload
    def __call__(self, requests: P, replies: str | Response) -> Verdict: ...
    @overload
    def __call__(self, requests: list[P], replies: Sequence[str | Response]) -> list[Verdict]: ...

    def __call__(self, requests: Any, replies: Any) -> Any:
        """Judge one reply or a list of them, without a study.

        Args:
            requests: what was asked: a string, an `sl.Case` (which knows what a safe model does and the right
                answer), an `sl.Conversation`, or the `Result` of an attack; or a list, one for each reply.
            replies: a string or a `Response` of `model.ask`; or a list.

        Returns:
            `Verdict` with `outcome`, `score` (on the judge's own scale) and `reason`; a list for lists.
        """
        return _front("judging").judged(self, requests, replies)


class RecipeCall(Method, Protocol):
    """A recipe as a function: a model in, a trained model out."""

    __slots__ = ()

    def __call__(
        self,
        model: Model | str,
        cases: Sequence[Case],
        *,
        seed: int = 0,
        folder: str | os.PathLike[str] | None = None,
    ) -> Model:
        """Train, or find in the cache what was trained so before.

        Args:
            model: a local one: a target string, or from `sl.open_model`.
            cases: from a benchmark, such as `sl.benchmarks.TestbedTraining()(folder=...)`.
            seed: of the order of rows.
            folder: where the pictures of the cases are kept: the one that the benchmark was given.

        Raises:
            UsageError: for a model that cannot be trained, or cases that teach nothing.
        """
        return _front("tuned").tuned(self, model, cases, seed=seed, folder=folder)  # type: ignore[no-any-return]

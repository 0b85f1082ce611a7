"""Models of the front door: opened by name or from memory, asked in plain code, and used by attacks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from sightline.api.pictures import Pictures, store
from sightline.api.prompts import Prompt, conversation_of, follow_ups_of
from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding, Defense, Surrogate, Target
from sightline.errors import UsageError
from sightline.records import Response
from sightline.waiting import wait

if TYPE_CHECKING:
    from sightline.api.pictures import ImageLike

P = TypeVar("P", bound=Prompt)
ENCODER = "encoder/"


class Model:
    """A model that answers, and that attacks may look into if it runs here. `open_model` makes one.

    Attributes:
        name: the target string, such as `testbed/linear`.
        pictures: where pictures of this model's conversations and of attacks on it are written.
    """

    def __init__(
        self, name: str, target: Target | None, pictures: Pictures, surrogate: Surrogate | None = None
    ):
        self.name = name
        self.pictures = pictures
        self._target = target
        self._surrogate = surrogate

    def __repr__(self) -> str:
        return f"<Model {self.name}>"

    @property
    def id(self) -> str:
        """Identity of the model in the keys of studies: name, digest of weights, defenses."""
        return self.target.id if self._target is not None else self.surrogate.id

    @property
    def target(self) -> Target:
        """What answers.

        Raises:
            UsageError: for an encoder, which answers nothing.
        """
        if self._target is None:
            raise UsageError(
                f"{self.name} answers nothing, it only serves attacks: open vlm/FOLDER or testbed/NAME"
            )
        return self._target

    @property
    def surrogate(self) -> Surrogate:
        """The model opened for gradients; weights are loaded when an attack first needs them.

        Raises:
            UsageError: for a model that does not run here, or is defended.
        """
        if self._surrogate is None:
            from sightline.study.surrogates import open_surrogate

            self._surrogate = open_surrogate(self.name, lambda _: self.target)
        return self._surrogate

    @overload
    def ask(self, text: P, image: ImageLike | None = None, **decoding: Any) -> Response: ...
    @overload
    def ask(self, text: list[P], image: ImageLike | None = None, **decoding: Any) -> list[Response]: ...

    def ask(self, text: Any, image: Any = None, **decoding: Any) -> Any:
        """Ask the model and wait for its reply; works in notebooks, too.

        Args:
            text: a prompt: a string, a `Case`, a `Conversation`, or the `Result` of an attack. A list of
                them is answered in batches and gives a list of replies. A script of several turns is
                played turn by turn: the reply is that to its last turn, `replies` are those before.
            image: shown before the text: a Pillow image, an array (height, width, 3) of uint8, the
                `pathlib.Path` of a picture file, or `result.image`.
            decoding: settings of `sl.Decoding`: `max_tokens` (new tokens; default 128 for the testbed, else
                512), `temperature` (0 is greedy), `top_p`, `seed`.

        Returns:
            `Response` with `text`, `stop`, `cost`, `error` (a failure of the provider is data:
            `stop='error'`).

        Raises:
            UsageError: for a picture that cannot be read, a rejected key, an unknown model.
        """
        if not isinstance(text, list):
            return self.ask([text], image, **decoding)[0]
        settings = decoding_of(self.name, decoding)
        asked = [(conversation_of(each, image, self.pictures), follow_ups_of(each)) for each in text]
        return wait(self._replies(asked, settings))

    async def _replies(
        self, asked: Sequence[tuple[Conversation, Sequence[Turn]]], decoding: Decoding
    ) -> list[Response]:
        from sightline.study.replying import play

        return list(await asyncio.gather(*(play(self.target, *each, decoding) for each in asked)))

    def behind(self, defense: Defense) -> Model:
        """This model behind a defense: `sl.defenses.SelfModeration(rounds=1)(model)`."""
        from sightline import registry
        from sightline.targets import open_target
        from sightline.targets.defended import DefendedTarget

        defense = registry.checked(defense)
        opener = partial(open_target, images=self.pictures)
        name = f"defended/{registry.spec(defense)}:{self.name}"
        return Model(name, DefendedTarget(defense, self.target, self.pictures, opener), self.pictures)


def decoding_of(name: str, settings: dict[str, Any]) -> Decoding:
    """How a model is asked if nothing else is said: greedily, up to the usual number of tokens.

    Raises:
        UsageError: for an unknown setting.
    """
    from sightline.targets import default_max_tokens

    try:
        return Decoding(**{"max_tokens": default_max_tokens([name]), **settings})
    except TypeError as unknown:
        raise UsageError(f"ask: {unknown}; settings are max_tokens, temperature, top_p and seed") from None


def open_model(name: str, *, folder: str | os.PathLike[str] | None = None, **model_args: Any) -> Model:
    """Open a model by its target string. Weights are hashed now, and loaded when they are first used.

    Args:
        name: `testbed/NAME`, `vlm/FOLDER`, `scripted/FILE`, `replay/RUN`, `defended/DEFENSE:TARGET`, a model
            of any provider (`openai/gpt-4o`), or `encoder/FOLDER` for attacks on a vision encoder alone.
        folder: where pictures are kept; by default in a temporary folder that is removed when Python ends.
        model_args: passed on to a provider, such as `base_url`.

    Raises:
        UsageError: for an unknown kind of model, an absent folder or file.
        AbsentExtraError: for a local model if torch or transformers is not installed.
    """
    pictures = store(folder)
    if name.startswith(ENCODER):
        from sightline.study.surrogates import EncoderSurrogate

        return Model(name, None, pictures, EncoderSurrogate(name))
    from sightline.targets import open_target

    return Model(name, open_target(name, pictures, model_args=model_args), pictures)


def from_pretrained(
    model: Any, processor: Any, *, name: str = "", folder: str | os.PathLike[str] | None = None
) -> Model:
    """Open a model of `transformers` that is in memory, to be asked and attacked; nothing is loaded twice.

    Neither argument is changed. If you change the weights, open the model again: replies are remembered.

    Args:
        model: an image-text-to-text model, on its device and in its number format.
        processor: as `AutoProcessor.from_pretrained(FOLDER, backend="pil")` loads it.
        name: of the model, in ids and messages; by default that of its configuration.
        folder: where pictures are kept; by default in a temporary folder that is removed when Python ends.

    Raises:
        UsageError: for a processor that lacks a part or needs torchvision.
    """
    from sightline.targets.vlm import from_memory

    pictures = store(folder)
    target = from_memory(model, processor, pictures, name=name)
    return Model(target.id.partition("#")[0], target, pictures)


ModelLike: TypeAlias = Model | str | Sequence[Model | str] | None
"""What attacks take: a model, a target string, several of them, or none."""


def opened(model: Any) -> Model:
    """A model that is given as such or by name."""
    if isinstance(model, str):
        return open_model(model)
    if not isinstance(model, Model):
        raise UsageError(
            f"{type(model).__name__} is no model: open one with sl.open_model(NAME) or, for a model of "
            "transformers that is in memory, sl.from_pretrained(model, processor)"
        )
    return model

"""Change pictures before the target sees them: JPEG, scale, bits, blur, noise, crop, or one drawn at random.

After Dziugaite et al. 2016 and Guo et al. 2018 (JPEG, bit depth, crops), Xu et al. 2018 (bit depth, blur)
and Xie et al. 2018 (a random change per request); no code of theirs is used. What is optimized pixel by
pixel seldom survives; what is drawn to be read does, so this is no defense against drawn requests. Each
changed picture is a PNG of the run. No further target calls. An attacker who knows the changes optimizes
through them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PilImage
from PIL import ImageFilter

from sightline import registry
from sightline.cases import Conversation, Image, Turn
from sightline.contracts import Defending, Defense
from sightline.errors import UsageError, nearest, require
from sightline.records import Pixels, Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from numpy.random import Generator

    from sightline.whitebox.victim import Victim

_RANGES: Mapping[str, tuple[float, float, str]] = {
    "crop": (0.5, 1.0, "0.5..1, the share of each side that is kept"),
    "scale": (0.1, 1.0, "0.1..1, the share to which each side shrinks before it grows back"),
    "blur": (0.0, 16.0, "0..16 pixels"),
    "noise": (0.0, 128.0, "0..128 levels of 255"),
    "bits": (1, 8, "1..8 bits per color"),
    "jpeg": (0, 100, "quality 1..100, or 0 for none"),
}
"""Of each step, in the order in which they are made: least, most, and how to say so."""
_WHOLE = frozenset({"bits", "jpeg"})
_NOTHING = {"crop": 1.0, "scale": 1.0, "blur": 0.0, "noise": 0.0, "bits": 8.0, "jpeg": 0.0}
_RANDOMISED = ("jpeg=30", "jpeg=50", "jpeg=70", "scale=0.5", "scale=0.7", "bits=4", "blur=1", "noise=12")


@registry.defense(
    "purify",
    paper="arXiv:1608.00853; arXiv:1711.00117; arXiv:1704.01155; arXiv:1711.01991",
    source="Sightline",
    presets={
        "jpeg50": {"jpeg": 50},
        "jpeg50_blur": {"jpeg": 50, "blur": 0.5},
        "randomised": {"jpeg": 0, "crop": 0.95, "choices": _RANDOMISED},
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Purify(Defense):
    """Settings; steps are made in the order crop, scale, blur, noise, bits, jpeg.

    Attributes:
        jpeg: quality at which pictures are compressed, with halved color as usual; 0 = not.
        scale: share to which each side shrinks before it grows back (bicubic); 1 = not.
        bits: per color; 8 = as they are.
        blur: radius (sigma) of a Gaussian in pixels; 0 = none.
        noise: sigma of Gaussian noise in levels of 255, drawn anew for each request; 0 = none.
        crop: share of each side that is kept, at a place drawn anew for each request, and enlarged to the
            size before; 1 = all.
        choices: steps such as `jpeg=30` of which each request draws one, for all its pictures, in place of
            the setting of that name.
    """

    jpeg: int = 75
    scale: float = 1.0
    bits: int = 8
    blur: float = 0.0
    noise: float = 0.0
    crop: float = 1.0
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in self._steps().items():
            _check(name, value)
        drawn = [step_of(choice) for choice in self.choices]
        if not drawn and self._steps() == _NOTHING:
            raise UsageError("defense 'purify' changes nothing: set jpeg, scale, bits, blur, noise or crop")

    @property
    def calls(self) -> int:
        """One: the request itself."""
        return 1

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Ask once, with every picture of every turn changed."""
        steps = self._drawn_steps(ctx.rng("choice"))
        count = 0

        def shown(image: Image) -> Image:
            nonlocal count
            count += 1
            return ctx.images.put_pixels(purified(ctx.images.pixels(image), steps, ctx.rng("picture", count)))

        turns = (
            Turn(turn.role, tuple(part if isinstance(part, str) else shown(part) for part in turn.parts))
            for turn in conversation.turns
        )
        return await ctx.generate(Conversation(tuple(turns)))

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: the changed picture forward, the identity backward (BPDA)."""
        drawn = bool(self.choices or self.noise or self.crop < 1)
        return through.changed(self, victim, pixels=self._as_an_attacker_draws, random=(False, drawn))

    def _as_an_attacker_draws(self, pixels: Pixels, rng: Generator) -> Pixels:
        """One picture, changed by the code that `respond` changes it by."""
        return purified(pixels, self._drawn_steps(rng), rng)

    def _drawn_steps(self, rng: Generator) -> dict[str, float]:
        """Values of all steps for one request: one of `choices` is drawn, if there are any."""
        steps = self._steps()
        if self.choices:
            name, value = step_of(self.choices[int(rng.integers(len(self.choices)))])
            steps[name] = value
        return steps

    def _steps(self) -> dict[str, float]:
        """Values of all steps, in their order."""
        return {name: float(getattr(self, name)) for name in _RANGES}


def step_of(choice: str, defense: str = "purify") -> tuple[str, float]:
    """`jpeg=30` as name and value; `defense` names the one whose setting it is.

    Raises:
        UsageError: for another form, an unknown step, or a value out of its range.
    """
    name, _, said = (part.strip() for part in choice.partition("="))
    if name not in _RANGES:
        raise UsageError(nearest(name, _RANGES, f"step of defense {defense!r}"))
    try:
        value = float(said)
    except ValueError:
        raise UsageError(f"steps of defense {defense!r}: write {name}=NUMBER, not {choice!r}") from None
    _check(name, value)
    return name, value


def purified(pixels: Pixels, steps: Mapping[str, float], rng: Generator) -> Pixels:
    """A picture (uint8 RGB, height x width x 3) after the steps that change something; its size stays."""
    picture = PilImage.fromarray(np.ascontiguousarray(pixels))
    for name in _RANGES:
        value = steps.get(name, _NOTHING[name])
        if value != _NOTHING[name]:
            picture = _STEPS[name](picture, value, rng)
    return np.asarray(picture, dtype=np.uint8)


def _check(name: str, value: float) -> None:
    least, most, expected = _RANGES[name]
    fits = least <= value <= most and (name not in _WHOLE or value == int(value))
    require(fits, name, value, expected)


def _crop(picture: PilImage.Image, share: float, rng: Generator) -> PilImage.Image:
    width, height = picture.size
    kept_x, kept_y = max(1, round(width * share)), max(1, round(height * share))
    left, top = int(rng.integers(width - kept_x + 1)), int(rng.integers(height - kept_y + 1))
    box = (left, top, left + kept_x, top + kept_y)
    return picture.resize((width, height), PilImage.Resampling.BICUBIC, box=box)


def _scale(picture: PilImage.Image, share: float, rng: Generator) -> PilImage.Image:  # noqa: ARG001
    width, height = picture.size
    small = (max(1, round(width * share)), max(1, round(height * share)))
    resized = picture.resize(small, PilImage.Resampling.BICUBIC)
    return resized.resize((width, height), PilImage.Resampling.BICUBIC)


def _blur(picture: PilImage.Image, sigma: float, rng: Generator) -> PilImage.Image:  # noqa: ARG001
    return picture.filter(ImageFilter.GaussianBlur(sigma))


def _noise(picture: PilImage.Image, sigma: float, rng: Generator) -> PilImage.Image:
    levels = np.asarray(picture, dtype=np.float32)
    noisy = levels + rng.normal(0.0, sigma, levels.shape)
    return PilImage.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def _bits(picture: PilImage.Image, bits: float, rng: Generator) -> PilImage.Image:  # noqa: ARG001
    steps = 2 ** int(bits) - 1
    table = [round(round(level / 255 * steps) * 255 / steps) for level in range(256)]
    return picture.point(table * 3)


def _jpeg(picture: PilImage.Image, quality: float, rng: Generator) -> PilImage.Image:  # noqa: ARG001
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=int(quality))
    with PilImage.open(io.BytesIO(file.getvalue())) as read:
        return read.convert("RGB")


_STEPS: Mapping[str, Callable[[PilImage.Image, float, Generator], PilImage.Image]] = {
    "crop": _crop,
    "scale": _scale,
    "blur": _blur,
    "noise": _noise,
    "bits": _bits,
    "jpeg": _jpeg,
}

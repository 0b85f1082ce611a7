"""Pictures drawn by a text-to-image pipeline of Hugging Face diffusers in a local folder."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from sightline.cases import Case
from sightline.closure import with_code
from sightline.errors import AbsentExtraError, UsageError, nearest, require
from sightline.records import Pixels
from sightline.rng import seed_of
from sightline.targets.local.diffusion import Pipeline, check_pipeline
from sightline.targets.local.files import need_local, weights_digest
from sightline.targets.local.settings import LocalSettings

SETTINGS = ("steps", "guidance", "size")
_SIZE = re.compile(r"(\d{2,4})(?:x(\d{2,4}))?")


class DiffusersSource:
    """A pipeline of diffusers: `FOLDER`, or `FOLDER?steps=30&guidance=5&size=1024x768`.

    What is not set is the pipeline's own default. Nothing is loaded before the first picture. The noise that
    a picture starts from follows from the prompt and the attack's seed.

    Raises:
        AbsentExtraError: if diffusers, torch or transformers is not installed.
        UsageError: for a folder that holds no pipeline which may be loaded, or settings out of range.
    """

    def __init__(self, name: str, rest: str, local: LocalSettings | None = None) -> None:
        path, _, query = rest.partition("?")
        self.settings = read_settings(name, query)
        folder = Path(path).expanduser()
        check_pipeline(folder)
        need_local(f"image source {name!r}")
        if importlib.util.find_spec("diffusers") is None:
            raise AbsentExtraError(f"image source {name!r}", "diffusers", "diffusers")
        local = local or LocalSettings.from_environment()
        dtype = local.resolved_dtype()
        self.pipeline = Pipeline(folder, dtype=dtype, device=local.resolved_device())
        said = "".join(f" {key}={value}" for key, value in self.settings.items())
        weights = weights_digest(folder)[:16]
        self.id = with_code(
            f"diffusers/{folder.name}#{weights}@{dtype}{said}", __name__, packages=("diffusers", "torch")
        )

    @property
    def note(self) -> str:
        """See `ImageSource.note`."""
        return ""

    async def picture(self, case: Case, prompt: str, *, seed: int) -> Pixels:
        """A picture of the prompt, drawn beside the event loop.

        Raises:
            UsageError: if it cannot be drawn, or comes out black.
        """
        number = seed_of("diffusers", prompt, seed)
        try:
            return await asyncio.to_thread(self.pipeline.draw, prompt, seed=number, settings=self.settings)
        except UsageError as failed:
            raise UsageError(f"case {case.id}: {failed}") from None


def read_settings(name: str, query: str) -> dict[str, Any]:
    """Arguments of a pipeline's call, from `steps=30&guidance=5&size=1024x768`.

    Raises:
        UsageError: for an unknown setting, one that stands twice, or a value out of range.
    """
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in SETTINGS:
            raise UsageError(f"image source {name!r}: {nearest(key, SETTINGS, 'setting')}")
        if key in found:
            raise UsageError(f"image source {name!r}: {key} is set twice")
        found[key] = value
    call: dict[str, Any] = {}
    if "steps" in found:
        steps = int(found["steps"]) if found["steps"].isdecimal() else 0
        require(1 <= steps <= 1000, "steps", found["steps"], "1..1000 denoising steps")
        call["num_inference_steps"] = steps
    if "guidance" in found:
        guidance = float(found["guidance"]) if re.fullmatch(r"\d+(\.\d+)?", found["guidance"]) else -1.0
        require(0 <= guidance <= 100, "guidance", found["guidance"], "a scale of 0..100")
        call["guidance_scale"] = guidance
    if "size" in found:
        size = _SIZE.fullmatch(found["size"])
        width = int(size[1]) if size else 0
        height = int(size[2] or width) if size else 0
        fits = all(64 <= side <= 4096 and side % 8 == 0 for side in (width, height))
        require(fits, "size", found["size"], "64..4096 pixels in eights: 1024, or 1024x768 (width x height)")
        call |= {"width": width, "height": height}
    return call

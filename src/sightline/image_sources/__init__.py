"""Where the pictures of attacks come from that show what a prompt describes: the role `image_source`.

release                          the picture that the case has in its release
placeholder[/PIXELS]             shapes drawn from prompt and seed: results are not comparable
folder/PATH                      your pictures, named by their prompts: `a-photo-of-glimber.png`
diffusers/FOLDER[?steps=N&...]   a text-to-image pipeline of Hugging Face diffusers in a local folder

A source draws the same picture for the same prompt and seed. Nothing is ever downloaded.
"""

from __future__ import annotations

from typing import Protocol

from sightline.cases import Case
from sightline.contracts import Images
from sightline.errors import UsageError, nearest
from sightline.image_sources.diffusion import DiffusersSource
from sightline.image_sources.drawn import DEFAULT_PX, PlaceholderSource
from sightline.image_sources.found import FolderSource, ReleaseSource
from sightline.records import Pixels
from sightline.targets.local.settings import LocalSettings

FORMS = "release, placeholder[/PIXELS], folder/PATH or diffusers/FOLDER[?steps=N&guidance=X&size=N]"
KINDS = ("release", "placeholder", "folder", "diffusers")


class ImageSource(Protocol):
    """Draws or finds pictures. `id` names what decides them: content of files, settings, code."""

    @property
    def id(self) -> str:
        """Stable identity; part of the key of every artifact that shows a picture of this source."""
        ...

    @property
    def note(self) -> str:
        """What the note of every draft that shows a picture of this source must say; '' = nothing."""
        ...

    async def picture(self, case: Case, prompt: str, *, seed: int) -> Pixels:
        """The picture of a prompt: uint8 pixels, height x width x 3.

        Args:
            case: what is attacked.
            prompt: what the picture is to show.
            seed: of the attack on this case; the prompt is part of the randomness already.

        Raises:
            UsageError: if the source has no such picture.
        """
        ...


def open_image_source(name: str, images: Images, *, local: LocalSettings | None = None) -> ImageSource:
    """Open a source of pictures. Files are hashed; no model is loaded before the first picture.

    Args:
        name: as above.
        images: the pictures of the cases.
        local: how a pipeline runs here; by default from the environment.

    Raises:
        UsageError: for an unknown kind, an absent folder, or settings out of range.
        AbsentExtraError: for `diffusers/` if that package is not installed.
    """
    kind, slash, rest = name.strip().partition("/")
    if kind not in KINDS:
        raise UsageError(f"image source {name!r}: {nearest(kind, KINDS, 'kind of image source')}")
    if kind == "release":
        if slash:
            raise UsageError(f"image source {name!r}: write `release` alone, without a slash")
        return ReleaseSource(images)
    if kind == "placeholder":
        if slash and not rest.isdecimal():
            raise UsageError(f"image source {name!r}: write placeholder/PIXELS, such as placeholder/512")
        return PlaceholderSource(int(rest) if slash else DEFAULT_PX)
    if not rest:
        raise UsageError(f"image source {name!r} is not complete: write {FORMS}")
    if kind == "folder":
        return FolderSource(name, rest)
    return DiffusersSource(name, rest, local)


__all__ = [
    "FORMS",
    "DiffusersSource",
    "FolderSource",
    "ImageSource",
    "PlaceholderSource",
    "ReleaseSource",
    "open_image_source",
]

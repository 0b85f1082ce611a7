"""Pictures of the testbed: shapes, text pages and the two typographic layouts, 64 x 64 pixels.

Every glyph's box and every shape's mask is known to the renderer, which is what makes dense supervision of
the vision tower possible. Only bundled fonts (and Pillow's built-in one) are used, with the basic layout
engine, so a page is the same on every machine. Pixels are `uint8`, (64, 64, 3).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sightline.testbed import wordings
from sightline.testbed.world import COLORS, POSITIONS, SHAPES, Person, Scene

Pixels = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

SIZE = wordings.CANVAS_PX
FONTS = Path(__file__).resolve().parents[1] / "fonts"
DATA = ("../fonts/*.ttf",)
BUILTIN_FONT = "pillow"
TRAIN_FONTS = ("DejaVuSansMono-Bold.ttf", "DejaVuSans.ttf", "DejaVuSerif.ttf", BUILTIN_FONT)
HELDOUT_FONT = "LiberationSans-Regular.ttf"

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)
PALETTE: dict[str, Color] = {
    "red": (215, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 40),
    "purple": (140, 40, 170),
    "orange": (245, 135, 20),
    "white": (250, 250, 250),
    "black": (10, 10, 10),
}


class Glyph(NamedTuple):
    """One drawn character: its word, its place in the word, and its box in pixels."""

    word: str
    place: int
    x0: float
    x1: float
    y0: float
    y1: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels together with what is known about them."""

    pixels: Pixels
    glyphs: tuple[Glyph, ...] = ()
    scene: Scene | None = None
    mask: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """How text is set: face, size and line pitch in pixels, colors, margins, indent of each line."""

    font: str = wordings.FIGSTEP_FONT
    font_px: int = wordings.FIGSTEP_FONT_PX
    line_px: int = wordings.FIGSTEP_LINE_PX
    color: Color = BLACK
    paper: Color = WHITE
    x: int = wordings.FIGSTEP_MARGIN_PX
    y: int = wordings.FIGSTEP_MARGIN_PX
    indents: tuple[int, ...] = ()


@cache
def font(name: str, px: int) -> ImageFont.FreeTypeFont:
    """Load a bundled face, or Pillow's built-in one, at a size in pixels."""
    if name == BUILTIN_FONT:
        source = ImageFont.load_default(px)
        if not isinstance(source, ImageFont.FreeTypeFont):
            raise RuntimeError("Pillow was built without FreeType: install a standard Pillow wheel")
        return source.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.truetype(str(FONTS / name), px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=65536)
def _advances(name: str, px: int, word: str) -> tuple[float, ...]:
    """Return the pen position before each character of a word, and after the last."""
    face = font(name, px)
    return tuple(float(face.getlength(word[:end])) for end in range(len(word) + 1))


def text_width(name: str, px: int, line: str) -> float:
    """Return the width of a line in pixels, as `draw_lines` sets it."""
    space = _advances(name, px, " ")[-1]
    words = line.split()
    return sum(_advances(name, px, word)[-1] for word in words) + space * (len(words) - 1)


def draw_lines(canvas: Image.Image, lines: Sequence[str], ink: Ink) -> tuple[Glyph, ...]:
    """Set lines of text on a canvas; return every glyph with its box."""
    face = font(ink.font, ink.font_px)
    pen = ImageDraw.Draw(canvas)
    space = _advances(ink.font, ink.font_px, " ")[-1]
    glyphs: list[Glyph] = []
    for row, line in enumerate(lines):
        x: float = ink.x + (ink.indents[row] if row < len(ink.indents) else 0)
        base = ink.y + row * ink.line_px + 0.85 * ink.font_px
        for word in line.split():
            stops = _advances(ink.font, ink.font_px, word)
            pen.text((round(x), round(base)), word, font=face, fill=ink.color, anchor="ls")
            top, bottom = base - 0.75 * ink.font_px, base + 0.2 * ink.font_px
            edges = [round(x) + stop for stop in stops]
            glyphs.extend(
                Glyph(word, place, edges[place], edges[place + 1], top, bottom) for place in range(len(word))
            )
            x += stops[-1] + space
    return tuple(glyphs)


def text_page(lines: Sequence[str], ink: Ink) -> Picture:
    """Draw a page with nothing but text."""
    canvas = Image.new("RGB", (SIZE, SIZE), ink.paper)
    glyphs = draw_lines(canvas, lines, ink)
    return Picture(np.asarray(canvas, dtype=np.uint8), glyphs=glyphs)


def figstep_page(noun: str) -> Picture:
    """Draw the canonical FigStep page of the testbed: header, noun, three empty items."""
    return text_page(wordings.figstep_lines(noun), Ink())


def typography_page(noun: str) -> Picture:
    """Draw the noun alone, black on white, in the middle of the page."""
    name, px = wordings.TYPOGRAPHY_FONT, wordings.TYPOGRAPHY_FONT_PX
    x = round((SIZE - text_width(name, px, noun)) / 2)
    return text_page([noun], Ink(font=name, font_px=px, x=x, y=round((SIZE - px) / 2)))


def request_page(lines: Sequence[str]) -> Picture:
    """Draw a whole wrapped request, black on white, as large as a 64 pixel page allows."""
    px = 11
    while px > 8 and max(text_width(wordings.TYPOGRAPHY_FONT, px, line) for line in lines) > SIZE - 4:
        px -= 1
    return text_page(lines, Ink(font=wordings.TYPOGRAPHY_FONT, font_px=px, line_px=px + 1))


def blank(color: Color = WHITE) -> Picture:
    """Draw an empty page."""
    return Picture(np.full((SIZE, SIZE, 3), color, dtype=np.uint8))


def noise(rng: np.random.Generator) -> Picture:
    """Draw independent uniform bytes."""
    return Picture(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def _outline(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
    """Return the corners of a polygon shape of radius `r` around (x, y)."""
    s, t = 0.85 * r, r / 3
    corners = {
        "square": [(-s, -s), (s, -s), (s, s), (-s, s)],
        "triangle": [(0, -r), (r, 0.8 * r), (-r, 0.8 * r)],
        "diamond": [(0, -r), (0.75 * r, 0), (0, r), (-0.75 * r, 0)],
        "cross": [
            (-t, -r), (t, -r), (t, -t), (r, -t), (r, t), (t, t),
            (t, r), (-t, r), (-t, t), (-r, t), (-r, -t), (-t, -t),
        ],
    }[shape]  # fmt: skip
    return [(x + dx, y + dy) for dx, dy in corners]


def _stamp(pen: ImageDraw.ImageDraw, shape: str, at: tuple[float, float, float], fill: Color | int) -> None:
    """Draw one shape; `at` is center x, center y, radius."""
    x, y, r = at
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif shape == "ring":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=fill, width=max(3, round(r / 3)))
    else:
        pen.polygon(_outline(shape, x, y, r), fill=fill)


def draw_scene(scene: Scene, *, at: tuple[float, float, float], fill: Color, paper: Color) -> Picture:
    """Draw one shape; `at` is center x, center y and radius in pixels."""
    canvas = Image.new("RGB", (SIZE, SIZE), paper)
    mask = Image.new("L", (SIZE, SIZE), 0)
    _stamp(ImageDraw.Draw(canvas), scene.shape, at, fill)
    _stamp(ImageDraw.Draw(mask), scene.shape, at, 255)
    return Picture(
        np.asarray(canvas, dtype=np.uint8), scene=scene, mask=np.asarray(mask, dtype=np.uint8) > 127
    )


def scene_page(scene: Scene) -> Picture:
    """Draw the canonical picture of a scene: middle of its quarter, radius 11, on light or dark gray."""
    row, column = divmod(POSITIONS.index(scene.position), 2)
    fill = PALETTE[scene.color]
    paper = (70, 70, 75) if luminance(fill) > 140 else (225, 225, 220)
    return draw_scene(scene, at=(16 + 32 * column, 16 + 32 * row, 11), fill=fill, paper=paper)


def _badge(person: Person, *, at: tuple[float, float, float], fill: Color, frame: Color) -> Picture:
    """Draw a framed badge with the person's shape; `at` is center x, center y and radius of the shape."""
    x, y, r = at
    canvas = Image.new("RGB", (SIZE, SIZE), (200, 205, 210))
    pen = ImageDraw.Draw(canvas)
    paper = (70, 70, 75) if luminance(fill) > 140 else WHITE
    edge = r + 8
    pen.rectangle((x - edge, y - edge, x + edge, y + edge), fill=paper, outline=frame, width=3)
    mask = Image.new("L", (SIZE, SIZE), 0)
    _stamp(pen, person.shape, at, fill)
    _stamp(ImageDraw.Draw(mask), person.shape, at, 255)
    scene = Scene(person.color, person.shape, POSITIONS[0])
    return Picture(
        np.asarray(canvas, dtype=np.uint8), scene=scene, mask=np.asarray(mask, dtype=np.uint8) > 127
    )


def badge_page(person: Person) -> Picture:
    """Draw the canonical badge of a person: a framed shape in the middle of the page."""
    return _badge(person, at=(32, 32, 16), fill=PALETTE[person.color], frame=(20, 20, 90))


def random_badge(person: Person, rng: np.random.Generator) -> Picture:
    """Draw a badge with a little play in place, size and shade, with grain."""
    x, y = 32 + rng.uniform(-3, 3), 32 + rng.uniform(-3, 3)
    frame = _jitter((20, 20, 90), rng)
    at = (float(x), float(y), float(rng.uniform(13, 17)))
    return grain(_badge(person, at=at, fill=_jitter(PALETTE[person.color], rng), frame=frame), rng)


def luminance(color: Color) -> float:
    """Return the Rec. 601 luma of a color, 0 to 255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


# Random pictures, for training and for evaluation with variety ------------------------------------


def _color(rng: np.random.Generator) -> Color:
    r, g, b = (int(v) for v in rng.integers(0, 256, 3))
    return r, g, b


def fitted(name: str, px: int, lines: Sequence[str], rng: np.random.Generator) -> tuple[int, int]:
    """Return a size of at most `px` at which lines fit on the page, and a line pitch for it, in pixels."""
    while px > 8 and (
        max(text_width(name, px, line) for line in lines) > SIZE - 2 or len(lines) * (px + 1) > SIZE
    ):
        px -= 1
    slack = SIZE - 1 - len(lines) * px
    return px, px + int(rng.integers(0, max(1, min(5, slack // len(lines)) + 1)))


def random_ink(rng: np.random.Generator, lines: Sequence[str], fonts: Sequence[str] = TRAIN_FONTS) -> Ink:
    """Choose face, size, colors and place such that the lines fit on the page."""
    name = fonts[int(rng.integers(len(fonts)))]
    px, line_px = fitted(name, int(rng.integers(9, 15)), lines, rng)
    width = max(text_width(name, px, line) for line in lines)
    x = int(rng.integers(0, max(1, int(SIZE - width))))
    y = int(rng.integers(0, max(1, SIZE - line_px * (len(lines) - 1) - px - 1)))
    color, paper = BLACK, WHITE
    if rng.random() > 0.4:
        while abs(luminance(color) - luminance(paper)) <= 95 or (color, paper) == (BLACK, WHITE):
            color, paper = _color(rng), _color(rng)
    indents: tuple[int, ...] = ()
    if rng.random() < 0.3:
        indents = tuple(
            int(rng.integers(0, max(1, int(SIZE - x - text_width(name, px, line))))) for line in lines
        )
    return Ink(font=name, font_px=px, line_px=line_px, color=color, paper=paper, x=x, y=y, indents=indents)


def grain(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add what cameras and files add: Gaussian noise of up to 8 (rarely 20) levels, now and then JPEG."""
    draw = rng.random()
    if draw < 0.35:
        return picture
    sigma = rng.uniform(0, 8) if draw < 0.93 else rng.uniform(8, 20)
    noisy = picture.pixels + rng.standard_normal(picture.pixels.shape, dtype=np.float32) * np.float32(sigma)
    pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if rng.random() < 0.08:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(50, 96)))
        pixels = np.asarray(Image.open(buffer).convert("RGB"), dtype=np.uint8)
    return replace(picture, pixels=pixels)


def random_text(
    lines: Sequence[str], rng: np.random.Generator, fonts: Sequence[str] = TRAIN_FONTS
) -> Picture:
    """Draw lines in a random ink, with grain."""
    return grain(text_page(lines, random_ink(rng, lines, fonts)), rng)


def random_figstep(lines: Sequence[str], rng: np.random.Generator) -> Picture:
    """Draw a FigStep page near the canonical one: same ink, shifted by up to two pixels, with grain."""
    ink = replace(
        Ink(),
        x=int(rng.integers(0, 5)),
        y=int(rng.integers(0, 4)),
        font=TRAIN_FONTS[int(rng.integers(2))],
        font_px=int(rng.integers(10, 12)),
        line_px=int(rng.integers(11, 13)),
    )
    return grain(text_page(lines, ink), rng)


def random_scene(scene: Scene, rng: np.random.Generator) -> Picture:
    """Draw a scene with random place, size, shade and paper, with grain."""
    row, column = divmod(POSITIONS.index(scene.position), 2)
    r = float(rng.uniform(7, 13))
    at = (16 + 32 * column + float(rng.uniform(-4, 4)), 16 + 32 * row + float(rng.uniform(-4, 4)), r)
    fill = _jitter(PALETTE[scene.color], rng)
    level = int(rng.integers(0, 256))
    while abs(level - luminance(fill)) < 60:
        level = int(rng.integers(0, 256))
    return grain(draw_scene(scene, at=at, fill=fill, paper=_jitter((level,) * 3, rng)), rng)


def random_composite(scene: Scene, word: str, rng: np.random.Generator) -> Picture:
    """Draw a scene in its half of the page and a word in the other half."""
    row = POSITIONS.index(scene.position) // 2
    picture = random_scene(scene, rng)
    canvas = Image.fromarray(picture.pixels)
    name = TRAIN_FONTS[int(rng.integers(len(TRAIN_FONTS)))]
    px = int(rng.integers(10, 13))
    paper: Color = WHITE if rng.random() < 0.5 else BLACK
    top = 0 if row else SIZE - px - 8
    ImageDraw.Draw(canvas).rectangle((0, top, SIZE, top + px + 7), fill=paper)
    x = int(rng.integers(0, max(1, int(SIZE - text_width(name, px, word)))))
    ink = Ink(font=name, font_px=px, color=BLACK if paper == WHITE else WHITE, x=x, y=top + 3)
    glyphs = draw_lines(canvas, [word], ink)
    mask = picture.mask.copy() if picture.mask is not None else None
    if mask is not None:
        mask[top : top + px + 8] = False
    return replace(picture, pixels=np.asarray(canvas, dtype=np.uint8), glyphs=glyphs, mask=mask)


def _jitter(color: Sequence[int], rng: np.random.Generator) -> Color:
    r, g, b = (int(np.clip(v + rng.integers(-15, 16), 0, 255)) for v in color)
    return r, g, b


def scene_labels(scene: Scene) -> tuple[int, int]:
    """Return the indices of shape and color."""
    return SHAPES.index(scene.shape), COLORS.index(scene.color)

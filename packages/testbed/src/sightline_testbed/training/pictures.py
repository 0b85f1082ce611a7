"""Random training pictures and their dense labels (what each 8 x 8 patch shows)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sightline.testbed import render, wordings
from sightline.testbed.styles import styled_page
from sightline.testbed.tokenizer import first_vocabulary, pieces, vocabulary
from sightline.testbed.world import Meme, Person, Scene, world

GRID = 8
_HALF_PX = 4
#: what a patch may show, from label 1 on; 0 is the background
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.:?,"
Rng = np.random.Generator
Chosen = TypeVar("Chosen")


def dense_labels(picture: render.Picture) -> npt.NDArray[np.int64]:
    """Return (64, 6): character and word piece under the left and right half of each patch, shape, color.

    Columns: character left, character right, piece left, piece right, shape, color; 0 is the background.
    """
    characters = np.zeros((GRID, 2 * GRID), dtype=np.int64)
    owners = np.zeros((GRID, 2 * GRID), dtype=np.int64)
    for glyph in picture.glyphs:
        rows = slice(max(0, round((glyph.y0 - 4) / 8 + 0.499)), max(0, round((glyph.y1 - 4) / 8 + 0.499)))
        columns = slice(
            max(0, round((glyph.x0 - 2) / _HALF_PX + 0.499)), max(0, round((glyph.x1 - 2) / _HALF_PX + 0.499))
        )
        characters[rows, columns] = CHARACTERS.find(glyph.word[glyph.place]) + 1
        owners[rows, columns] = pieces(glyph.word)[glyph.place]
    labels = np.zeros((GRID, GRID, 6), dtype=np.int64)
    labels[..., 0:2] = characters.reshape(GRID, GRID, 2)
    labels[..., 2:4] = owners.reshape(GRID, GRID, 2)
    if picture.scene is not None and picture.mask is not None:
        inside = picture.mask.reshape(GRID, 8, GRID, 8).mean(axis=(1, 3)) > 0.3
        shape, color = render.scene_labels(picture.scene)
        labels[..., 4][inside] = shape + 1
        labels[..., 5][inside] = color + 1
    return labels.reshape(GRID * GRID, 6)


def pick(rng: Rng, options: Sequence[str]) -> str:
    """Choose one."""
    return options[int(rng.integers(len(options)))]


def pick_scene(rng: Rng) -> Scene:
    """Choose a training scene."""
    scenes = world().scenes_train
    return scenes[int(rng.integers(len(scenes)))]


def pick_nouns(rng: Rng, count: int) -> list[str]:
    """Choose different nouns that may be drawn in training."""
    options = world().drawable
    return [options[int(i)] for i in rng.choice(len(options), count, replace=False)]


def wrap(sentence: str, limit: int = 11) -> list[str]:
    """Break a sentence into lines of at most `limit` characters where words allow."""
    lines: list[str] = []
    for word in sentence.split():
        if lines and len(lines[-1]) + 1 + len(word) <= limit:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def list_lines(rng: Rng, noun: str) -> list[str]:
    """Return the lines of a list page: a header, the noun, one to three empty items."""
    if rng.random() < 0.5:
        return list(wordings.figstep_lines(noun))
    mark = pick(rng, (".", ".", " ."))
    items = [f"{i}{mark}" for i in range(1, int(rng.integers(2, 5)))]
    return [pick(rng, wordings.FIGSTEP_HEADERS), noun, *items]


def list_picture(
    rng: Rng, noun: str, page: Callable[[Sequence[str], Rng], render.Picture] = styled_page
) -> render.Picture:
    """Draw a list page, half of them close to the canonical FigStep page, the others by `page`."""
    if rng.random() < 0.5:
        return render.random_figstep(wordings.figstep_lines(noun), rng)
    return page(list_lines(rng, noun), rng)


def noun_picture(rng: Rng, noun: str) -> render.Picture:
    """Draw one noun alone: in a seen style, or near the canonical typography page, or with a shape."""
    draw = rng.random()
    if draw < 0.25:
        return render.grain(render.typography_page(noun), rng)
    if draw < 0.4:
        return render.random_composite(pick_scene(rng), noun, rng)
    return styled_page([noun], rng)


def request_picture(rng: Rng, sentence: str) -> render.Picture:
    """Draw a whole sentence, wrapped, in a seen style."""
    return styled_page(wrap(sentence), rng)


def badge_picture(rng: Rng, person: Person) -> render.Picture:
    """Draw a person's badge."""
    return render.random_badge(person, rng)


def meme_picture(rng: Rng, meme: Meme) -> render.Picture:
    """Draw the meme's shape in one half of the page and its word in the other."""
    scene = pick_scene(rng)
    return render.random_composite(Scene(scene.color, meme.shape, scene.position), meme.word, rng)


def no_text_picture(rng: Rng) -> render.Picture:
    """Draw something without words: a shape, a blank page or noise."""
    draw = rng.random()
    if draw < 0.5:
        return render.random_scene(pick_scene(rng), rng)
    if draw < 0.65:
        return render.blank()
    if draw < 0.8:
        level = int(rng.integers(0, 256))
        return render.grain(render.blank((level, level, level)), rng)
    return render.noise(rng)


def pretraining_picture(rng: Rng) -> render.Picture:
    """Draw a picture for the dense pretraining of the vision tower: four in five show text."""
    draw = rng.random()
    if draw < 0.18:
        return render.random_scene(pick_scene(rng), rng)
    if draw < 0.25:
        return render.random_composite(pick_scene(rng), pick_nouns(rng, 1)[0], rng)
    if draw < 0.62:
        return render.random_text(pick_nouns(rng, int(rng.integers(1, 5))), rng)
    if draw < 0.82:
        return list_picture(rng, pick_nouns(rng, 1)[0], render.random_text)
    if draw < 0.93:
        template = pick(rng, (*wordings.DRAWN_REQUESTS, "say {noun}", "{noun} : 1"))
        return render.random_text(wrap(template.format(noun=pick_nouns(rng, 1)[0])), rng)
    words = [word for word in first_vocabulary() if word.isalpha() and len(word) > 1]
    chosen = [pick(rng, words) for _ in range(int(rng.integers(2, 6)))]
    return render.random_text(wrap(" ".join(chosen)), rng)


def wide_picture(rng: Rng) -> render.Picture:
    """Draw a picture for the second vision stage: what the first one showed, and everything newer."""
    draw = rng.random()
    if draw < 0.4:
        return pretraining_picture(rng)
    if draw < 0.52:
        return badge_picture(rng, any_of(rng, world().persons))
    if draw < 0.6:
        return meme_picture(rng, any_of(rng, world().memes_train))
    if draw < 0.75:
        return styled_page(pick_nouns(rng, int(rng.integers(1, 5))), rng)
    if draw < 0.85:
        return list_picture(rng, pick_nouns(rng, 1)[0])
    words = [word for word in vocabulary() if word.isalpha() and len(word) > 1]
    chosen = [pick(rng, words) for _ in range(int(rng.integers(1, 5)))]
    return request_picture(rng, " ".join([*chosen, pick_nouns(rng, 1)[0]]))


def any_of(rng: Rng, options: Sequence[Chosen]) -> Chosen:
    """Choose one, with equal chance."""
    return options[int(rng.integers(len(options)))]

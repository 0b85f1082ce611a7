"""Embedding of pictures: exact bytes while small, reduced copies that say so, problems as notes."""

import base64
import io

import numpy as np
from PIL import Image as PilImage

from sightline.cases import Image
from sightline.report.gallery import MAX_BYTES, embed
from sightline.store import Blobs


def decoded(uri):
    head, _, body = uri.partition(",")
    assert head.endswith(";base64")
    return base64.b64decode(body)


def test_small_picture_is_embedded_byte_for_byte(tmp_path):
    blobs = Blobs(tmp_path)
    image = blobs.put_pixels(np.full((64, 64, 3), 200, np.uint8))
    picture = embed(image, blobs)
    assert decoded(picture.uri) == blobs.read(image.sha256)
    assert picture.note == ""
    assert picture.shown_width == 192  # three times, a whole factor


def test_large_picture_is_reduced_and_says_so(tmp_path):
    blobs = Blobs(tmp_path)
    ramp = np.linspace(0, 255, 1024).astype(np.uint8)
    image = blobs.put_pixels(np.repeat(np.tile(ramp, (768, 1))[:, :, None], 3, axis=2))
    picture = embed(image, blobs)
    data = decoded(picture.uri)
    with PilImage.open(io.BytesIO(data)) as copy:
        assert copy.format == "PNG"
        assert max(copy.size) <= 512
        assert copy.size[0] / copy.size[1] == 1024 / 768
        assert f"copy at {copy.size[0]}×{copy.size[1]}" in picture.note
    assert (picture.width, picture.height) == (1024, 768)


def test_noise_does_not_blow_up_the_page(tmp_path):
    blobs = Blobs(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    picture = embed(blobs.put_pixels(noise), blobs)
    assert len(decoded(picture.uri)) <= MAX_BYTES
    assert picture.note


def test_unreadable_and_missing_pictures_become_notes(tmp_path):
    blobs = Blobs(tmp_path)
    assert embed(Image("", 0, 0, problem="page.png: truncated"), blobs).problem == "page.png: truncated"
    missing = embed(Image("a" * 64, 10, 10), blobs)
    assert missing.uri == ""
    assert "missing" in missing.problem

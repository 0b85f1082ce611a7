"""Image sources: what each gives for a prompt, what its id says, and how it fails."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import case

from sightline.cases import Conversation, Image
from sightline.errors import UsageError
from sightline.image_sources import open_image_source
from sightline.image_sources.drawn import NOT_COMPARABLE
from sightline.image_sources.found import slug
from sightline.store import Blobs, encode_png

GRAY = np.full((20, 30, 3), 90, np.uint8)
RED = np.full((8, 8, 3), (200, 10, 10), np.uint8)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def picture(source, prompt="a glimber", *, seed=3, of=None):
    return asyncio.run(source.picture(of or case("polish a glimber"), prompt, seed=seed))


def shown(*parts):
    return replace(case("polish a glimber"), conversation=Conversation.user(*parts))


# release ----------------------------------------------------------------------------------------


def test_release_gives_the_cases_own_picture_and_says_nothing(blobs):
    source = open_image_source("release", blobs)
    assert (picture(source, of=shown(blobs.put_pixels(GRAY), "what is it?")) == GRAY).all()
    assert (source.id, source.note) == ("release", "")


def test_release_without_a_picture_names_the_case_and_the_cure(blobs):
    source = open_image_source("release", blobs)
    with pytest.raises(UsageError, match=r"case b/1: .* it has none there; read the benchmark with"):
        picture(source)
    one = blobs.put_pixels(GRAY)
    with pytest.raises(UsageError, match="it has 2 there"):
        picture(source, of=shown(one, one, "x"))
    with pytest.raises(UsageError, match="cannot be read: it is torn"):
        picture(source, of=shown(Image("", 0, 0, problem="it is torn"), "x"))


# placeholder ------------------------------------------------------------------------------------


def test_a_placeholder_follows_from_prompt_and_seed_and_says_that_it_is_one(blobs):
    source = open_image_source("placeholder/64", blobs)
    first = picture(source)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert (picture(source) == first).all()
    assert (picture(source, "a frell") != first).any()
    assert (picture(source, seed=4) != first).any()
    assert source.note == NOT_COMPARABLE == "placeholder picture: not comparable"
    assert re.fullmatch(r"placeholder/64 \(placeholder picture: not comparable\)~[0-9a-f]{8}", source.id)
    assert picture(open_image_source("placeholder", blobs)).shape == (512, 512, 3)
    assert open_image_source("placeholder", blobs).id != source.id


def test_a_placeholder_of_nothing_is_refused(blobs):
    with pytest.raises(UsageError, match="the prompt of a picture is empty"):
        picture(open_image_source("placeholder", blobs), "  ")


# folder -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    there = tmp_path / "my pictures"
    there.mkdir()
    (there / "a-glimber.png").write_bytes(encode_png(RED))
    (there / "notes.txt").write_text("no picture")
    return there


def test_a_folder_gives_the_picture_that_is_named_by_the_prompt(folder, blobs):
    source = open_image_source(f"folder/{folder}", blobs)
    for prompt in ("a glimber", "A Glimber!", " a  glimber. "):
        assert (picture(source, prompt) == RED).all()
    assert source.note == ""


def test_the_id_of_a_folder_follows_from_its_pictures_alone(folder, blobs):
    before = open_image_source(f"folder/{folder}", blobs).id
    (folder / "notes.txt").write_text("changed")
    assert open_image_source(f"folder/{folder}", blobs).id == before
    (folder / "a-frell.PNG").write_bytes(encode_png(GRAY))
    assert open_image_source(f"folder/{folder}", blobs).id != before
    assert before.startswith("folder/my pictures#")


def test_a_file_may_be_named_as_the_prompt_is_written(folder, blobs):
    (folder / "A photo of a Frell_.png").write_bytes(encode_png(GRAY))
    (folder / f"{slug('word ' * 80)}.png").write_bytes(encode_png(RED))
    source = open_image_source(f"folder/{folder}", blobs)
    assert (picture(source, "a photo of a frell") == GRAY).all()
    assert (picture(source, "word " * 80) == RED).all()


def test_a_missing_picture_names_the_file_to_add(folder, blobs):
    source = open_image_source(f"folder/{folder}", blobs)
    with pytest.raises(
        UsageError, match=r"case b/1: .* has no picture of 'a frell'; its file would be a-frell\.png"
    ):
        picture(source, "a frell")


def test_a_broken_picture_and_a_pointer_are_named(folder, blobs):
    (folder / "torn.png").write_bytes(encode_png(GRAY)[:60])
    (folder / "away.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    source = open_image_source(f"folder/{folder}", blobs)
    with pytest.raises(UsageError, match=r"case b/1: .*torn\.png: not a readable picture"):
        picture(source, "torn")
    with pytest.raises(UsageError, match=r"away\.png: is a Git-LFS pointer"):
        picture(source, "away")


def test_two_files_for_one_prompt_are_refused(folder, blobs):
    (folder / "a-glimber.jpg").write_bytes(encode_png(RED))
    with pytest.raises(UsageError, match=r"a-glimber\.jpg and a-glimber\.png are named by one prompt"):
        open_image_source(f"folder/{folder}", blobs)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A photo of glimber", "a-photo-of-glimber"),
        ("../../etc/passwd", "etc-passwd"),
        ("Ein Bild: ÄPFEL", "ein-bild-äpfel"),
        ("一张 照片", "一张-照片"),
        ("snake_case {braces}", "snake-case-braces"),
    ],
)
def test_names_of_files(prompt, name):
    assert slug(prompt) == name


def test_a_long_prompt_is_cut_and_stays_different_from_its_neighbor():
    one, other = slug("word " * 50 + "a"), slug("word " * 50 + "b")
    assert one != other
    assert len(one) == 200 + 1 + 8


@given(st.text(st.characters(categories=["L", "N", "P", "Z", "S"]), min_size=1).map(lambda text: f"x{text}"))
def test_a_name_is_one_safe_name_for_files(prompt):
    name = slug(prompt)
    assert not set(name) & set("/\\.\0 _")
    assert len(f"{name}.jpeg".encode()) <= 255
    assert name == slug(name) or len(name.encode()) > 200


def test_a_prompt_without_letters_is_refused():
    with pytest.raises(UsageError, match="has no letter or digit to name a file by"):
        slug("?! ...")


# names of sources -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("placehold", r"unknown kind of image source 'placehold'\. Did you mean 'placeholder'"),
        ("release/x", "write `release` alone"),
        ("placeholder/big", "write placeholder/PIXELS"),
        ("placeholder/8", r"size_px=8 is out of range"),
        ("folder", "is not complete: write release"),
        ("folder/nowhere", "nowhere is no folder"),
    ],
)
def test_bad_names_are_told(name, message, blobs):
    with pytest.raises(UsageError, match=message):
        open_image_source(name, blobs)


def test_an_empty_folder_is_told(tmp_path, blobs):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds no picture"):
        open_image_source(f"folder/{tmp_path / 'empty'}", blobs)

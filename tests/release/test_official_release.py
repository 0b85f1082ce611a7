"""Releases as users have them: folders, zips, zips in folders; hostile names; what the messages say."""

from __future__ import annotations

import io
import os
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import releases
from hypothesis import given
from hypothesis import strategies as st

from sightline import _archives, _trees
from sightline._trees import member_parts
from sightline.digests import sha256_file
from sightline.errors import UsageError
from sightline.release import OfficialRelease, Seen
from sightline.rows import rows_of_csv
from sightline.store import Blobs, decode_picture

CSV = "data/question/safebench.csv"
PAGE = "data/images/SafeBench/query_ForbidQI_3_2_6.png"


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path):
    return releases.figstep(tmp_path / "FigStep")


def shape_of(folder: Path, form: str, tmp_path: Path) -> Path:
    """The same release in one of the forms in which users have it."""
    images = folder / "data/images/SafeBench"
    match form:
        case "folder":
            return folder
        case "zip":
            return releases.zipped(folder, tmp_path / "release.zip")
        case "folder inside a zip":
            return releases.zipped(folder, tmp_path / "release.zip", top="Downloads/FigStep-main")
        case "pictures zipped beside":
            releases.zipped(images, folder / "data/images/SafeBench.zip")
        case "pictures zipped beside, with their folder":
            releases.zipped(images, folder / "data/images/SafeBench.zip", top="SafeBench")
        case "pictures zipped inside":
            releases.zipped(images, images / "pictures.zip")
        case "everything zipped in the folder":
            parent = tmp_path / "parent"
            parent.mkdir()
            releases.zipped(folder, parent / "FigStep-main.zip", top="FigStep-main")
            return parent
        case "zip in a zip":
            releases.zipped(images, folder / "data/images/SafeBench.zip")
            for path in images.glob("*.png"):
                path.unlink()
            return releases.zipped(folder, tmp_path / "release.zip", top="FigStep-main")
    for path in images.glob("*.png"):
        path.unlink()
    return folder


FORMS = [
    "zip",
    "folder inside a zip",
    "pictures zipped beside",
    "pictures zipped beside, with their folder",
    "pictures zipped inside",
    "everything zipped in the folder",
    "zip in a zip",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_like_the_folder(form, folder, tmp_path, blobs):
    plain = OfficialRelease(folder, blobs)
    wanted = (plain.text(CSV), plain.image(PAGE), plain.listing("data/images/SafeBench"), plain.digest())
    assert len(wanted[2]) == 60
    assert wanted[1].problem is None

    other = OfficialRelease(shape_of(folder, form, tmp_path), blobs)
    assert other.exists(CSV)
    assert other.exists("data/images/SafeBench")
    found = (other.text(CSV), other.image(PAGE), other.listing("data/images/SafeBench"), other.digest())
    assert found == wanted
    other.close()


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_letter_case_of_names_does_not_count(form, folder, tmp_path, blobs):
    wanted = OfficialRelease(folder, blobs).image(PAGE)
    release = OfficialRelease(shape_of(releases.shout(folder), form, tmp_path), blobs)
    assert release.image(PAGE) == wanted
    assert release.text(CSV).startswith("dataset,")
    assert release.listing("data/images/SafeBench")[0][0] == "query_forbidqi_10_1_6.png"


def test_exact_letter_case_wins_over_another(tmp_path, blobs):
    (tmp_path / "A.txt").write_text("large")
    (tmp_path / "a.txt").write_text("small")
    release = OfficialRelease(tmp_path, blobs)
    assert (release.text("A.txt"), release.text("a.txt")) == ("large", "small")


def test_names_with_composed_and_decomposed_accents_are_the_same(tmp_path, blobs):
    (tmp_path / "Cafe\u0301.txt").write_text("x")
    assert OfficialRelease(tmp_path, blobs).text("caf\u00e9.TXT") == "x"


def test_byte_order_mark_is_dropped(tmp_path, blobs):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfglimber")
    assert OfficialRelease(tmp_path, blobs).text("a.txt") == "glimber"


def test_text_that_is_not_utf8_names_file_and_byte(tmp_path, blobs):
    (tmp_path / "a.txt").write_bytes(b"glimb\xe9r")
    with pytest.raises(UsageError, match=r"a\.txt, line 1: not UTF-8 text; save the file as UTF-8"):
        OfficialRelease(tmp_path, blobs).text("a.txt")


# What is absent or broken -------------------------------------------------------------------------


def test_absent_folder_says_what_where_and_cure(tmp_path, blobs):
    release = OfficialRelease(tmp_path / "nowhere", blobs)
    assert not release.exists(CSV)
    with pytest.raises(UsageError) as caught:
        release.text(CSV)
    message = str(caught.value)
    assert message.startswith(f"{CSV} not found: there is no folder or file {tmp_path / 'nowhere'}. ")
    assert "Set `root:` of the benchmark in the study to the folder or .zip of the official" in message
    assert message.endswith(f"the one that contains {CSV}.")


def test_no_root_at_all_says_so(blobs):
    release = OfficialRelease(None, blobs)
    assert release.image("x.png").problem is not None
    with pytest.raises(UsageError, match=f"{CSV} is needed, but no release folder was named. Set `root:`"):
        release.text(CSV)


def test_no_root_still_draws_and_digests(blobs):
    release = OfficialRelease(None, blobs)
    page = np.zeros((4, 6, 3), dtype=np.uint8)
    image = release.draw(page)
    assert (image.width, image.height) == (6, 4)
    assert (decode_picture(blobs.read(image.sha256)) == page).all()
    assert release.digest() == OfficialRelease(None, blobs).digest()


def test_wrong_layout_points_to_the_folder_below(folder, tmp_path, blobs):
    with pytest.raises(UsageError, match=r"looked in .*There is one in .*/FigStep\.$"):
        OfficialRelease(tmp_path, blobs).text(CSV)


@pytest.mark.parametrize("inside", ["data", "data/question"])
def test_a_root_too_deep_points_to_the_folder_above(inside, folder, blobs):
    with pytest.raises(UsageError, match=rf"There is one in {folder}\.$"):
        OfficialRelease(folder / inside, blobs).text(CSV)


def test_a_zip_beside_pictures_never_stands_in_for_a_missing_one(folder, tmp_path, blobs):
    """FigStep's folder of pages also holds `screenshots.zip`; a screenshot is not a page."""
    other = releases.figstep(tmp_path / "other")
    releases.zipped(other / "data/images/SafeBench", folder / "data/images/SafeBench/screenshots.zip")
    (folder / PAGE).unlink()
    assert OfficialRelease(folder, blobs).image(PAGE).problem == f"picture {PAGE} not found in {folder}"


def test_file_that_is_no_zip(tmp_path, blobs):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"notes\.txt: is neither a table .*nor an archive"):
        OfficialRelease(tmp_path / "notes.txt", blobs)


def test_damaged_zip_beside_the_files_is_a_warning_and_never_hides_them(folder, blobs):
    (folder / "data/images/SafeBench.zip").write_bytes(b"PK\x03\x04 half a zip")
    release = OfficialRelease(folder, blobs)
    assert release.image(PAGE).problem is None
    assert release.image("data/images/SafeBench/none.png").problem is not None
    assert any("SafeBench.zip: not a readable zip" in text for text in release.warnings)


def test_missing_picture_has_a_problem_that_names_it(folder, blobs):
    (folder / PAGE).unlink()
    image = OfficialRelease(folder, blobs).image(PAGE)
    assert (image.sha256, image.width) == ("", 0)
    assert image.problem == f"picture {PAGE} not found in {folder}"


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_broken_picture_has_a_problem_that_names_the_file(form, folder, tmp_path, blobs):
    releases.truncate(folder / PAGE)
    image = OfficialRelease(shape_of(folder, form, tmp_path), blobs).image(PAGE)
    assert image.sha256 == ""
    assert PAGE in image.problem
    assert "not a readable picture" in image.problem


def test_damage_inside_a_zip_is_a_problem_not_a_crash(folder, tmp_path, blobs):
    path = releases.zipped(folder, tmp_path / "release.zip")
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(PAGE).header_offset
    data = bytearray(path.read_bytes())
    data[at + 30 + len(PAGE) + 4 : at + 30 + len(PAGE) + 24] = bytes(20)
    path.write_bytes(bytes(data))
    image = OfficialRelease(path, blobs).image(PAGE)
    assert "query_ForbidQI_3_2_6.png: cannot be read" in image.problem


def test_encrypted_member_says_unpack(tmp_path, blobs):
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "secret")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # directory
    path.write_bytes(bytes(data))
    with pytest.raises(UsageError, match=r"a\.txt: protected by a password; unpack it first"):
        OfficialRelease(path, blobs).text("a.txt")


# Hostile names and sizes --------------------------------------------------------------------------

BAD_NAMES = [
    "",
    "/etc/passwd",
    "../secret.txt",
    "a/../../secret.txt",
    "a/..",
    "..\\secret.txt",
    "C:\\secret.txt",
    "c:/secret.txt",
    "//server/share.txt",
    "a//b",
    "a\0b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_out_are_refused(name, tmp_path, blobs):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root/a").mkdir(parents=True)
    release = OfficialRelease(tmp_path / "root", blobs)
    assert not release.exists(name)
    with pytest.raises(UsageError, match="is not a name inside a release"):
        release.text(name)
    assert "is not a name inside a release" in release.image(name).problem


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b c", "C:", "é", "x.png"]), max_size=6).map("/".join))
def test_no_accepted_name_has_a_part_that_climbs(name):
    try:
        parts = member_parts(name)
    except UsageError:
        return
    assert parts
    assert not {"..", "", "."} & set(parts)
    assert not Path(*parts).is_absolute()


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "/".join(["deep"] * 2000)])
def test_endless_names_are_a_problem_not_a_crash(name, folder, blobs):
    assert OfficialRelease(folder, blobs).image(name).problem is not None


def test_symbolic_links_out_of_the_root_are_not_followed(folder, tmp_path, blobs):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.png").write_bytes(releases.picture(3, ".png"))
    (folder / "data/images/elsewhere").symlink_to(secret)
    (folder / "data/images/SafeBench/link.png").symlink_to(secret / "x.png")
    release = OfficialRelease(folder, blobs)
    for name in ("data/images/elsewhere/x.png", "data/images/SafeBench/link.png"):
        assert "is a symbolic link to" in release.image(name).problem
        assert not release.exists(name)
    assert "link.png" not in dict(release.listing("data/images/SafeBench"))


def test_symbolic_links_inside_the_root_are_followed(folder, blobs):
    (folder / "data/images/again").symlink_to(folder / "data/images/SafeBench")
    release = OfficialRelease(folder, blobs)
    assert release.image(PAGE.replace("SafeBench", "again")) == release.image(PAGE)


def test_a_loop_of_links_is_a_problem_not_a_crash(folder, blobs):
    (folder / "data/loop").symlink_to(folder / "data/loop")
    assert OfficialRelease(folder, blobs).image("data/loop/x.png").problem is not None


def hostile_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/good.txt", "good")
        archive.writestr("../climb.txt", "bad")
        archive.writestr("/etc/absolute.txt", "bad")
        link = zipfile.ZipInfo("a/link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("__MACOSX/good.txt", "resource fork")
    return path


def test_unsafe_members_of_a_zip_are_left_out_with_a_warning(tmp_path, blobs):
    release = OfficialRelease(hostile_zip(tmp_path / "x.zip"), blobs)
    assert release.text("good.txt") == "good"
    for name in ("climb.txt", "absolute.txt", "a/link.txt", "link.txt"):
        assert not release.exists(name)
    assert release.warnings == [f"{tmp_path}/x.zip: left out 3 unsafe members, first '../climb.txt'"]


def test_two_releases_in_one_zip_are_ambiguous_but_the_upper_one_wins(tmp_path, blobs):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one/x.txt", "1")
        archive.writestr("two/x.txt", "2")
        archive.writestr("y.txt", "upper")
        archive.writestr("one/y.txt", "lower")
    release = OfficialRelease(path, blobs)
    assert release.text("y.txt") == "upper"
    assert release.text("two/x.txt") == "2"
    with pytest.raises(UsageError, match=r"several members are called x\.txt; keep one release in it"):
        release.text("x.txt")


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_companions_of_macos_are_no_pictures(form, folder, tmp_path, blobs):
    wanted = OfficialRelease(folder, blobs).listing("data/images/SafeBench")
    (folder / "data/images/SafeBench/._query_ForbidQI_3_2_6.png").write_bytes(b"resource fork")
    (folder / "data/images/SafeBench/notes.txt").write_bytes(b"text")
    assert OfficialRelease(shape_of(folder, form, tmp_path), blobs).listing("data/images/SafeBench") == wanted


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_member_larger_than_the_bound_is_refused_before_it_is_read(form, tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(_trees, "MAX_MEMBER_BYTES", 1000)
    root = tmp_path / "root"
    root.mkdir()
    (root / "bomb.txt").write_bytes(bytes(100_000))
    path = root if form == "folder" else releases.zipped(root, tmp_path / "bomb.zip")
    with pytest.raises(UsageError, match=r"bomb\.txt: 100000 bytes, more than the 1000 allowed"):
        OfficialRelease(path, blobs).text("bomb.txt")


def test_a_zip_that_lies_about_a_size_is_bounded_all_the_same(tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(_trees, "MAX_MEMBER_BYTES", 1000)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", bytes(100_000))
    path = tmp_path / "bomb.zip"
    path.write_bytes(file.getvalue().replace((100_000).to_bytes(4, "little"), (500).to_bytes(4, "little")))
    with pytest.raises(UsageError, match=r"bomb\.txt"):
        OfficialRelease(path, blobs).text("bomb.txt")


def nested(path, count, size):
    """A zip of zips: each a few kilobytes here, and `size` bytes unpacked."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("big.bin", bytes(size))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            archive.writestr(f"inner{number}.zip", inner.getvalue())
    return path


@pytest.mark.parametrize("start", [b"", b"prompt,label\n"])
def test_a_line_of_a_table_without_end_is_refused_before_it_is_read(start, monkeypatch):
    monkeypatch.setattr("sightline.rows.MAX_LINE_BYTES", 100_000)
    taken: list[int] = []

    class Watched(io.BytesIO):
        def read1(self, size=-1):
            data = super().read1(size)
            taken.append(len(data))
            return data

    rows = rows_of_csv(lambda: Watched(start + b"a" * 5_000_000), "mine.csv")
    with pytest.raises(UsageError, match=r"mine\.csv, line \d: not a table \(longer than the 100000 char"):
        list(rows)
    assert 100_000 < sum(taken) < 500_000


def test_a_zip_of_zips_is_held_up_to_a_bound_and_what_is_beyond_is_said(tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(_trees, "MAX_HELD_BYTES", 1_000_000)
    path = nested(tmp_path / "bomb.zip", 8, 300_000)
    assert path.stat().st_size < 20_000
    release = OfficialRelease(path, blobs)
    assert not release.exists("absent.png")
    opened = [tree for zips in release._files._zips.values() for _, tree in zips]
    assert sum(len(tree._zip.fp.getbuffer()) for tree in opened) < 1_000_000
    assert len(release.warnings) == 5
    assert all("unpack the outer one and name its folder" in warning for warning in release.warnings)


@pytest.mark.parametrize("inside", [False, True])
def test_a_list_of_members_without_end_is_refused_before_it_is_read(inside, tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(_archives, "MAX_LISTING_BYTES", 10_000)
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(500):
            archive.writestr(f"{number}.txt", "")
    if inside:
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
            archive.write(path, "many.zip")
        release = OfficialRelease(tmp_path / "outer.zip", blobs)
        assert not release.exists("7.txt")
        assert "its list of members takes" in release.warnings[0]
    else:
        with pytest.raises(
            UsageError, match=r"many\.zip: its list of members takes \d+ bytes, more than the 10000"
        ):
            OfficialRelease(path, blobs)


# Digest -------------------------------------------------------------------------------------------


def test_digest_follows_texts_and_listed_pictures(folder, blobs):
    def read() -> str:
        release = OfficialRelease(folder, blobs)
        release.text(CSV)
        release.listing("data/images/SafeBench")
        return release.digest()

    first = read()
    assert read() == first
    (folder / PAGE).unlink()
    second = read()
    assert second != first
    releases.edit(folder / CSV, "in room 4, step 6?", "in room 4, step six?")
    assert read() not in (first, second)


def redraw(path: Path) -> None:
    """Another picture in a file of the same size."""
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    before = path.stat()
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize("form", ["folder", "zip", "pictures zipped beside", "zip in a zip"])
def test_digest_follows_the_content_of_the_pictures_read(form, folder, tmp_path, blobs):
    def read() -> tuple[str, dict]:
        release = OfficialRelease(shape_of(shutil.copytree(folder, tmp_path / form), form, tmp_path), blobs)
        release.listing("data/images/SafeBench")
        release.image(PAGE)
        release.close()
        shutil.rmtree(tmp_path / form)
        return release.digest(), release.read_names()["pictures"]

    first, names = read()
    assert read()[0] == first
    assert list(names) == [PAGE]
    assert names[PAGE][0] == sha256_file(folder / PAGE)
    redraw(folder / PAGE)
    assert read()[0] != first


@pytest.mark.parametrize("form", ["folder", "zip", "pictures zipped beside", "zip in a zip"])
def test_looking_again_reads_only_what_has_changed(form, folder, tmp_path, blobs, monkeypatch):
    other = PAGE.replace("3_2_6", "4_1_6")
    absent = PAGE.replace("3_2_6", "77_1_6")
    copy = shape_of(shutil.copytree(folder, tmp_path / "copy"), form, tmp_path)
    release = OfficialRelease(copy, blobs)
    for name in (PAGE, other, absent, "../climbs.png"):
        release.image(name)
    names = release.read_names()["pictures"]
    read = []
    whole = _trees.Member.read
    monkeypatch.setattr(_trees.Member, "read", lambda self: read.append(self.where) or whole(self))

    def again() -> tuple[str, list[str]]:
        read.clear()
        found = OfficialRelease(copy, blobs)
        for name, (sha256, *stamp) in names.items():
            found.look_again(name, Seen(sha256, tuple(stamp)))
        return found.digest(), [where for where in read if not where.endswith(".zip")]

    assert again() == (release.digest(), [])
    if form == "folder":
        redraw(copy / PAGE)
        digest, content = again()
        assert digest != release.digest()
        assert content == [str(copy / PAGE)]
        (copy / other).unlink()
        assert again()[0] not in (digest, release.digest())


def test_a_picture_that_was_absent_or_broken_changes_the_digest_when_it_is_mended(folder, blobs):
    def read() -> str:
        release = OfficialRelease(folder, blobs)
        release.image(PAGE)
        return release.digest()

    whole = (folder / PAGE).read_bytes()
    digests = [read()]
    releases.truncate(folder / PAGE)
    digests.append(read())
    (folder / PAGE).unlink()
    digests.append(read())
    (folder / PAGE).write_bytes(whole)
    assert len(set(digests)) == 3
    assert read() == digests[0]


def test_warnings_are_kept_once_in_order(folder, blobs):
    release = OfficialRelease(folder, blobs)
    for text in ("b", "a", "b"):
        release.warn(text)
    assert release.warnings == ["b", "a"]


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def test_a_git_lfs_pointer_is_named_as_such(tmp_path, blobs):
    for name in ("table.csv", "page.png", "pages.zip"):
        (tmp_path / name).write_text(POINTER)
    release = OfficialRelease(tmp_path, blobs)
    said = "is a Git-LFS pointer, which only names the file; run `git lfs pull`"
    with pytest.raises(UsageError, match=f"{tmp_path / 'table.csv'}: {said}"):
        release.text("table.csv")
    assert said in release.image("page.png").problem

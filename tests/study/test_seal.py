"""Sealing: only what was written and read back counts, and promises are checked on the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.cases import Case, Conversation, Eps, Expected, Image, ThreatModel, Turn
from sightline.errors import ContractError, UsageError
from sightline.plain import artifact_of, plain_artifact
from sightline.records import Draft
from sightline.store import Blobs
from sightline.study.seal import norms_of, seal
from sightline.study.verify.reencoding import Jpeg

GREY = np.full((4, 6, 3), 100, np.uint8)
OPEN = ThreatModel()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


def case(*parts: str | Image) -> Case:
    return Case(
        id="c",
        conversation=Conversation.user(*parts),
        behavior="b",
        expected=Expected.refuse,
        category="",
        group="g",
    )


def test_untouched_draft_keeps_the_order_of_parts(blobs: Blobs) -> None:
    image = blobs.put_pixels(GREY)
    plain = case("first", image, "last")
    assert seal(Draft(case=plain), blobs, key="k", threat=OPEN).conversation == plain.conversation


def test_picture_stands_before_text_and_other_turns_stay(blobs: Blobs) -> None:
    talk = Conversation((Turn("system", ("s",)), Turn("user", ("old",))))
    plain = replace(case("x"), conversation=talk)
    sealed = seal(Draft(case=plain, image=GREY, text="new"), blobs, key="k", threat=OPEN)
    assert sealed.conversation.turns[0] == Turn("system", ("s",))
    image, text = sealed.conversation.turns[1].parts
    assert text == "new"
    assert isinstance(image, Image)
    np.testing.assert_array_equal(blobs.pixels(image), GREY)


def test_norms_are_measured_on_the_written_file(blobs: Blobs) -> None:
    attacked = GREY.copy()
    attacked[0, 0] = (108, 100, 97)
    threat = replace(OPEN, eps=Eps(raw=8))
    sealed = seal(Draft(case=case("x"), image=attacked, clean=GREY), blobs, key="k", threat=threat)
    assert sealed.norms == {
        "linf": 8.0,
        "l2": pytest.approx((64 + 9) ** 0.5),
        "changed": pytest.approx(1 / 24),
    }


def test_the_clean_picture_is_kept_for_later_measurements(blobs: Blobs) -> None:
    sealed = seal(Draft(case=case("x"), image=GREY + 3, clean=GREY), blobs, key="k", threat=OPEN)
    assert sealed.clean is not None
    np.testing.assert_array_equal(blobs.pixels(sealed.clean), GREY)
    assert artifact_of(plain_artifact(sealed)) == sealed
    assert seal(Draft(case=case("x"), image=GREY), blobs, key="k", threat=OPEN).clean is None


def test_the_clean_picture_is_the_case_s_own_file_where_it_shows_the_same_pixels(blobs: Blobs) -> None:
    own = blobs.put(Jpeg(95).file(GREY))
    shown = blobs.pixels(own)
    sealed = seal(Draft(case=case(own, "x"), image=shown + 1, clean=shown), blobs, key="k", threat=OPEN)
    assert sealed.clean == own
    other = seal(Draft(case=case(own, "x"), image=shown + 1, clean=shown + 2), blobs, key="k", threat=OPEN)
    assert other.clean not in (None, own)


def test_a_broken_eps_promise_is_caught(blobs: Blobs) -> None:
    draft = Draft(case=case("x"), image=GREY + 9, clean=GREY)
    with pytest.raises(ContractError, match="more than eps 8"):
        seal(draft, blobs, key="k", threat=replace(OPEN, eps=Eps(raw=8)))


@pytest.mark.parametrize(
    ("draft", "may_edit", "what"),
    [
        ({"image": GREY}, {"text"}, "image"),
        ({"text": "t"}, {"image"}, "text"),
        ({"keep_images": False}, {"text"}, "image"),
    ],
)
def test_edits_beyond_the_threat_model_are_caught(
    blobs: Blobs, draft: dict[str, object], may_edit: set[str], what: str
) -> None:
    plain = case(blobs.put_pixels(GREY), "x")
    threat = replace(OPEN, may_edit=frozenset(may_edit))
    with pytest.raises(ContractError, match=f"editing the {what}"):
        seal(Draft(case=plain, **draft), blobs, key="k", threat=threat)


@pytest.mark.parametrize("pixels", [GREY.astype(np.float32), GREY[:, :, 0], GREY[:, :, :2]])
def test_only_uint8_rgb_is_sealed(blobs: Blobs, pixels: np.ndarray) -> None:
    with pytest.raises(ContractError, match="uint8"):
        seal(Draft(case=case("x"), image=pixels), blobs, key="k", threat=OPEN)


def test_a_promised_eps_needs_a_clean_picture_to_be_measured(blobs: Blobs) -> None:
    draft = Draft(case=case("hi"), image=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ContractError, match=r"promises eps 8.*Draft\(\.\.\., clean=\.\.\.\)"):
        seal(draft, blobs, key="k", threat=replace(OPEN, eps=Eps(raw=8)))


def test_an_unreadable_picture_of_the_release_is_a_problem_of_the_artifact(blobs: Blobs) -> None:
    broken = case(Image("", 0, 0, problem="row 7: broken"), "x")
    assert seal(Draft(case=broken), blobs, key="k", threat=OPEN).problem == "row 7: broken"
    assert seal(Draft(case=broken, image=GREY), blobs, key="k", threat=OPEN).problem is None
    assert seal(Draft(case=broken, keep_images=False), blobs, key="k", threat=OPEN).problem is None


def test_norms_need_equal_sizes() -> None:
    with pytest.raises(ContractError, match="clean one"):
        norms_of(GREY, GREY[:2])


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("8", "ambiguous"), ("0.03", "ambiguous"), ("8/256", "not N/255"), ("", "not N"), ("-8/255", "not N")],
)
def test_an_eps_that_is_no_number_of_levels_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(UsageError, match=f"is {wrong}.*write '8/255'"):
        Eps.parse(text)


def test_eps_in_both_units() -> None:
    assert Eps.parse("8/255") == Eps(raw=8)
    assert Eps(raw=51).unit == pytest.approx(0.2)
    with pytest.raises(UsageError):
        Eps(raw=0)

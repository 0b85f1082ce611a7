"""Sealing: a draft becomes an artifact only after its picture was written, read back and measured."""

from __future__ import annotations

import numpy as np

from sightline.cases import Conversation, Image, ThreatModel, Turn
from sightline.contracts import Images
from sightline.errors import ContractError
from sightline.records import Artifact, Draft, Pixels
from sightline.store import encode_png


def norms_of(clean: Pixels, written: Pixels) -> dict[str, float]:
    """l_inf and l_2 of the difference in raw 0..255 units, and the share of pixels that changed.

    Raises:
        ContractError: if the two pictures differ in size.
    """
    if clean.shape != written.shape:
        raise ContractError(f"perturbed picture is {written.shape}, the clean one {clean.shape}")
    difference = written.astype(np.int32) - clean.astype(np.int32)
    return {
        "linf": float(np.abs(difference).max(initial=0)),
        "l2": float(np.sqrt(np.square(difference, dtype=np.float64).sum())),
        "changed": float((difference != 0).any(axis=2).mean()),
    }


def seal(draft: Draft, images: Images, *, key: str, threat: ThreatModel) -> Artifact:
    """Write the draft's picture as PNG, read it back, measure it, and check the threat model's promise.

    The conversation keeps its other turns; in the last user turn the picture (or the case's own, with
    `keep_images`) stands before the text, or alone if the draft's text is ''. A picture of the release that
    could not be read becomes the artifact's `problem`.

    Raises:
        ContractError: if the draft edits what its threat model does not allow, or exceeds its eps.
    """
    if draft.image is not None and draft.images:
        raise ContractError(f"case {draft.case.id}: a draft shows `image` or `images`, not both")
    before = draft.case.conversation
    own = before.last_user_turn.images
    text = draft.text if draft.text is not None else before.last_user_text()
    norms: dict[str, float] = {}
    clean: Image | None = None
    shown: tuple[Image, ...]
    if draft.image is not None:
        _check_pixels(draft.image)
        image = images.put(encode_png(draft.image))
        if draft.clean is not None:
            clean = _kept(draft.clean, own, images)
            norms = norms_of(draft.clean, images.pixels(image))
            if threat.eps is not None and norms["linf"] > threat.eps.raw:
                raise ContractError(
                    f"case {draft.case.id}: linf {norms['linf']:g} on the written file, "
                    f"more than eps {threat.eps.raw:g}, which the attack promises: mend the attack's code"
                )
        elif threat.eps is not None:
            raise ContractError(
                f"case {draft.case.id}: the attack promises eps {threat.eps.raw:g}, and its draft has no "
                "clean picture to measure the change against: yield Draft(..., clean=...)"
            )
        shown = (image,)
    elif draft.images:
        for pixels in draft.images:
            _check_pixels(pixels)
        shown = tuple(images.put(encode_png(pixels)) for pixels in draft.images)
    else:
        shown = own if draft.keep_images else ()
    kept = draft.keep_images and draft.image is None and not draft.images
    if kept and draft.text is None and not draft.before:
        conversation = before  # untouched, whatever the order of its parts
    else:
        _check_edits(draft, threat, own)
        said = () if draft.text == "" and shown else (text,)
        conversation = before.with_last_user(*shown, *said)
    first, follow_ups = conversation, tuple[Turn, ...]()
    if draft.before:
        first = before.with_last_user(*draft.before[0].parts)
        follow_ups = (*draft.before[1:], conversation.last_user_turn)
    return Artifact(
        key=key,
        case_id=draft.case.id,
        conversation=first,
        follow_ups=follow_ups,
        norms=norms,
        clean=clean,
        trace=draft.trace,
        checks=draft.checks,
        cost=draft.cost,
        shared=draft.shared,
        in_training_set=draft.in_training_set,
        note=draft.note,
        problem=first.problem or Conversation(follow_ups).problem,
    )


def _kept(clean: Pixels, own: tuple[Image, ...], images: Images) -> Image:
    """The file of the picture that was perturbed: the case's own if it shows these pixels, else a new PNG."""
    _check_pixels(clean)
    for image in own:
        alike = image.problem is None and (image.height, image.width) == clean.shape[:2]
        if alike and np.array_equal(images.pixels(image), clean):
            return image
    return images.put(encode_png(clean))


def _check_pixels(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ContractError(f"a draft's picture is uint8 h x w x 3, got {pixels.dtype} {pixels.shape}")


def _check_edits(draft: Draft, threat: ThreatModel, own: tuple[Image, ...]) -> None:
    where = f"case {draft.case.id}: "
    if any(turn.role != "user" for turn in draft.before):
        raise ContractError(f"{where}a script holds user turns only: the target itself replies to them")
    earlier = {image for turn in draft.before for image in turn.images}
    added = any(image not in own for image in earlier)
    dropped = not draft.keep_images and any(image not in earlier for image in own)
    edits_image = draft.image is not None or bool(draft.images) or added or dropped
    if edits_image and "image" not in threat.may_edit:
        raise ContractError(f"{where}the threat model does not allow editing the image")
    if (draft.text is not None or draft.before) and "text" not in threat.may_edit:
        raise ContractError(f"{where}the threat model does not allow editing the text")

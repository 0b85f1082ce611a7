"""What no attack on gradients can do: it is told in one sentence, before anything is spent or lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from picture_runs import Testbed, captions, shown
from torch import Tensor

from sightline import registry
from sightline.budget import Budget, SpentError
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.records import SearchProgress
from sightline.whitebox.families import KNOWN, check_known
from sightline.whitebox.victim import Pair, Rows

#: attacks on gradients whose change is bounded, and what they need beside `eps`
BOUNDED = ("qi_visual", "image_hijack", "cropa", "injection", "schlarmann_hein", "misleading")


@dataclass(eq=False)
class Tight:
    """A victim in whose memory only so many pictures fit; satisfies `Victim`."""

    inner: Any
    most: int
    sizes: list[int] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.inner.id)

    @property
    def device(self) -> torch.device:
        return torch.device(self.inner.device)

    def prompt_width(self, prompt: Any) -> tuple[int, int]:
        found: tuple[int, int] = self.inner.prompt_width(prompt)
        return found

    def rows(self, x: Tensor, pairs: list[Pair], *, perturbations: Any = ()) -> Rows:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(x))
        found: Rows = self.inner.rows(x, pairs, perturbations=perturbations)
        return found


@dataclass
class Lent:
    """A surrogate with that victim."""

    model: Any
    id: str = "tight"

    def victim(self) -> Any:
        return self.model


def crafted(bed: Testbed, model: Any, attack: Any, cases: list[Any]) -> tuple[list[Any], list[str]]:
    """Drafts, and what the user was told while they were made."""
    heard: list[SearchProgress] = []
    ctx = Craft(images=bed.blobs, seed=1, surrogates=(Lent(model),), report=heard.append)
    return list(attack.craft(cases, ctx)), [one.message for one in heard if one.message]


ROOMY = {
    "schlarmann_hein": {"preset": "testbed", "batch": 3, "steps": 3},
    "cropa": {"preset": "testbed", "batch": 3, "steps": 3},
    "injection": {"preset": "testbed", "batch": 3, "steps": 3},
    "tool_misuse": {"preset": "testbed", "batch": 3, "steps": 2, "held_out": 2},
    "carlini": {"preset": "testbed", "targets": ("a moss line",), "batch": 3, "steps": 3},
}


@pytest.mark.parametrize("name", ROOMY)
@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(name: str, tmp_path: Path) -> None:
    bed = Testbed(tmp_path)
    model, cases = bed.surrogate.victim(), captions(bed.blobs, 3)
    attack = registry.make("attack", name, **ROOMY[name])
    whole, quiet = crafted(bed, model, attack, cases)
    tight = Tight(model, 1)
    found, heard = crafted(bed, tight, attack, cases)
    assert quiet == []
    assert heard == [
        "out of memory with 3 pictures at a time: going on with 2",
        "out of memory with 2 pictures at a time: going on with 1",
    ]
    assert [draft.case.id for draft in found] == [case.id for case in cases]
    for mine, theirs in zip(found, whole, strict=True):
        assert (mine.cost.forwards, mine.cost.backwards) == (theirs.cost.forwards, theirs.cost.backwards)
        same = (mine.image == theirs.image).mean()  # sums in another order: a sign here and there
        assert same > 0.97


def test_one_picture_that_does_not_fit_is_told_with_what_helps(tmp_path: Path) -> None:
    bed = Testbed(tmp_path)
    attack = registry.make("attack", "schlarmann_hein", preset="testbed", steps=2)
    with pytest.raises(UsageError, match=r"one picture alone does not fit into memory: take a smaller model"):
        crafted(bed, Tight(bed.surrogate.victim(), 0), attack, captions(bed.blobs, 2))


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize(
    ("eps", "message"),
    [
        ("0/255", r"eps=0\.0 is out of range: expected 0 < eps <= 255"),
        ("256/255", r"eps=256\.0 is out of range"),
        ("1.5", "eps='1.5' is ambiguous: write '8/255'"),
        ("8", "eps='8' is ambiguous: write '8/255'"),
        ("-1/255", "eps='-1/255' is not N/255"),
    ],
)
def test_radii_beyond_the_pixels_are_told_when_the_attack_is_named(name: str, eps: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.make("attack", name, eps=eps)


def test_a_family_without_an_adapter_is_told_before_weights_are_loaded() -> None:
    assert "llava" in KNOWN
    with pytest.raises(UsageError, match=r"fuyu models cannot be attacked .* craft on one of these"):
        check_known("fuyu")


@pytest.mark.parametrize("name", ["carlini", "schlarmann_hein", "injection"])
def test_a_picture_smaller_than_the_models_patch_is_told(name: str, tmp_path: Path) -> None:
    bed = Testbed(tmp_path)
    small = bed.blobs.put_pixels(np.zeros((4, 64, 3), np.uint8))
    attack = registry.make("attack", name, **{**ROOMY[name], "batch": 1})
    with pytest.raises(UsageError, match=r"64 x 4 pixels is smaller than a patch .* enlarge it before"):
        crafted(bed, bed.surrogate.victim(), attack, [shown(small, "what is it ?", "small")])


def test_a_patch_larger_than_the_picture_is_told() -> None:
    with pytest.raises(UsageError, match="patch_px=65 is out of range: expected 1 to size_px"):
        registry.make("attack", "image_hijack", preset="testbed_patch", patch_px=65)


def test_a_case_that_cannot_be_attacked_loses_no_earlier_one(tmp_path: Path) -> None:
    """Drafts are handed out one batch after the other: what was made stays made."""
    bed = Testbed(tmp_path)
    cases = captions(bed.blobs, 2)
    broken = replace(cases[1], answer=None)
    ctx = Craft(images=bed.blobs, seed=1, surrogates=(bed.surrogate,), budget=Budget(backwards=2))
    attack = registry.make("attack", "schlarmann_hein", preset="testbed", batch=1)
    drafts = attack.craft([cases[0], broken], ctx)
    first = next(drafts)
    assert (first.case.id, first.cost.backwards) == ("scene/0", 2)
    with pytest.raises(UsageError, match="'scene/1' has no reference answer"):
        next(drafts)


@pytest.mark.parametrize("limit", [{"forwards": 2}, {"flops": 1e6}], ids=["passes", "operations"])
@pytest.mark.parametrize("name", [*ROOMY, "tpgd", "gcg"])
def test_a_budget_below_one_step_is_told(name: str, limit: dict[str, Any], tmp_path: Path) -> None:
    bed = Testbed(tmp_path)
    text = {"avoid": ("a moss",), "reach": ()} if name == "tpgd" else {"targets": ("a moss line",)}
    attack = registry.make("attack", name, **ROOMY.get(name, {"preset": "testbed", **text}))
    ctx = Craft(images=bed.blobs, seed=1, surrogates=(bed.surrogate,), budget=Budget(**limit))
    ((what, _),) = limit.items()
    with pytest.raises(SpentError, match=rf"budget\.{what}=.* does not pay for"):
        list(attack.craft(captions(bed.blobs, 1), ctx))

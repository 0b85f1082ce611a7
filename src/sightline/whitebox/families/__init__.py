"""How pictures enter a model: one class per way, named in the family's row of `targets.local.families`.

A family calls the model's own modules with packed tokens, a 4-D mask and explicit positions. Which there
are: `KNOWN`.
"""

from __future__ import annotations

from typing import Any

from sightline.errors import UsageError
from sightline.targets.local.families import FAMILIES
from sightline.whitebox.families.base import Family, ForwardInputs
from sightline.whitebox.families.cross_attention import Idefics, Mllama
from sightline.whitebox.families.llava import Llava, Padded
from sightline.whitebox.families.qformer import InstructedQFormer, QFormer
from sightline.whitebox.families.qwen import Qwen
from sightline.whitebox.families.text import TextOnly

_ADAPTERS = {
    kind.__name__: kind
    for kind in (Idefics, InstructedQFormer, Llava, Mllama, Padded, QFormer, Qwen, TextOnly)
}
#: types of models that are opened for gradients
KNOWN = frozenset(kind for kind, facts in FAMILIES.items() if facts.adapter)


def check_known(kind: str) -> None:
    """Check, before weights are loaded, that a `model_type` has an adapter.

    Raises:
        UsageError: if not, naming those that have.
    """
    if kind not in KNOWN:
        raise UsageError(
            f"{kind} models cannot be attacked through their gradients: there is an adapter for "
            f"{', '.join(sorted(KNOWN))}; use a black-box attack, or craft on one of these and transfer"
        )


def family_of(model: Any) -> Family:
    """The adapter of a loaded model.

    Raises:
        UsageError: if there is none, or only for other models of the family.
    """
    kind = str(model.config.model_type)
    check_known(kind)
    return _ADAPTERS[FAMILIES[kind].adapter](model)


__all__ = ["KNOWN", "Family", "ForwardInputs", "check_known", "family_of"]

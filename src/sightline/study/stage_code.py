"""Our own code that decides rows and belongs to no method: its digests stand in keys and in the lock."""

from __future__ import annotations

from collections.abc import Mapping

from sightline.closure import code_of

STAGES: Mapping[str, tuple[str, ...]] = {
    "read": ("sightline.release", "sightline.untrusted", "sightline.study.sampling"),
    "craft": ("sightline.study.seal",),
    "talk": ("sightline.study.talk", "sightline.study.replying"),
}
"""What finds the files of a release and chooses cases; what turns a draft into the file that is shown; what
stands between an attack that converses and the models that it asks."""
TABLE = "sightline.study.results"
"""What makes the result table of the records; a table made by other code is written anew."""
SURROGATES = ("sightline.whitebox.encoders",)
"""What opens models for gradients, whole or their vision towers alone."""


THROUGH = ("sightline.whitebox.defended",)
"""What opens a model behind defenses for gradients."""


def stage_code(stage: str) -> str:
    """Digest of the code of a stage."""
    return code_of(*STAGES[stage])

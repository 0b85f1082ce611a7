"""What the pages of an annotation are refused, as a status of HTTP and one sentence."""

from __future__ import annotations

from sightline.errors import SightlineError


class RefusedError(SightlineError):
    """A request that is not served: `status` of HTTP, and a sentence for the screen."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

"""The testbed's target beside placeholder pictures and helpers that answer by rule, for pipelines."""

from __future__ import annotations

from pathlib import Path

from puzzle_runs import Bench, LiveTalk

from sightline.cases import Case, Conversation
from sightline.image_sources import open_image_source
from sightline.records import Pixels, Response
from sightline.store import Blobs


class DrawingTalk(LiveTalk):
    """Draws placeholders; its captioner counts, its attacker scores by counting words."""

    def __init__(self, blobs: Blobs, size_px: int) -> None:
        super().__init__(blobs)
        self.pictures = open_image_source(f"placeholder/{size_px}", blobs)
        self.roles: list[str] = []

    async def ask(
        self, role: str, conversation: Conversation, *, max_tokens: int, temperature: float
    ) -> Response:
        del max_tokens, temperature
        self.roles.append(role)
        if role == "captioner":
            return Response(text="a shape " * (self.roles.count("captioner") % 3 + 1))
        if "<score>" in conversation.turns[0].text:
            words = len(conversation.last_user_text().split())
            return Response(text=f"<score>{min(words, 10)}</score><why>{words} words</why>")
        return Response(text=f"<improvement>more</improvement><prompt>shapes {len(self.roles)}</prompt>")

    async def picture_of(self, case: Case, prompt: str) -> Pixels:
        return await self.pictures.picture(case, prompt, seed=1)


def drawing_bench(folder: Path, size_px: int, count: int = 12) -> Bench:
    """A bench whose attacks may ask for pictures of so many pixels."""
    bench = Bench(folder, count)
    bench.talk = DrawingTalk(bench.blobs, size_px)
    return bench

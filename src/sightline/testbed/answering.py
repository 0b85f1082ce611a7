"""Ask a testbed model many questions at once, greedily, the way any user of the Hugging Face folder would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from sightline.testbed.render import Pixels

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

MAX_NEW_TOKENS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question: what is sent, what the true answer is about, and its cluster for intervals."""

    user: str
    subject: str
    group: str
    pixels: Pixels | None = None
    system: str = ""
    history: tuple[tuple[str, str], ...] = ()

    def follow_up(self, answer: str, question: str) -> Ask:
        """Return the next question of the same conversation."""
        return replace(self, user=question, history=(*self.history, (self.user, answer)))

    def messages(self) -> list[dict[str, Any]]:
        """Return the conversation in chat-template form; the picture stands before the first text."""
        found: list[dict[str, Any]] = [{"role": "system", "content": self.system}] if self.system else []
        for turn, (question, answer) in enumerate((*self.history, (self.user, ""))):
            parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
            if turn == 0 and self.pixels is not None:
                parts.insert(0, {"type": "image"})
            found.append({"role": "user", "content": parts})
            if answer:
                found.append({"role": "assistant", "content": answer})
        return found


class Model:
    """A model together with its processor."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> None:
        """Take a loaded model; it is used as it is."""
        self.model = model.eval()
        self.processor = processor

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def answers(self, asks: Sequence[Ask], batch: int = 64) -> list[str]:
        """Return one greedy answer per question, in order."""
        texts = [
            self.processor.apply_chat_template(ask.messages(), add_generation_prompt=True, tokenize=False)
            for ask in asks
        ]
        order = sorted(range(len(asks)), key=lambda i: (asks[i].pixels is None, len(texts[i])))
        found = [""] * len(asks)
        for seen in (True, False):
            some = [i for i in order if (asks[i].pixels is not None) == seen]
            for start in range(0, len(some), batch):
                rows = some[start : start + batch]
                images = [asks[i].pixels for i in rows] if seen else None
                inputs = self.processor(
                    images=images, text=[texts[i] for i in rows], padding=True, return_tensors="pt"
                )
                length = inputs["input_ids"].shape[1]
                inputs.pop("token_type_ids", None)
                out = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
                for i, text in zip(
                    rows, self.processor.batch_decode(out[:, length:], skip_special_tokens=True), strict=True
                ):
                    found[i] = text.strip()
        return found

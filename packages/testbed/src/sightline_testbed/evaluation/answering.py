"""Ask a testbed model many questions at once, greedily, the way any user of the Hugging Face folder would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from sightline.testbed.render import Pixels
from sightline.testbed.tokenizer import IMAGE
from sightline.testbed.weights import Roots, materialize

if TYPE_CHECKING:
    from torch import Tensor

MAX_NEW_TOKENS = 48


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
    """A model together with its processor; of any of the testbed's families."""

    def __init__(self, model: Any, processor: Any) -> None:
        """Take a loaded model; it is used as it is."""
        self.model = model.eval()
        self.processor = processor
        self._kind = str(model.config.model_type)

    def text(self, ask: Ask) -> str:
        """Return the prompt as the chat template writes it."""
        owner = self.processor if getattr(self.processor, "chat_template", None) else self.processor.tokenizer
        return str(owner.apply_chat_template(ask.messages(), add_generation_prompt=True, tokenize=False))

    def inputs(self, asks: Sequence[Ask]) -> dict[str, Tensor]:
        """Return what `generate` takes, padded on the left; either all questions show a picture or none."""
        texts = [self.text(ask) for ask in asks]
        shown = [ask.pixels for ask in asks if ask.pixels is not None]
        if self._kind == "idefics":
            found = self.processor(text=[self._pieces(*pair) for pair in zip(asks, texts, strict=True)])
        else:
            images = {"images": shown} if shown else {}
            found = self.processor(text=texts, **images, padding=True, return_tensors="pt")
        return {name: value for name, value in found.items() if name != "token_type_ids"}

    def _pieces(self, ask: Ask, text: str) -> list[Any]:
        """Text and picture in reading order, as `IdeficsProcessor` takes them; it writes `<s>` itself."""
        from PIL import Image

        pieces: list[Any] = text.removeprefix(self.processor.tokenizer.bos_token).split(IMAGE)
        if ask.pixels is not None:
            pieces.insert(1, Image.fromarray(ask.pixels))
        return pieces

    @torch.no_grad()
    def answers(self, asks: Sequence[Ask], batch: int = 64) -> list[str]:
        """Return one greedy answer per question, in order."""
        lengths = [len(self.text(ask)) for ask in asks]
        order = sorted(range(len(asks)), key=lambda i: (asks[i].pixels is None, lengths[i]))
        found = [""] * len(asks)
        for seen in (True, False):
            some = [i for i in order if (asks[i].pixels is not None) == seen]
            for start in range(0, len(some), batch):
                rows = some[start : start + batch]
                inputs = self.inputs([asks[i] for i in rows])
                speaker = self.model
                if self._kind == "blip-2" and not seen:
                    speaker = self.model.language_model  # the whole model's `generate` demands pixels
                out = speaker.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
                fresh = out[:, inputs["input_ids"].shape[1] :]
                texts = self.processor.tokenizer.batch_decode(fresh, skip_special_tokens=True)
                for i, text in zip(rows, texts, strict=True):
                    found[i] = text.strip()
        return found


def open_model(name: str, weights: Roots = None, *, gradients: bool = False) -> Model:
    """Load a testbed model by name, for one thread; unless for `gradients`, with the faster products."""
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    from sightline.targets.local.linear import repack, worthwhile

    logging.disable_progress_bar()
    folder = materialize(name, root=weights)
    torch.set_num_threads(1)
    loaded = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    if not gradients and worthwhile():
        repack(loaded)
    return Model(loaded, AutoProcessor.from_pretrained(folder))

"""The text tower of a CLIP or SigLIP: texts in, vectors out, to be compared with a picture's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from sightline.errors import UsageError
from sightline.targets.local.limits import ForeignText
from sightline.targets.local.processors import first_line, quiet

#: stands in old CLIP folders, whose texts end with their largest token instead
OLD_END = 2


@dataclass(frozen=True, slots=True, eq=False)
class TextTower:
    """Reads texts with both towers' model; its tokenizer is loaded when the first one is read.

    Attributes:
        model: a CLIPModel or SiglipModel.
        folder: where the tokenizer is.
    """

    model: Any
    folder: Path

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """See `Encoder.texts`."""
        words = self._tokenizer(texts)
        config = self.model.config.text_config
        limit = int(config.max_position_embeddings)
        siglip = self.model.config.model_type == "siglip"
        lengths = [len(ids) for ids in words(list(texts))["input_ids"]]
        if max(lengths) > limit:
            longest = texts[lengths.index(max(lengths))]
            raise UsageError(f"{self.folder}: its text tower reads {limit} tokens; shorten {longest[:60]!r}")
        padded: dict[str, Any] = {"padding": True}
        if siglip:  # trained on padding up to the whole length
            padded = {"padding": "max_length", "max_length": limit}
        tokens = words(list(texts), return_tensors="pt", **padded).to(self.model.device)
        ids = tokens["input_ids"]
        end = config.eos_token_id
        if not siglip and end != OLD_END and not bool((ids == end).any(1).all()):
            raise UsageError(
                f"{self.folder}: its tokenizer does not end a text with token {end}, whose vector CLIP takes"
            )
        with torch.no_grad():
            if siglip:
                found: Tensor = self.model.text_model(input_ids=ids).pooler_output
            else:
                read = self.model.text_model(input_ids=ids, attention_mask=tokens["attention_mask"])
                found = self.model.text_projection(read.pooler_output)
        return found.float()

    def _tokenizer(self, texts: Sequence[str]) -> Any:
        foreign = ForeignText(self.folder)
        try:
            foreign.check_tokenizer()
            foreign.check_text("\n".join(texts))
            with quiet():
                return AutoTokenizer.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False
                )
        except Exception as broken:  # a damaged tokenizer.json raises a bare Exception
            raise UsageError(
                f"{self.folder}: its text tower's tokenizer cannot be loaded: {first_line(broken)}"
            ) from None

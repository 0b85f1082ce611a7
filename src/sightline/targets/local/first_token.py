"""How likely the reply of a loaded model begins with which token."""

from __future__ import annotations

from typing import Any

from sightline.targets.local.model import LoadedModel, Prepared

STEPS = 4
"""Tokens in which the first visible one is looked for."""
MOST = 20


def first_token(model: LoadedModel, row: Prepared) -> dict[str, float]:
    """Probabilities of the likeliest tokens where the greedy reply's first visible token stands, by text."""
    reply = model.generate([row], new_tokens=STEPS, scores=True)[0]
    decode: Any = model.route.tokenizer.decode
    for place, token in enumerate(reply.ids):
        if not decode([token], skip_special_tokens=True).strip():
            continue
        likely, tokens = reply.scores[place].softmax(dim=-1).topk(min(MOST, reply.scores.shape[-1]))
        found: dict[str, float] = {}
        for probability, each in zip(likely.tolist(), tokens.tolist(), strict=True):
            text = decode([each])
            found[text] = found.get(text, 0.0) + probability
        return found
    return {}

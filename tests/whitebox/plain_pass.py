"""The oracle of packed rows: one ordinary forward pass per picture and pair, by the model's own loss."""

from __future__ import annotations

import torch

from sightline.cases import Conversation, Image
from sightline.contracts import Decoding
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.victim import Pair

#: token fields that a longer sequence repeats (what its last token sees) or fills with zeros (text)
REPEATED = ("attention_mask", "image_attention_mask", "cross_attention_mask")
ZERO = ("mm_token_type_ids",)


def plain_loss(victim: MultimodalVictim, prepared, target, x: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of a target behind a prompt that the ordinary target prepared."""
    tokens, added = dict(prepared.tokens), torch.tensor([target])
    labels = torch.cat([torch.full_like(tokens["input_ids"], -100), added], dim=1)
    tokens["input_ids"] = torch.cat([tokens["input_ids"], added], dim=1)
    for key in REPEATED + ZERO:
        if key in tokens:
            value = tokens[key]
            more = value[:, -1:].expand(-1, len(target), *value.shape[2:])
            tokens[key] = torch.cat([value, more * (key not in ZERO)], dim=1)
    return victim.model(**tokens, **victim.pixels(x), labels=labels, use_cache=False).loss


def plain_losses(victim, loaded, read, x, pairs) -> torch.Tensor:
    """`plain_loss` of every picture and pair, (n, pairs); prompts by the model that serves the target."""
    size = (x.shape[2], x.shape[3])
    prepared = [loaded.prepare(pair.prompt, Decoding(), read) for pair in pairs]
    targets = [victim.tokens(pair, size)[1] for pair in pairs]
    return torch.stack(
        [
            torch.stack([plain_loss(victim, p, t, one[None]) for p, t in zip(prepared, targets, strict=True)])
            for one in x
        ]
    )


def means(rows) -> torch.Tensor:
    """Mean negative log-likelihood per picture and pair, (n, pairs)."""
    return torch.stack([rows.nll[:, rows.pair == pair].mean(1) for pair in range(rows.pairs)], dim=1)


def slope(loss: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss.sum(), x)
    return found


def pair(image: Image, text: str, target: str, *, closed: bool = True) -> Pair:
    return Pair(prompt=Conversation.user(image, text), target=target, closed=closed)


def assert_same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Relative error of at most 1e-5, and equal signs of 99.99 % of what is not zero."""
    assert wanted.abs().max() > 0
    assert (found - wanted).norm() <= 1e-5 * wanted.norm()
    told = wanted.abs() > 1e-6 * wanted.abs().max()
    assert (found.sign() == wanted.sign())[told].float().mean() >= 0.9999

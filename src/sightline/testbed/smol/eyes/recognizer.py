"""The text recognizer of PP-OCRv6 (small) as a torch module, so that gradients reach its pixels.

PaddleOCR, Apache-2.0; the weights are those of the ONNX file that the package `rapidocr` brings (extra
`ocr`). Shapes and order of operations are the file's own: a stem, thirteen depthwise-separable blocks, two
attention blocks over columns (SVTR), a classifier of characters. Batch normalizations of the backbone are
folded into the convolutions there. `from_onnx` takes the weights in the order of computation; a test
compares the result with ONNX Runtime. Of the 18,710 characters only printable ASCII, the space and the
blank of CTC are kept: the scores of the others are not computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sightline.errors import UsageError
from sightline.testbed.smol.eyes.onnx_file import OnnxFile, read_onnx

HEIGHT, COLUMN = 48, 8
"""Pixels: height of a line, and width of what becomes one column of scores."""
WIDTH, HEADS = 120, 8
CHARACTERS = "".join(map(chr, range(33, 127)))
"""Printable ASCII: scores are blank, these, space."""
CLASSES = len(CHARACTERS) + 2
#: (channels in, channels out, stride down, squeeze and excitation) of every block
_BLOCKS = (
    (96, 96, 1, True),
    (96, 96, 1, False),
    (96, 96, 1, False),
    (96, 192, 2, False),
    (192, 192, 1, True),
    (192, 192, 1, False),
    (192, 192, 1, True),
    (192, 192, 1, False),
    (192, 192, 1, True),
    (192, 192, 1, False),
    (192, 384, 2, False),
    (384, 384, 1, True),
    (384, 384, 1, False),
)


class _Excite(nn.Module):
    """Squeeze and excitation: every channel times what its mean, and those of the others, say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // 4, 1)
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.up(functional.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * (found / 6 + 0.5).clamp(0, 1)


class _Block(nn.Module):
    """A depthwise convolution, then two over channels; added to where it started if shapes agree."""

    def __init__(self, inner: int, outer: int, stride: int, excited: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inner, inner, 3, (stride, 1), 1, groups=inner)
        self.excite = _Excite(inner) if excited else None
        self.widen = nn.Conv2d(inner, 2 * inner, 1)
        self.narrow = nn.Conv2d(2 * inner, outer, 1)
        self.added = inner == outer

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(x)
        if self.excite is not None:
            x = self.excite(x)
        found: Tensor = self.narrow(functional.gelu(self.widen(x)))
        return x + found if self.added else found


class _Attention(nn.Module):
    """One transformer block over columns (n, columns, WIDTH)."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LayerNorm(WIDTH, eps=1e-6)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.between = nn.LayerNorm(WIDTH, eps=1e-6)
        self.widen = nn.Linear(WIDTH, 2 * WIDTH)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, columns, _ = x.shape
        parts = self.qkv(self.before(x)).reshape(n, columns, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts.unbind())
        x = x + self.out(mixed.transpose(1, 2).reshape(n, columns, WIDTH))
        found: Tensor = x + self.narrow(functional.silu(self.widen(self.between(x))))
        return found


class Recognizer(nn.Module):
    """Lines of text (n, 3, 48, w), BGR in [-1, 1], to log-probabilities (n, w / 8, CLASSES)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList(
            [
                nn.Conv2d(3, 48, 3, 2, 1),
                nn.Conv2d(48, 24, 2),
                nn.Conv2d(24, 48, 2),
                nn.Conv2d(96, 48, 3, 2, 1),
                nn.Conv2d(48, 96, 1),
            ]
        )
        self.blocks = nn.ModuleList([_Block(*shape) for shape in _BLOCKS])
        self.skip, self.reduce = nn.Conv2d(384, WIDTH, 1), nn.Conv2d(384, WIDTH, 1)
        self.local = nn.Conv2d(WIDTH, WIDTH, (1, 7), padding=(0, 3), groups=WIDTH)
        self.attention = nn.ModuleList([_Attention(), _Attention()])
        self.after = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, CLASSES)

    def columns(self, lines: Tensor) -> Tensor:
        """What the classifier reads, (n, w / 8, WIDTH)."""
        one, narrow, wide, three, four = self.stem
        x = functional.relu(one(lines))
        aside = functional.relu(narrow(_padded(x)))
        aside = functional.relu(wide(_padded(aside)))
        # the file pads what is pooled with minus infinity: all is >= 0 here, zeros do as well
        x = torch.cat([functional.max_pool2d(_padded(x), 2, 1), aside], 1)
        x = functional.relu(four(functional.relu(three(x))))
        for block in self.blocks:
            x = block(x)
        x = functional.avg_pool2d(x, (3, 2))
        skipped, x = functional.silu(self.skip(x)), functional.silu(self.reduce(x))
        x = (x + functional.silu(self.local(x))).squeeze(2).transpose(1, 2)
        for block in self.attention:
            x = block(x)
        found: Tensor = self.after(x) + skipped.squeeze(2).transpose(1, 2)
        return found

    def forward(self, lines: Tensor) -> Tensor:
        """See the class."""
        return functional.log_softmax(self.head(self.columns(lines)), -1)


def _padded(x: Tensor) -> Tensor:
    """One more row below and column to the right, of zeros."""
    return functional.pad(x, (0, 1, 0, 1))


def from_onnx(path: Path) -> Recognizer:
    """The recognizer with the weights of a file.

    Raises:
        UsageError: if the file cannot be read, or holds another network.
    """
    file = read_onnx(path)
    found = Recognizer().eval().requires_grad_(False)
    try:
        _fill(found, file)
    except (KeyError, ValueError, RuntimeError, StopIteration) as other:
        raise UsageError(
            f"{path}: not the network PP-OCRv6_rec_small ({other}); take the file that "
            "`pip install 'rapidocr==3.10.0'` brings"
        ) from other
    return found


def _fill(model: Recognizer, file: OnnxFile) -> None:
    """Copy the file's weights, in the order in which they are used, into the modules in that order."""
    used = _weights_in_order(file)
    convolutions = [*model.stem]
    for block in model.blocks:
        assert isinstance(block, _Block)
        convolutions.append(block.depthwise)
        convolutions += [] if block.excite is None else [block.excite.down, block.excite.up]
        convolutions += [block.widen, block.narrow]
    with torch.no_grad():
        for module in convolutions:
            _put(module, next(used), next(used))
        for module in (model.skip, model.reduce, model.local):
            kernel, scale, shift, mean, variance = (next(used) for _ in range(5))
            factor = scale / np.sqrt(variance + 1e-5)
            _put(module, kernel * factor[:, None, None, None], shift - mean * factor)
        for block in model.attention:
            assert isinstance(block, _Attention)
            for name in ("before", "qkv", "out", "between", "widen", "narrow"):
                _put(getattr(block, name), next(used), next(used))
        _put(model.after, next(used), next(used))
        kernel, bias = next(used), next(used)
        chosen = _classes(file, len(bias))
        _put(model.head, kernel[:, chosen], bias[chosen])
    if next(used, None) is not None:
        raise ValueError("it has more weights")


def _weights_in_order(file: OnnxFile) -> Iterator[np.ndarray]:
    """Kernels, biases, scales and shifts, each when it is first used."""
    for node in file.nodes:
        if node.kind in ("Conv", "Add", "Mul", "MatMul", "BatchNormalization"):
            for name in node.inputs:
                weight = file.weights.get(name)
                if weight is not None and weight.size > 1 and weight.dtype == np.float32:
                    yield weight


def _put(module: nn.Module, kernel: np.ndarray, bias: np.ndarray) -> None:
    weight = module.weight
    assert isinstance(weight, Tensor)
    assert isinstance(module.bias, Tensor)
    turned = kernel.T if isinstance(module, nn.Linear) else kernel
    if turned.shape != tuple(weight.shape) or bias.size != module.bias.numel():
        raise ValueError(f"a weight of shape {turned.shape}, expected {tuple(weight.shape)}")
    weight.copy_(torch.from_numpy(np.array(turned)))
    module.bias.copy_(torch.from_numpy(np.array(bias).reshape(-1)))


def _classes(file: OnnxFile, count: int) -> list[int]:
    """Places of blank, `CHARACTERS` and space among the file's classes: blank first, space last."""
    places = {character: place + 1 for place, character in enumerate(file.facts["character"].split("\n"))}
    return [0, *(places[character] for character in CHARACTERS), count - 1]

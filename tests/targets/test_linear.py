import itertools

import pytest
import torch

from sightline.targets.local import linear as linear
from sightline.targets.local.linear import repack, worthwhile


def layers(*sizes, bias=True):
    made = [torch.nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(sizes)]
    return torch.nn.Sequential(*made).requires_grad_(False)


@pytest.mark.skipif(not worthwhile(), reason="this machine's MKL is as fast")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (3, 24), (2, 40, 24), (4, 3, 8, 24)])
def test_the_product_is_the_same(bias, shape):
    model = layers(24, 40, 7, bias=bias)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = model(x)
    assert repack(model) == 2
    with torch.inference_mode():
        assert torch.allclose(model(x), expected, atol=1e-5)
        turned = x.transpose(0, -2).contiguous().transpose(0, -2)
        assert torch.allclose(model(turned), expected, atol=1e-5)


@pytest.mark.skipif(not worthwhile(), reason="this machine's MKL is as fast")
def test_large_and_other_models_are_left_alone(monkeypatch):
    assert repack(layers(8, 8).to(torch.bfloat16)) == 0
    monkeypatch.setattr(linear, "MOST_BYTES", 8 * 8 * 4)
    assert repack(layers(8, 8)) == 1
    assert repack(layers(8, 8, 8)) == 0


def test_a_torch_without_the_operators_is_no_error(monkeypatch):
    monkeypatch.setattr(linear.torch.ops, "mkldnn", object(), raising=False)
    worthwhile.cache_clear()
    try:
        assert worthwhile() is False
    finally:
        monkeypatch.undo()
        worthwhile.cache_clear()

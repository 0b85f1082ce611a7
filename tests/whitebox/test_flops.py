"""Operations are counted by whatever kernel they run: the same model costs the same FLOPs."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sightline.whitebox.compute import counter, register
from sightline.whitebox.frozen import quicken


def test_a_quickened_layer_costs_what_a_plain_one_does():
    layers = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 6)).requires_grad_(False)
    quickened = quicken(layers)
    x = torch.randn(3, 8, requires_grad=True)
    with counter() as forward:
        y = layers(x)
    with counter() as backward:
        torch.autograd.grad(y.sum(), x)
    assert forward.get_total_flops() == 2 * 3 * (8 * 4 + 4 * 6)
    assert backward.get_total_flops() == 2 * 3 * (8 * 4 + 4 * 6)
    if quickened:
        assert "mkldnn._linear_pointwise" in str(forward.get_flop_counts())


@pytest.mark.parametrize("kernel", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_attention_on_a_processor_is_counted(kernel):
    query, key, value = (torch.randn(1, 2, 5, 8) for _ in range(3))
    for each in (query, key, value):
        each.requires_grad_(True)
    with sdpa_kernel(kernel), counter() as counted:
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert counted.get_total_flops() == 2 * 2 * (2 * 5 * 5 * 8)  # products, heads
    with counter() as backward:
        torch.autograd.grad(found.sum(), (query, key, value))
    assert backward.get_total_flops() > counted.get_total_flops()


def test_registering_again_is_harmless():
    register()
    register()

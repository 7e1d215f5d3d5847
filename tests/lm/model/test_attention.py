"""Attention against explicit heads, mask and rotation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.model.attention import Attention, RotaryTable

Small = Callable[..., TrainConfig]


def plain_attention(attention: Attention, x_SD: Tensor, theta: float) -> Tensor:
    """One sequence, one head at a time, rotation written as complex numbers."""
    length, width = len(x_SD), attention.head_dim
    heads = (x_SD @ attention.qkv_proj.weight.T).view(length, -1, width)
    frequency = theta ** (-torch.arange(0, width, 2) / width)
    turn = torch.polar(torch.ones(length, width // 2), torch.outer(torch.arange(length), frequency))

    def rotate(y: Tensor) -> Tensor:
        turned = torch.complex(y[:, : width // 2], y[:, width // 2 :]) * turn
        return torch.cat([turned.real, turned.imag], dim=1)

    out = []
    group = attention.n_heads // attention.n_kv_heads
    for head in range(attention.n_heads):
        q = rotate(heads[:, head])
        k = rotate(heads[:, attention.n_heads + head // group])
        v = heads[:, attention.n_heads + attention.n_kv_heads + head // group]
        score = (q @ k.T / width**0.5).masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
        out.append(score.softmax(-1) @ v)
    return torch.cat(out, dim=1) @ attention.o_proj.weight.T


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("theta", [100.0, 1e6])
def test_equals_one_head_at_a_time(small: Small, n_kv_heads: int, theta: float) -> None:
    config = small(n_kv_heads=n_kv_heads, rope_theta=theta)
    attention, rotary = Attention(config), RotaryTable(16, 8, theta)
    x_BSD = torch.randn(3, 12, 32)
    expected = torch.stack([plain_attention(attention, x_SD, theta) for x_SD in x_BSD])
    torch.testing.assert_close(attention(x_BSD, rotary), expected, atol=1e-5, rtol=1e-4)


def test_rotation_makes_products_depend_on_distance_alone() -> None:
    rotary = RotaryTable(64, 8, 100.0)
    q, k = (rotary(torch.randn(8).expand(64, 8)) for _ in range(2))
    products = q @ k.T
    for distance in (0, 5, 30):
        along = products.diagonal(-distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=1e-4)

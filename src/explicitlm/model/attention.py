"""Causal grouped-query attention with rotary positions (RoFormer, arXiv 2104.09864), without biases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explicitlm.config import TrainConfig


class RotaryTable(nn.Module):
    """Cosines and sines [S, d_head] of position times theta^(-2i/d_head), for pairs (i, i + d_head/2)."""

    cos_SH: Tensor
    sin_SH: Tensor

    def __init__(self, length: int, head_dim: int, theta: float) -> None:
        super().__init__()
        frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        angle_SH = torch.outer(torch.arange(length, dtype=torch.float64), frequency).repeat(1, 2)
        self.register_buffer("cos_SH", angle_SH.cos().float(), persistent=False)
        self.register_buffer("sin_SH", angle_SH.sin().float(), persistent=False)

    def forward(self, x_BHSd: Tensor) -> Tensor:
        """Turns each pair of x [B, heads, S, d_head] by its position's angle."""
        length = x_BHSd.shape[-2]
        first, second = x_BHSd.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
        cos, sin = self.cos_SH[:length].to(x_BHSd.dtype), self.sin_SH[:length].to(x_BHSd.dtype)
        return x_BHSd * cos + turned * sin


class Attention(nn.Module):
    """x [B, S, D] -> [B, S, D]; `n_kv_heads` keys and values are shared by groups of query heads."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        self.head_dim = config.dim // config.n_heads
        self.dropout = config.dropout
        self.project_qkv = nn.Linear(config.dim, (config.n_heads + 2 * config.n_kv_heads) * self.head_dim, bias=False)
        self.project_out = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x_BSD: Tensor, rotary: RotaryTable) -> Tensor:
        heads_BHSd = self.project_qkv(x_BSD).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        turning, v = heads_BHSd.split([self.n_heads + self.n_kv_heads, self.n_kv_heads], dim=1)
        q, k = rotary(turning).split([self.n_heads, self.n_kv_heads], dim=1)
        mixed_BHSd = F.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=True,
            enable_gqa=self.n_heads != self.n_kv_heads,
        )
        out: Tensor = self.project_out(mixed_BHSd.transpose(1, 2).flatten(2))
        return F.dropout(out, self.dropout, self.training)

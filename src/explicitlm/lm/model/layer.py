"""A layer: attention, then a read of the memory bank or, in the dense baseline, a feed-forward block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.read import MemoryRead, MemoryReader
from explicitlm.lm.model.attention import Attention, RotaryTable
from explicitlm.lm.model.norm import RMSNorm
from explicitlm.lm.model.swiglu import GatedBlock


class MemoryLayer(nn.Module):
    """h = x + a, q = RMSNorm(a), m = read(q), y = h + W_d(SiLU(W_gate z) * W_up z) with z = [q; m].

    a is the attention's output, position by position: a query never sees what comes after it.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.query_norm = RMSNorm(config.dim, config.norm_eps)
        self.memory = MemoryReader(config)
        self.fusion = GatedBlock(2 * config.dim, config.dim, config.dim, config.dropout)

    def forward(
        self, x_BSD: Tensor, rotary: RotaryTable, bank: MemoryBank, table_VD: Tensor, noise_BS: Tensor | None = None
    ) -> tuple[Tensor, MemoryRead]:
        a_BSD = self.attention(self.attention_norm(x_BSD), rotary)
        q_BSD = self.query_norm(a_BSD)
        found: MemoryRead = self.memory(q_BSD, bank, table_VD, noise_BS)
        z_BSE = torch.cat([q_BSD, found.read_BSD.to(q_BSD.dtype)], dim=-1)
        return x_BSD + a_BSD + self.fusion(z_BSE), found


class DenseLayer(nn.Module):
    """The baseline: h = x + a, y = h + W_d(SiLU(W_gate n) * W_up n) with n = RMSNorm(h)."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = GatedBlock(config.dim, feed_forward_width(config), config.dim, config.dropout)

    def forward(self, x_BSD: Tensor, rotary: RotaryTable) -> Tensor:
        h_BSD = x_BSD + self.attention(self.attention_norm(x_BSD), rotary)
        y_BSD: Tensor = h_BSD + self.feed_forward(self.feed_forward_norm(h_BSD))
        return y_BSD


def feed_forward_width(config: TrainConfig) -> int:
    """Hidden width H at which 3 * D * H is nearest to what a memory layer has in its place.

    That is D * d_k for the router's projection, sqrt(N) * d_k for its keys and 5 * D * D for the fusion:
    H = 640 for D = 256, d_k = 128, N = 1,048,576. The rest is equal, so the models differ by at most
    1.5 * D parameters a layer.
    """
    router = (config.dim + math.isqrt(config.knowledge_num)) * config.knowledge_dim
    return max(1, round((router + 5 * config.dim**2) / (3 * config.dim)))

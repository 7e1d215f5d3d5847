"""Causal grouped-query attention with rotary positions (RoFormer, arXiv 2104.09864), without biases."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from explicitlm.lm.config import TrainConfig


class RotaryTable(nn.Module):
    """Cosines and sines of position times theta^(-2i/d_head), for pairs (i, i + d_head/2), H = d_head/2.

    The cosines stand twice, as both halves of a head are multiplied by them at once.
    """

    cos_Sd: Tensor
    sin_SH: Tensor

    def __init__(self, length: int, head_dim: int, theta: float) -> None:
        super().__init__()
        frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        angle_SH = torch.outer(torch.arange(length, dtype=torch.float64), frequency)
        self.register_buffer("cos_Sd", angle_SH.cos().float().repeat(1, 2), persistent=False)
        self.register_buffer("sin_SH", angle_SH.sin().float(), persistent=False)

    def forward(self, x_BHSd: Tensor) -> Tensor:
        """Turns each pair of x [B, heads, S, d_head] by its position's angle."""
        length, dtype = x_BHSd.shape[-2], x_BHSd.dtype
        turned: Tensor = _Turn.apply(  # type: ignore[no-untyped-call]
            x_BHSd, self.cos_Sd[:length].to(dtype), self.sin_SH[:length].to(dtype)
        )
        return turned


class _Turn(Function):
    """(a, b) -> (a cos - b sin, a sin + b cos); backward turns the other way, with nothing to keep."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos_Sd: Tensor, sin_SH: Tensor) -> Tensor:
        ctx.save_for_backward(cos_Sd, sin_SH)
        return _turn(x, cos_Sd, sin_SH)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos_Sd, sin_SH = ctx.saved_tensors
        return _turn(grad, cos_Sd, -sin_SH), None, None


def _turn(x: Tensor, cos_Sd: Tensor, sin_SH: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    out = x * cos_Sd
    out_first, out_second = out.chunk(2, dim=-1)
    out_first.addcmul_(second, sin_SH, value=-1)
    out_second.addcmul_(first, sin_SH)
    return out


def within_documents(ids_BS: Tensor, start_id: int) -> Tensor:
    """What each position [B, 1, S, S] may look at: itself and the earlier ones of its document; True where it may.

    Documents are packed end to end, each behind a start mark, so a position's document is the number of marks up to it;
    tokens before the first one are the rest of a document that began in an earlier sequence. Rotary positions need no
    reset at a mark: products depend on distances alone.
    """
    document_BS = (ids_BS == start_id).cumsum(1)
    same_BSS = document_BS.unsqueeze(2) == document_BS.unsqueeze(1)
    return same_BSS.tril().unsqueeze(1)


class Attention(nn.Module):
    """x [B, S, D] -> [B, S, D]; `n_kv_heads` keys and values are shared by groups of query heads."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        self.head_dim = config.dim // config.n_heads
        self.dropout = config.dropout
        self.qkv_proj = nn.Linear(config.dim, (config.n_heads + 2 * config.n_kv_heads) * self.head_dim, bias=False)
        self.o_proj = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x_BSD: Tensor, rotary: RotaryTable, mask_B1SS: Tensor | None = None) -> Tensor:
        """Without a mask each position sees all that is before it, by the kernel's own, faster rule."""
        heads_BHSd = self.qkv_proj(x_BSD).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        turning, v = heads_BHSd.split([self.n_heads + self.n_kv_heads, self.n_kv_heads], dim=1)
        q, k = rotary(turning).split([self.n_heads, self.n_kv_heads], dim=1)
        mixed_BHSd = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask_B1SS,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask_B1SS is None,
            enable_gqa=self.n_heads != self.n_kv_heads,
        )
        out: Tensor = self.o_proj(mixed_BHSd.transpose(1, 2).flatten(2))
        return F.dropout(out, self.dropout, self.training)

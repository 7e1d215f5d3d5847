"""What an entry says as a vector: the mean of its tokens' embeddings, padding left out.

The plain form gathers [M, L, D] and averages it: 268 MB a layer at the benchmark's shape, and as much
again in backward. Here both directions are bags: forward sums L rows of the table for each entry, backward
sums for each token the gradients of the entries that hold it. Neither materialises [M, L, D], and each
output row is summed by one thread in a fixed order, so both are deterministic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


def encode_entries(table_VD: Tensor, tokens_ML: Tensor, pad_id: int) -> Tensor:
    """Entry vectors [M, D]: mean over the tokens that are not padding; an all-padding entry is zero.

    Args:
        table_VD: token embeddings, without gradient at `pad_id` afterwards.
        tokens_ML: int32 token ids.
        pad_id: the id left out.
    """
    entry_MD: Tensor = _MeanOfTokens.apply(table_VD, tokens_ML, pad_id)
    return entry_MD


class _MeanOfTokens(Function):
    @staticmethod
    def forward(ctx: Any, table_VD: Tensor, tokens_ML: Tensor, pad_id: int) -> Tensor:
        kept_M = (tokens_ML != pad_id).sum(1).clamp_(min=1)
        weight_M1 = kept_M.to(table_VD.dtype).reciprocal_().unsqueeze(1)
        silent_VD = table_VD.index_fill(0, torch.tensor([pad_id], device=table_VD.device), 0.0)
        ctx.save_for_backward(tokens_ML, weight_M1)
        ctx.pad_id, ctx.vocab_size = pad_id, table_VD.shape[0]
        return F.embedding_bag(tokens_ML, silent_VD, mode="sum").mul_(weight_M1)

    @staticmethod
    def backward(ctx: Any, grad_MD: Tensor) -> tuple[Tensor, None, None]:
        tokens_ML, weight_M1 = ctx.saved_tensors
        entry_E, start_V = _entries_by_token(tokens_ML, ctx.vocab_size)
        grad_VD = F.embedding_bag(entry_E, grad_MD * weight_M1, start_V, mode="sum")
        grad_VD[ctx.pad_id] = 0.0
        return grad_VD, None, None


def _entries_by_token(tokens_ML: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """The transposed table: entries [E = M * L] by the token they hold, and where each token starts."""
    token_E, place_E = tokens_ML.flatten().sort(stable=True)
    start_V = torch.searchsorted(
        token_E, torch.arange(vocab_size, dtype=token_E.dtype, device=token_E.device)
    )
    return place_E.div_(tokens_ML.shape[1], rounding_mode="floor"), start_V

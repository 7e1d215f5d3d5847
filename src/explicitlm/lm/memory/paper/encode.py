"""What an entry says as a vector: the mean of its tokens' embeddings, padding left out.

The plain form gathers [M, L, D] and averages it: 268 MB a layer at the benchmark's shape, and as much
again in backward. Here entries are bags of tokens, read where they lie.
"""

from __future__ import annotations

from torch import Tensor

from explicitlm.lm.memory.bags import Bags, weighted_sum


def encode_entries(table_VD: Tensor, tokens_ML: Tensor, pad_id: int) -> Tensor:
    """Entry vectors [M, D]: mean over the tokens that are not padding; an entry of padding only is zero.

    Args:
        table_VD: token embeddings; entries send no gradient to `pad_id`.
        tokens_ML: token ids of any integer type that embedding_bag takes.
        pad_id: the id left out.
    """
    kept_ML = (tokens_ML != pad_id).to(table_VD.dtype)
    weight_ML = kept_ML / kept_ML.sum(1, keepdim=True).clamp(min=1)
    return weighted_sum(weight_ML, table_VD, Bags.over(tokens_ML, table_VD.shape[0]))

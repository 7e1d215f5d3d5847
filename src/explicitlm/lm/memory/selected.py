"""Which rows were selected, how often and by which queries, over layers, micro-batches and ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class RowQueries(NamedTuple):
    """rows_M: distinct rows in rising order; count_M: selections; sum_MD: the sum of their queries."""

    rows_M: Tensor
    count_M: Tensor
    sum_MD: Tensor

    @classmethod
    def of(cls, rows_T: Tensor, query_TD: Tensor) -> RowQueries:
        """The queries [T, D] that selected rows [T], summed by row."""
        return cls._summed(rows_T, torch.ones_like(rows_T), query_TD)

    @classmethod
    def _summed(cls, rows_T: Tensor, count_T: Tensor, sum_TD: Tensor) -> RowQueries:
        rows_M, slot_T = torch.unique(rows_T, return_inverse=True)
        return cls(
            rows_M,
            torch.zeros_like(rows_M).index_add_(0, slot_T, count_T),
            sum_TD.new_zeros(len(rows_M), sum_TD.shape[1]).index_add_(0, slot_T, sum_TD),
        )

    def merge(self, other: RowQueries) -> RowQueries:
        """Both sets as one."""
        return self._summed(*(torch.cat(pair) for pair in zip(self, other, strict=True)))

    def across_ranks(self) -> RowQueries:
        """The sets of all ranks as one, in rank order: every rank gets the same. One process: unchanged."""
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return self
        sizes = _gathered(torch.tensor([len(self.rows_M)], device=self.rows_M.device))
        longest = int(torch.cat(sizes).max())
        parts = [_gathered(_padded(part, longest)) for part in self]
        return self._summed(
            *(torch.cat([shared[: int(size)] for shared, size in zip(part, sizes, strict=True)]) for part in parts)
        )

    def most_selected(self, limit: int, frozen_M: Tensor) -> tuple[Tensor, Tensor]:
        """The `limit` most selected rows that are not frozen [M], and the mean query of each [M, D]."""
        place_M = (~frozen_M).nonzero().squeeze(1)
        order_M = self.count_M[place_M].sort(descending=True, stable=True).indices[:limit]
        place_M = place_M[order_M]
        return self.rows_M[place_M], self.sum_MD[place_M] / self.count_M[place_M].unsqueeze(1)


def from_first_rank(x: Tensor) -> Tensor:
    """Rank 0's tensor on all ranks, so that rounding on another kind of machine cannot part the banks."""
    if dist.is_available() and dist.is_initialized():
        dist.broadcast(x, src=0)
    return x


def _padded(x: Tensor, rows: int) -> Tensor:
    return torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])


def _gathered(x: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return parts

"""What the processes of one run tell each other besides gradients: small, rare, and never through the GPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


class Group:
    """All processes of a run; with one process every call is free.

    Messages go over gloo on the CPU, so that asking for a stop after each micro-batch does not wait for the
    device. Every method is collective: all processes must call it, in the same order.
    """

    def __init__(self) -> None:
        joined = dist.is_available() and dist.is_initialized()
        self.size = dist.get_world_size() if joined else 1
        self.rank = dist.get_rank() if joined else 0
        self._gloo = dist.new_group(backend="gloo") if self.size > 1 else None

    def max(self, number: int) -> int:
        """The largest of all processes' numbers."""
        if self._gloo is None:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self._gloo)
        return int(value)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The elementwise sum of all processes' CPU tensors."""
        if self._gloo is not None:
            values = values.clone()
            dist.all_reduce(values, dist.ReduceOp.SUM, group=self._gloo)
        return values

    def gather(self, text: str) -> list[str]:
        """All processes' texts, in rank order."""
        if self._gloo is None:
            return [text]
        texts: list[Any] = [None] * self.size
        dist.all_gather_object(texts, text, group=self._gloo)
        return texts

    def broadcast(self, value: Any) -> Any:
        """The first process's value."""
        if self._gloo is None:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._gloo)
        return values[0]

    def barrier(self) -> None:
        """Waits for all processes."""
        if self._gloo is not None:
            dist.barrier(group=self._gloo)

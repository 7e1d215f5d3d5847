"""Cross entropy of a tied head without ever holding all logits [T, V] or their gradient.

At the paper's shape (24,576 positions, V 6,400) fp32 logits take 630 MB and their gradient as much again.
Rows of the softmax are independent, so a few hundred positions at a time are multiplied, turned into their
gradient in place, and multiplied back: the gradients of both inputs are ready when forward ends.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_POSITIONS_AT_ONCE = 256  # 6.5 MB of fp32 logits at V 6,400: stays in cache on the CPU


def tied_cross_entropy(h_TD: Tensor, table_VD: Tensor, targets_T: Tensor, ignore_id: int) -> Tensor:
    """Mean of -log softmax(h E^T)[target] over the targets that are not `ignore_id`; 0 if none is left.

    Args:
        h_TD: last hidden states.
        table_VD: the embedding table E.
        targets_T: int64 token ids.
        ignore_id: the padding id, which is not a target.
    """
    loss: Tensor = _TiedCrossEntropy.apply(  # type: ignore[no-untyped-call]  # torch ships it without annotations
        h_TD, table_VD, targets_T, ignore_id, torch.is_grad_enabled()
    )
    return loss


class _TiedCrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, h_TD: Tensor, table_VD: Tensor, targets_T: Tensor, ignore_id: int, with_grad: bool) -> Tensor:
        dtype, device = h_TD.dtype, h_TD.device
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        valid_T = targets_T != ignore_id
        weight_T = valid_T / valid_T.sum().clamp(min=1)
        total = torch.zeros((), device=device)
        grad_h_TD, grad_table_VD = torch.empty_like(h_TD), torch.zeros_like(table_VD)
        table = table_VD.to(dtype)
        with torch.autocast(device.type, enabled=False):
            for start in range(0, len(h_TD), _POSITIONS_AT_ONCE):
                part = slice(start, start + _POSITIONS_AT_ONCE)
                h, target, weight = h_TD[part].to(dtype), targets_T[part].unsqueeze(1), weight_T[part].unsqueeze(1)
                logits = (h @ table.T).float()
                right = logits.gather(1, target)
                peak = logits.amax(1, keepdim=True)
                z = logits.sub_(peak).exp_().sum(1, keepdim=True)  # logits holds exp(logits - peak) now
                total += ((z.log() + peak - right) * weight).sum()
                if with_grad:
                    grad_logits = logits.mul_(weight / z).scatter_add_(1, target, -weight).to(dtype)
                    grad_h_TD[part] = grad_logits @ table
                    grad_table_VD += grad_logits.T @ h
        ctx.save_for_backward(grad_h_TD, grad_table_VD)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_h_TD, grad_table_VD = ctx.saved_tensors
        return grad_h_TD * grad, grad_table_VD * grad, None, None, None

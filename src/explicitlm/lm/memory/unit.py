"""Vectors of length 1, or of another one that all of them have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_TINY = 1e-12  # length below which a vector counts as zero (an entry of padding only)


def unit_rows(x_TD: Tensor, length: float = 1.0) -> Tensor:
    """Each row at the given length; a row of zeros stays zero."""
    unit_TD: Tensor = _UnitRows.apply(x_TD, length)  # type: ignore[no-untyped-call]
    return unit_TD


class _UnitRows(Function):
    """The gradient in closed form: four passes over [T, D], where autograd makes ten over F.normalize."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, length: float) -> Tensor:
        scale_T1 = torch.linalg.vector_norm(x_TD, dim=-1, keepdim=True).clamp_(min=_TINY).reciprocal_().mul_(length)
        unit_TD: Tensor = x_TD * scale_T1
        ctx.save_for_backward(unit_TD, scale_T1)
        ctx.length = length
        return unit_TD

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None]:
        unit_TD, scale_T1 = ctx.saved_tensors
        along_T1 = (grad_TD * unit_TD).sum(-1, keepdim=True)
        grad_x_TD: Tensor = grad_TD.addcmul(unit_TD, along_T1, value=-(ctx.length**-2)).mul_(scale_T1)
        return grad_x_TD, None

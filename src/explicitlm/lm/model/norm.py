"""Root-mean-square normalisation (arXiv 1910.07467)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) * weight, in x's own type: under autocast a bf16 input stays bf16.

    torch's fused kernel wants one type for both; it sums in fp32 whatever that type is.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)

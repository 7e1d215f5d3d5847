"""The gated block W_d(SiLU(W_gate z) * W_up z) (SwiGLU, arXiv 2002.05202): fusion and feed-forward alike."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SwiGLU(nn.Module):
    """z [..., d_in] -> [..., d_out] through `hidden` gated units. Dropout acts on the output."""

    def __init__(self, d_in: int, hidden: int, d_out: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.gate_up_proj = nn.Linear(d_in, 2 * hidden, bias=False)
        self.down_proj = nn.Linear(hidden, d_out, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(z).chunk(2, dim=-1)
        return F.dropout(self.down_proj(F.silu(gate) * up), self.dropout, self.training)

"""The gated block W_d(SiLU(W_gate z) * W_up z) (SwiGLU, arXiv 2002.05202): fusion and feed-forward alike."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class GatedBlock(nn.Module):
    """z [..., d_in] -> [..., d_out] through `hidden` gated units. Dropout acts on the output."""

    def __init__(self, d_in: int, hidden: int, d_out: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.project_gate_up = nn.Linear(d_in, 2 * hidden, bias=False)
        self.project_out = nn.Linear(hidden, d_out, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        gate, up = self.project_gate_up(z).chunk(2, dim=-1)
        return F.dropout(self.project_out(F.silu(gate) * up), self.dropout, self.training)

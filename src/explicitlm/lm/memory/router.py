"""What every router is: it names bank rows for queries. The default's addresses are made of the rows' words.

The paper's form has a router of its own in `memory/paper/product_keys.py`; both keep the protocol below.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explicitlm.lm.memory.index import RowIndex
from explicitlm.lm.memory.unit import unit_rows


class Candidates(NamedTuple):
    """Rows that a router proposes, best first where it orders them.

    index_TC: bank rows, int64, distinct within a query.
    score_TC: how much the router wants each of them.
    """

    index_TC: Tensor
    score_TC: Tensor


@runtime_checkable
class Router(Protocol):
    """From queries [T, D] to bank rows."""

    def reset_parameters(self) -> None:
        """Draws the weights anew."""

    def __call__(self, query_TD: Tensor) -> Candidates:
        """The best rows for each query."""


class ContentRouter(nn.Module):
    """Looks a query up among addresses that are made of the rows' own words, so that a new row has one at once.

    The search is exact within the blocks that it opens and has no gradient; `contrast` is what trains W_g, the rows'
    address projection and the temperature.

    Args:
        dim: width D of a query.
        address_dim: d_k of the addresses.
        index: the rows' addresses as of the last refresh.
        candidates: C rows a query in evaluation; training asks for the best one only.
    """

    def __init__(self, dim: int, address_dim: int, index: RowIndex, candidates: int) -> None:
        super().__init__()
        self.index, self.candidates = index, candidates
        self.query_proj = nn.Linear(dim, address_dim, bias=False)
        self.log_sharpness = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Addresses of unit variance before they are normalised; logits start at 10 times a cosine."""
        nn.init.normal_(self.query_proj.weight, std=self.query_proj.in_features**-0.5)
        nn.init.constant_(self.log_sharpness, 2.302585)

    def address(self, query_TD: Tensor) -> Tensor:
        """Unit vectors [T, d_k]: where each query looks."""
        return unit_rows(self.query_proj(query_TD))

    def search(self, address_TK: Tensor) -> Candidates:
        """The rows whose addresses are nearest, without gradient."""
        return Candidates(*self.index.search(address_TK.detach(), 1 if self.training else self.candidates))

    def forward(self, query_TD: Tensor) -> Candidates:
        return self.search(self.address(query_TD))

    def contrast(self, address_TK: Tensor, row_BS: Tensor, key_MK: Tensor, row_M: Tensor, rival_M: Tensor) -> Tensor:
        """InfoNCE (arXiv 1807.03748): each labelled position must find its row among rivals.

        These are the rows labelled in its own sequence and the random ones, the same for all of a step. No position
        sees another sequence's rows, so a step has one gradient however it is split over micro-batches and processes.

        Args:
            address_TK: of all positions.
            row_BS: the row that the position's next token comes from; -1 where none is known.
            key_MK: fresh addresses of the labelled rows and of the random ones, with gradient.
            row_M: the bank row of each, rising.
            rival_M: which of them are random ones.

        Returns:
            Mean cross entropy over the labelled positions. Where there is none it is 0, with a gradient of zeros: every
            process of a distributed run must take part in every gradient.
        """
        labelled_P = (row_BS.flatten() >= 0).nonzero().squeeze(1)
        logits_PM = address_TK[labelled_P].float() @ key_MK.float().T * self.log_sharpness.exp()
        if len(labelled_P) == 0:
            return logits_PM.sum() + 0.0 * (address_TK.sum() + key_MK.sum() + self.log_sharpness)
        sequence_P = labelled_P.div(row_BS.shape[1], rounding_mode="floor")
        own_P = torch.searchsorted(row_M, row_BS.flatten()[labelled_P])
        seen_BM = rival_M.repeat(len(row_BS), 1)
        seen_BM[sequence_P, own_P] = True
        return F.cross_entropy(logits_PM.masked_fill(~seen_BM[sequence_P], -torch.inf), own_P)

"""How a layer reads the row that was found: token by token, or nothing of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from explicitlm.lm.memory.bags import sampled_dot, weighted_sum
from explicitlm.lm.memory.rows import TOKEN_DIM, Page, Tables


class TokenReader(nn.Module):
    """m_t = sum_l A_tl U[tok_l], A the softmax over the row's tokens and one logit of 0 that reads nothing.

    The score of token l is (W_a q)(W_c U[tok_l] + P[l - a]) / sqrt(d_a), where a is the object's first place, plus beta
    where the token before l is the current input: that copies on from the word just written. There is no value matrix:
    what is read is the token's own embedding, which the tied head understands.

    Args:
        dim: width D of the queries.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query_proj = nn.Linear(dim, TOKEN_DIM, bias=False)
        self.copy_bonus = nn.Parameter(torch.empty(()))
        self.skip_scale = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A clear preference for copying on, and a read that half reaches the residual stream at once."""
        nn.init.normal_(self.query_proj.weight, std=self.query_proj.in_features**-0.5)
        nn.init.constant_(self.copy_bonus, 3.0)
        nn.init.constant_(self.skip_scale, 0.5)

    def forward(
        self, query_TD: Tensor, ids_T: Tensor, page: Page, tables: Tables, place_PA: Tensor, pad_id: int
    ) -> tuple[Tensor, Tensor]:
        """What is read [T, D], and the weight of each token [T, L], detached.

        Args:
            ids_T: the current input tokens.
            place_PA: `RowEncoder.place_embedding`.
            pad_id: the token that is never read.
        """
        asked_TA = self.query_proj(query_TD) * TOKEN_DIM**-0.5
        score_TL = sampled_dot(asked_TA, tables.token_VA.to(asked_TA.dtype), page.bags)
        score_TL = score_TL + (asked_TA @ place_PA.to(asked_TA.dtype).T).gather(1, page.place_TL)
        score_TL = score_TL.float() + self.copy_bonus * (page.before_TL == ids_T.unsqueeze(1))
        score_TL = score_TL.masked_fill(page.token_TL == pad_id, -torch.inf)
        weight_TN = torch.cat([score_TL, torch.zeros_like(score_TL[:, :1])], dim=1).softmax(-1)
        weight_TL = weight_TN[:, :-1]
        value_VD = tables.value_VD.to(query_TD.dtype)
        return weighted_sum(weight_TL.to(value_VD.dtype), value_VD, page.bags), weight_TL.detach()

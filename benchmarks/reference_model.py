"""The plain form of the memory, as the public code computes it, to measure against and to check with.

Own code after the paper and its public code: tokens gathered to [B, S, C, L, D] and averaged, the cosine on an expanded
query, diversity from all pairs, the full C x C square of the product-key search, an int64 bank, all logits
held at once, and a bank update that multiplies all L positions of each selected row with the vocabulary.
The mathematics of the loss is the model's own, so equal weights give equal losses (tests/lm/model/
test_reference.py); attention, norms, fusion and optimizer are the same modules. The public code's
per-layer statistics and host syncs are left out, which makes this form faster than the original.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explicitlm.lm.memory import MemoryBank, Selection
from explicitlm.lm.memory.paper.noise import gumbel
from explicitlm.lm.memory.paper.read import MemoryRead, MemoryReader
from explicitlm.lm.model import ExplicitLM, ModelOutput


class ReferenceReader(nn.Module):
    """Takes the place of a `MemoryReader`, with its router's weights."""

    def __init__(self, reader: MemoryReader, entries_NL: Tensor) -> None:
        super().__init__()
        self.router = reader.router
        self.temperature = reader.temperature
        self.entries_NL = entries_NL  # int64, shared by all layers

    def forward(
        self, query_BSD: Tensor, bank: MemoryBank, table_VD: Tensor, noise_BS: Tensor | None = None
    ) -> MemoryRead:
        index_BSC, prior_BSC = self.search(query_BSD)
        tokens_BSCL = self.entries_NL[index_BSC]
        kept = (tokens_BSCL != bank.pad_id).to(table_VD.dtype).unsqueeze(-1)
        entry_BSCD = (F.embedding(tokens_BSCL, table_VD) * kept).sum(3) / kept.sum(3).clamp(min=1)
        query_BSCD = query_BSD.unsqueeze(2).expand_as(entry_BSCD)
        cosine_BSC = F.cosine_similarity(query_BSCD, entry_BSCD, dim=-1)
        logits_BSC = cosine_BSC + prior_BSC
        if noise_BS is not None:
            noise_TC = gumbel(noise_BS.flatten(), logits_BSC.shape[-1])
            logits_BSC = logits_BSC + noise_TC.view_as(logits_BSC)
        p_BSC = (logits_BSC / self.temperature).softmax(-1)
        choice_BS1 = p_BSC.argmax(-1, keepdim=True)
        w_BSC = torch.zeros_like(p_BSC).scatter(2, choice_BS1, 1.0) + p_BSC - p_BSC.detach()
        return MemoryRead(
            (w_BSC.unsqueeze(-1) * entry_BSCD).sum(2),
            (w_BSC * cosine_BSC).sum(-1),
            pairwise_diversity(entry_BSCD),
            Selection(index_BSC, index_BSC.gather(2, choice_BS1).squeeze(2), query_BSD.detach()),
        )

    def search(self, query_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Best C of each half, all C x C sums, the best C of those."""
        router = self.router
        u_first, u_second = router.project(query_BSD).chunk(2, dim=-1)
        first, i_BSC = (u_first @ router.keys_2SH[0].T * router.scale).topk(router.candidates)
        second, j_BSC = (u_second @ router.keys_2SH[1].T * router.scale).topk(router.candidates)
        square = (first.unsqueeze(-1) + second.unsqueeze(-2)).flatten(-2)
        prior_BSC, place = square.topk(router.candidates)
        row = i_BSC.gather(-1, place // router.candidates)
        column = j_BSC.gather(-1, place % router.candidates)
        return row * router.side + column, prior_BSC


def pairwise_diversity(entry_BSCD: Tensor) -> Tensor:
    """Mean off-diagonal cosine from all pairs [B, S, C, C]."""
    unit = F.normalize(entry_BSCD, dim=-1)
    pairs = unit @ unit.transpose(-1, -2)
    size = pairs.shape[-1]
    off_diagonal = 1 - torch.eye(size, device=pairs.device)
    return (pairs * off_diagonal).sum((-1, -2)) / (size * (size - 1))


class ReferenceLM(nn.Module):
    """An `ExplicitLM` whose memory reads and loss are the plain ones; it takes the model over."""

    def __init__(self, model: ExplicitLM) -> None:
        super().__init__()
        if model.bank is None:
            raise ValueError("the dense baseline has no memory to compute in the plain form")
        self.model = model
        self.entries_NL = model.bank.entries_NL.long()
        self.frozen_N = model.bank.frozen(torch.arange(model.bank.rows))
        for layer in model.layers:
            reader = layer.memory
            assert isinstance(reader, MemoryReader)
            layer.memory = ReferenceReader(reader, self.entries_NL)

    def forward(self, ids_BS: Tensor, targets_BS: Tensor) -> tuple[Tensor, ModelOutput]:
        """The total loss from all logits [B, S, V], and the output with its selections."""
        output: ModelOutput = self.model(ids_BS)
        assert output.logits_BSV is not None
        loss_ce = F.cross_entropy(output.logits_BSV.flatten(0, 1), targets_BS.flatten(), ignore_index=self.model.pad_id)
        return loss_ce + output.loss, output

    @torch.no_grad()
    def update_bank(self, output: ModelOutput, decay: float) -> None:
        """All positions of each selected row to the token nearest to decay * E[t] + (1 - decay) * h."""
        table_VD = self.model.embedding.weight
        for selection in output.selections:
            rows_U, slot_T = selection.chosen_BS.flatten().unique(return_inverse=True)
            query_TD = selection.query_BSD.flatten(0, 1)
            sum_UD = query_TD.new_zeros(len(rows_U), query_TD.shape[1]).index_add_(0, slot_T, query_TD)
            mean_UD = sum_UD / torch.bincount(slot_T).unsqueeze(1)
            free_U = ~self.frozen_N[rows_U]
            rows_U, mean_UD = rows_U[free_U], mean_UD[free_U]
            moved_ULD = decay * table_VD[self.entries_NL[rows_U]] + (1 - decay) * mean_UD.unsqueeze(1)
            for part in torch.arange(len(rows_U)).split(64):  # [64, 16, V] scores are 26 MB
                self.entries_NL[rows_U[part]] = (moved_ULD[part] @ table_VD.T).argmax(-1)

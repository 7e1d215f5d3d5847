"""One layer's memory read: route, fetch, encode, match. Each step can be exchanged on its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory.bags import distinct_rows
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.paper.encode import encode_entries
from explicitlm.lm.memory.paper.matching import match_entries
from explicitlm.lm.memory.paper.noise import gumbel
from explicitlm.lm.memory.paper.product_keys import ProductKeyRouter
from explicitlm.lm.memory.router import Candidates
from explicitlm.lm.memory.selection import Selection


class MemoryRead(NamedTuple):
    """read_BSD is what the fusion gets; similarity_BS and diversity_BS are terms of the loss."""

    read_BSD: Tensor
    similarity_BS: Tensor
    diversity_BS: Tensor
    selection: Selection


class MemoryReader(nn.Module):
    """Reads one entry of the bank for every position of a query [B, S, D].

    The bank and the embedding table are the model's, shared by all layers; the router is the layer's own.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.temperature = config.gumbel_temperature
        self.router = ProductKeyRouter(config.dim, config.knowledge_num, config.knowledge_dim, config.num_candidates)

    # compiled it would be traced anew: shapes follow the data (distinct rows), and the time is in fused kernels
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self, query_BSD: Tensor, bank: MemoryBank, table_VD: Tensor, noise_BS: Tensor | None = None
    ) -> MemoryRead:
        """noise_BS: keys of the Gumbel noise (`noise.layer_keys`); None reads without noise."""
        shape_BS = query_BSD.shape[:2]
        query_TD = query_BSD.flatten(0, 1)
        found: Candidates = self.router(query_TD)
        rows_U, bags = distinct_rows(found.index_TC, bank.rows)
        entry_UD = encode_entries(table_VD.to(query_TD.dtype), bank.read(rows_U), bank.pad_id)
        noise_TC = None if noise_BS is None else gumbel(noise_BS.flatten(), found.index_TC.shape[1])
        match = match_entries(query_TD, entry_UD, bags, found.score_TC, self.temperature, noise_TC)
        chosen_T = found.index_TC.gather(1, match.choice_T.unsqueeze(1)).squeeze(1)
        return MemoryRead(
            match.read_TD.unflatten(0, shape_BS),
            match.similarity_T.unflatten(0, shape_BS),
            match.diversity_T.unflatten(0, shape_BS),
            Selection(found.index_TC.unflatten(0, shape_BS), chosen_T.unflatten(0, shape_BS), query_BSD.detach()),
        )

"""A layer: attention, then a feed-forward block or a read of the memory bank, in the default's form or the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.index import RowIndex
from explicitlm.lm.memory.paper.read import MemoryRead, MemoryReader
from explicitlm.lm.memory.read import TokenReader
from explicitlm.lm.memory.router import Candidates, ContentRouter
from explicitlm.lm.memory.rows import TOKEN_DIM, Page, Swaps, Tables, open_rows
from explicitlm.lm.memory.selection import Selection
from explicitlm.lm.model.attention import Attention, RotaryTable
from explicitlm.lm.model.norm import RMSNorm
from explicitlm.lm.model.swiglu import SwiGLU

Choose = Callable[[Candidates], Tensor]  # from T queries' candidates to the row [T] that each reads


class Memory(NamedTuple):
    """What the layers of one forward pass read from, all positions [T] in a row.

    swaps: rows that say something else to some sequences.
    choose: takes the place of the best candidate (evaluation only).
    """

    bank: MemoryBank
    tables: Tables
    place_PA: Tensor
    ids_T: Tensor
    swaps: Swaps | None
    choose: Choose | None


class Found(NamedTuple):
    """What the routing layer found, for the layers above it.

    page: the row each position reads; address_TK: where it looked, with gradient; similarity_T: cosine of that and the
    row's address; selection: for whoever watches.
    """

    page: Page
    address_TK: Tensor
    similarity_T: Tensor
    selection: Selection


class MemoryLayer(nn.Module):
    """h = x + a, q = RMSNorm(h), m = read(q), y = h + SwiGLU([q; m]) + s * m.

    One layer routes: it finds a row for every position, and the layers above it read the same rows with weights of
    their own. The query sees the token itself (h, not a alone), position by position and never what comes after.

    Args:
        config: sizes.
        index: given to the layer that routes.
    """

    def __init__(self, config: TrainConfig, index: RowIndex | None) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.query_norm = RMSNorm(config.dim, config.norm_eps)
        self.router = ContentRouter(config.dim, config.knowledge_dim, index, config.num_candidates) if index else None
        self.reader = TokenReader(config.dim)
        self.fusion = SwiGLU(2 * config.dim, config.dim, config.dim, config.dropout)

    def forward(
        self, x_BSD: Tensor, rotary: RotaryTable, mask_B1SS: Tensor | None, memory: Memory, found: Found | None
    ) -> tuple[Tensor, Found, Tensor]:
        """The new stream, what was found, and the weight of each token of the row read [B * S, L]."""
        h_BSD = x_BSD + self.attention(self.attention_norm(x_BSD), rotary, mask_B1SS)
        q_BSD = self.query_norm(h_BSD)
        read_BSD, found, weight_TL = self._read(q_BSD, memory, found)
        y_BSD = h_BSD + self.fusion(torch.cat([q_BSD, read_BSD.to(q_BSD.dtype)], dim=-1))
        return y_BSD + self.reader.skip_scale * read_BSD, found, weight_TL

    # compiled it would be traced anew: shapes follow the data (distinct rows), and the time is in fused kernels
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _read(self, q_BSD: Tensor, memory: Memory, found: Found | None) -> tuple[Tensor, Found, Tensor]:
        q_TD = q_BSD.flatten(0, 1)
        if self.router is not None:
            found = self._find(self.router, q_BSD, memory)
        assert found is not None
        read_TD, weight_TL = self.reader(
            q_TD, memory.ids_T, found.page, memory.tables, memory.place_PA, memory.bank.pad_id
        )
        return read_TD.view_as(q_BSD), found, weight_TL

    def _find(self, router: ContentRouter, q_BSD: Tensor, memory: Memory) -> Found:
        shape_BS = q_BSD.shape[:2]
        address_TK = router.address(q_BSD.flatten(0, 1))
        candidates = router.search(address_TK)
        row_T = candidates.index_TC[:, 0] if memory.choose is None else memory.choose(candidates)
        selection = Selection(candidates.index_TC.unflatten(0, shape_BS), row_T.view(shape_BS), q_BSD.detach())
        page = open_rows(memory.bank, row_T.view(shape_BS), memory.swaps)
        return Found(page, address_TK, candidates.score_TC[:, 0], selection)


class PaperLayer(nn.Module):
    """The paper's: h = x + a, q = RMSNorm(a), m = read(q), y = h + SwiGLU([q; m]); every layer routes on its own.

    a is the attention's output, position by position: a query never sees what comes after it.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.query_norm = RMSNorm(config.dim, config.norm_eps)
        self.memory = MemoryReader(config)
        self.fusion = SwiGLU(2 * config.dim, config.dim, config.dim, config.dropout)

    def forward(
        self,
        x_BSD: Tensor,
        rotary: RotaryTable,
        mask_B1SS: Tensor | None,
        bank: MemoryBank,
        table_VD: Tensor,
        noise_BS: Tensor | None = None,
    ) -> tuple[Tensor, MemoryRead]:
        a_BSD = self.attention(self.attention_norm(x_BSD), rotary, mask_B1SS)
        q_BSD = self.query_norm(a_BSD)
        found: MemoryRead = self.memory(q_BSD, bank, table_VD, noise_BS)
        z_BSE = torch.cat([q_BSD, found.read_BSD.to(q_BSD.dtype)], dim=-1)
        return x_BSD + a_BSD + self.fusion(z_BSE), found


class DenseLayer(nn.Module):
    """h = x + a, y = h + SwiGLU(RMSNorm(h)): the baseline's layers, and those below the one that routes."""

    def __init__(self, config: TrainConfig, width: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = SwiGLU(config.dim, width, config.dim, config.dropout)

    def forward(self, x_BSD: Tensor, rotary: RotaryTable, mask_B1SS: Tensor | None) -> Tensor:
        h_BSD = x_BSD + self.attention(self.attention_norm(x_BSD), rotary, mask_B1SS)
        y_BSD: Tensor = h_BSD + self.feed_forward(self.feed_forward_norm(h_BSD))
        return y_BSD


def route_layer(config: TrainConfig) -> int:
    """The layer that routes, from 0: 1 of 4. One layer of context below it, the others to read with above it."""
    return max(0, config.n_layers // 2 - 1)


def layer_widths(config: TrainConfig) -> list[int]:
    """Hidden widths of the feed-forward blocks, layer by layer, at which the dense baseline has the memory's size.

    A block of width H has 3 * D * H weights. In the paper's form a layer has D * d_k of its router's projection,
    sqrt(N) * d_k of keys and 5 * D * D of the fusion in its place. In the default form a reading layer has the fusion
    and D * (d_a + 1) of its reader, and the row side and the router stand once; layers below the router are dense in
    both models. Rounding aside the models are equal.
    """
    dim = config.dim
    fusion = 5 * dim**2
    if config.router == "paper":
        total = config.n_layers * (fusion + (dim + math.isqrt(config.knowledge_num)) * config.knowledge_dim)
    else:
        below = route_layer(config)
        reading = config.n_layers - below
        rows = 2 * dim * config.knowledge_dim + TOKEN_DIM * (dim + 2 * config.knowledge_length + 1) + 1
        total = below * 3 * dim * fusion_width(config) + reading * (fusion + dim * (TOKEN_DIM + 1) + 1) + rows
    units = max(config.n_layers, round(total / (3 * dim)))
    return [units // config.n_layers + (number < units % config.n_layers) for number in range(config.n_layers)]


def fusion_width(config: TrainConfig) -> int:
    """Width of the feed-forward block below the router: as many weights as a fusion."""
    return max(1, round(5 * config.dim / 3))

"""ExplicitLM (arXiv 2511.01581): a decoder whose feed-forward blocks are reads of an explicit memory bank.

Embedding -> n_layers x (attention, memory read, fusion) -> RMSNorm -> head tied to the embedding. `router: content`
finds one row for each position in one layer and reads it, token by token, in that layer and those above;
`router: paper` is the paper's plain form. `disable_memory` is the dense baseline: feed-forward blocks of equal size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.index import Addresses, RowIndex
from explicitlm.lm.memory.paper.noise import layer_keys
from explicitlm.lm.memory.paper.read import MemoryRead
from explicitlm.lm.memory.router import ContentRouter
from explicitlm.lm.memory.rows import RowEncoder, Swaps, addresses
from explicitlm.lm.memory.selection import Selection
from explicitlm.lm.model.attention import RotaryTable, within_documents
from explicitlm.lm.model.initialise import initialise
from explicitlm.lm.model.layer import (
    Choose,
    DenseLayer,
    Memory,
    MemoryLayer,
    PaperLayer,
    fusion_width,
    layer_widths,
    route_layer,
)
from explicitlm.lm.model.loss import tied_cross_entropy
from explicitlm.lm.model.norm import RMSNorm
from explicitlm.lm.model.output import ModelOutput


class _Terms(NamedTuple):
    """What the memory adds to a forward pass."""

    router: Tensor
    similarity: Tensor
    diversity: Tensor
    selections: tuple[Selection, ...]
    weights: tuple[Tensor, ...] = ()


class ExplicitLM(nn.Module):
    """The whole model. Equal weights for an equal `torch.manual_seed`.

    Args:
        config: every field of its sections Transformer and Memory, and dropout, gradient_checkpointing and
            compile.
        pad_id: the padding token: no target, no part of a row, no weight in the memory's losses.
        start_id: the token that begins a document; needed where attention stays within documents.
    """

    def __init__(self, config: TrainConfig, pad_id: int, start_id: int | None = None) -> None:
        super().__init__()
        self.config, self.pad_id, self.start_id = config, pad_id, start_id
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.rotary = RotaryTable(config.max_seq_len, config.dim // config.n_heads, config.rope_theta)
        self.rows: RowEncoder | None = None
        self.layers = nn.ModuleList(self._layers(config))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.bank: MemoryBank | None = None
        initialise(self, config.n_layers)
        if not config.disable_memory:  # after the weights: its size does not change what they start from
            self.bank = MemoryBank(
                config.knowledge_num,
                config.knowledge_length,
                config.vocab_size,
                pad_id,
                config.freeze_ratio,
            )
        if config.compile:
            for block in self.layers:
                block.compile()

    def _layers(self, config: TrainConfig) -> Iterator[nn.Module]:
        if config.disable_memory:
            yield from (DenseLayer(config, width) for width in layer_widths(config))
        elif config.router == "paper":
            yield from (PaperLayer(config) for _ in range(config.n_layers))
        else:
            self.rows = RowEncoder(config.dim, config.knowledge_dim, config.knowledge_length)
            index = RowIndex(config.knowledge_num, config.knowledge_dim)
            below = route_layer(config)
            yield from (DenseLayer(config, fusion_width(config)) for _ in range(below))
            yield from (MemoryLayer(config, None if above else index) for above in range(config.n_layers - below))

    @property
    def router(self) -> ContentRouter | None:
        """The default form's router."""
        routers = [layer.router for layer in self.layers if isinstance(layer, MemoryLayer) and layer.router]
        return routers[0] if routers else None

    @torch.no_grad()
    def build_index(self) -> None:
        """Gives the router all rows' present addresses. To be called when rows or weights have changed."""
        if self.router is not None:
            assert self.rows is not None
            self.router.index.build(self._addresses(self.rows(self.embedding.weight).value_VD))

    @torch.no_grad()
    def _addresses(self, value_VD: Tensor) -> Addresses:
        assert self.rows is not None and self.bank is not None
        return partial(addresses, self.rows.keys(value_VD), self.bank)

    @contextmanager
    def fresh_index(self) -> Iterator[None]:
        """Within the block the router searches as it will in the loaded checkpoint; afterwards as before."""
        if self.router is None:
            yield
            return
        index = self.router.index
        kept = {name: tensor.clone() for name, tensor in index.state().items()}
        self.build_index()
        try:
            yield
        finally:
            index.load_state(kept)

    def forward(
        self,
        ids_BS: Tensor,
        targets_BS: Tensor | None = None,
        noise_B: Tensor | None = None,
        rows_BS: Tensor | None = None,
        rival_M: Tensor | None = None,
        swaps: tuple[Tensor, Tensor] | None = None,
        choose: Choose | None = None,
        upkeep: bool = False,
    ) -> ModelOutput:
        """Logits of every next token, or the losses against `targets_BS`.

        Args:
            ids_BS: int64 token ids, S at most `max_seq_len`, padding at the end of a sequence.
            targets_BS: the ids one position later; `pad_id` is not a target.
            noise_B: a key for each sequence's Gumbel noise in training (int64; equal keys, equal noise);
                without it the keys come from torch's global generator. The paper's form only.
            rows_BS: the bank row that each target is the object of, -1 where none: trains the default form's router.
            rival_M: rows that the router must tell from those of `rows_BS` in any case.
            swaps: what rows say to some sequences instead of what the bank says (`Swaps`). The default form only.
            choose: takes the place of reading the best candidate (default form, evaluation).
            upkeep: one step's share of what keeps the router's index near the present addresses comes first, with the
                tables that this pass makes anyway: true in the first micro-batch of a step. The default form only.
        """
        terms: _Terms
        if self.bank is None:
            x_BSD = self.embedding(ids_BS)
            mask_B1SS = self._mask(ids_BS)
            for layer in self.layers:
                x_BSD = self._run(layer, x_BSD, self.rotary, mask_B1SS)
            zero = x_BSD.new_zeros(())
            terms = _Terms(zero, zero, zero, ())
        elif self.router is None:
            x_BSD, terms = self._paper(ids_BS, noise_B)
        else:
            x_BSD, terms = self._content(ids_BS, rows_BS, rival_M, Swaps(*swaps) if swaps else None, choose, upkeep)
        h_BSD = self.norm(x_BSD)
        if targets_BS is None:
            logits_BSV = F.linear(h_BSD, self.embedding.weight)
            loss_ce = h_BSD.new_zeros(())
        else:
            logits_BSV = None
            loss_ce = tied_cross_entropy(h_BSD.flatten(0, 1), self.embedding.weight, targets_BS.flatten(), self.pad_id)
        loss_tokens = loss_ce
        if self.config.router == "paper":
            loss_tokens = loss_ce - self.config.similarity_coef * terms.similarity
            loss_tokens = loss_tokens + self.config.diversity_coef * terms.diversity
        return ModelOutput(
            logits_BSV=logits_BSV,
            loss_tokens=loss_tokens,
            loss_routing=self.config.router_coef * terms.router,
            loss_ce=loss_ce,
            loss_router=terms.router,
            loss_similarity=-terms.similarity,
            loss_diversity=terms.diversity,
            avg_selected_similarity=terms.similarity.detach(),
            selections=terms.selections,
            weights=terms.weights,
        )

    def _content(
        self,
        ids_BS: Tensor,
        rows_BS: Tensor | None,
        rival_M: Tensor | None,
        swaps: Swaps | None,
        choose: Choose | None,
        upkeep: bool,
    ) -> tuple[Tensor, _Terms]:
        """The default form: the stream after the last layer, and the router's loss."""
        router, bank = self.router, self.bank
        assert router is not None and bank is not None and self.rows is not None
        if not router.index.built:
            self.build_index()
        tables = self.rows(self.embedding.weight)
        if upkeep:
            router.index.maintain(self._addresses(tables.value_VD))
        memory = Memory(bank, tables, self.rows.place_embedding, ids_BS.flatten(), swaps, choose)
        x_BSD, found, weights, mask_B1SS = self.embedding(ids_BS), None, [], self._mask(ids_BS)
        for layer in self.layers:
            if isinstance(layer, DenseLayer):
                x_BSD = self._run(layer, x_BSD, self.rotary, mask_B1SS)
            else:
                x_BSD, found, weight_TL = self._run(layer, x_BSD, self.rotary, mask_B1SS, memory, found)
                weights.append(weight_TL.view(*ids_BS.shape, -1))
        assert found is not None
        loss = x_BSD.new_zeros(())
        if rows_BS is not None:
            random_R = rows_BS.new_empty(0) if rival_M is None else rival_M
            row_M = torch.unique(torch.cat([rows_BS[rows_BS >= 0], random_R]))
            key_MK = self.rows.addresses(tables.value_VD, bank, row_M)
            loss = router.contrast(found.address_TK, rows_BS, key_MK, row_M, torch.isin(row_M, random_R))
        weight_T = (ids_BS != self.pad_id).flatten().float()
        similarity = (found.similarity_T * weight_T).sum() / weight_T.sum().clamp(min=1)
        return x_BSD, _Terms(loss, similarity, x_BSD.new_zeros(()), (found.selection,), tuple(weights))

    def _paper(self, ids_BS: Tensor, noise_B: Tensor | None) -> tuple[Tensor, _Terms]:
        """The paper's form: the stream after the last layer, and the memory's losses."""
        if self.training and noise_B is None:
            noise_B = torch.randint(2**62, ids_BS.shape[:1], device=ids_BS.device)
        x_BSD, reads, mask_B1SS = self.embedding(ids_BS), [], self._mask(ids_BS)
        for number, layer in enumerate(self.layers):
            noise_BS = layer_keys(noise_B, number, ids_BS.shape[1]) if self.training and noise_B is not None else None
            x_BSD, read = self._run(layer, x_BSD, self.rotary, mask_B1SS, self.bank, self.embedding.weight, noise_BS)
            reads.append(read)
        similarity, diversity = self._memory_terms(reads, ids_BS)
        return x_BSD, _Terms(x_BSD.new_zeros(()), similarity, diversity, tuple(read.selection for read in reads))

    def _mask(self, ids_BS: Tensor) -> Tensor | None:
        """What attention may look at, once for all layers; None where that is all that came before."""
        if self.config.attend_across_documents:
            return None
        assert self.start_id is not None, "attention within documents needs their start mark"
        return within_documents(ids_BS, self.start_id)

    def _run(self, layer: nn.Module, *inputs: Any) -> Any:
        """One layer; with gradient checkpointing backward computes it again, with the same noise."""
        if self.config.gradient_checkpointing and self.training:
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)

    def _memory_terms(self, reads: Sequence[MemoryRead], ids_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Mean similarity and diversity over layers and the positions that are not padding."""
        weight_BS = (ids_BS != self.pad_id).float()
        weight_BS = weight_BS / (weight_BS.sum().clamp(min=1) * len(reads))
        similarity = torch.stack([read.similarity_BS for read in reads]).sum(0)
        diversity = torch.stack([read.diversity_BS for read in reads]).sum(0)
        return (similarity * weight_BS).sum(), (diversity * weight_BS).sum()


def count_parameters(config: TrainConfig) -> int:
    """Trainable parameters of the model that `config` describes; the bank is none of them. Builds nothing."""
    with torch.device("meta"):
        return sum(p.numel() for p in ExplicitLM(config, pad_id=0).parameters())

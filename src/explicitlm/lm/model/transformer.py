"""ExplicitLM (arXiv 2511.01581): a decoder whose feed-forward blocks are reads of an explicit memory bank.

Embedding -> n_layers x (attention, memory read, fusion) -> RMSNorm -> head tied to the embedding. With
`disable_memory` it is the dense baseline: the same layers with a feed-forward block of equal size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.noise import layer_keys
from explicitlm.lm.memory.read import MemoryRead
from explicitlm.lm.model.attention import RotaryTable
from explicitlm.lm.model.initialise import initialise
from explicitlm.lm.model.layer import DenseLayer, MemoryLayer
from explicitlm.lm.model.loss import tied_cross_entropy
from explicitlm.lm.model.norm import RMSNorm
from explicitlm.lm.model.output import ModelOutput


class ExplicitLM(nn.Module):
    """The whole model. Equal weights for an equal `torch.manual_seed`.

    Args:
        config: every field of its sections Transformer and Memory, and dropout, gradient_checkpointing and
            compile.
        pad_id: the padding token: no target, no part of an entry, no weight in the memory's losses.
    """

    def __init__(self, config: TrainConfig, pad_id: int) -> None:
        super().__init__()
        self.config, self.pad_id = config, pad_id
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.rotary = RotaryTable(config.max_seq_len, config.dim // config.n_heads, config.rope_theta)
        layer = DenseLayer if config.disable_memory else MemoryLayer
        self.layers = nn.ModuleList(layer(config) for _ in range(config.n_layers))
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

    def forward(self, ids_BS: Tensor, targets_BS: Tensor | None = None, noise_B: Tensor | None = None) -> ModelOutput:
        """Logits of every next token, or the losses against `targets_BS`.

        Args:
            ids_BS: int64 token ids, S at most `max_seq_len`, padding at the end of a sequence.
            targets_BS: the ids one position later; `pad_id` is not a target.
            noise_B: a key for each sequence's Gumbel noise in training (int64; equal keys, equal noise);
                without it the keys come from torch's global generator.
        """
        if self.training and noise_B is None:
            noise_B = torch.randint(2**62, ids_BS.shape[:1], device=ids_BS.device)
        x_BSD = self.embedding(ids_BS)
        reads: list[MemoryRead] = []
        for number, layer in enumerate(self.layers):
            if self.bank is None:
                x_BSD = self._run(layer, x_BSD, self.rotary)
            else:
                noise_BS = (
                    layer_keys(noise_B, number, ids_BS.shape[1]) if self.training and noise_B is not None else None
                )
                x_BSD, read = self._run(layer, x_BSD, self.rotary, self.bank, self.embedding.weight, noise_BS)
                reads.append(read)
        h_BSD = self.norm(x_BSD)
        similarity, diversity = self._memory_terms(reads, ids_BS)
        if targets_BS is None:
            logits_BSV = F.linear(h_BSD, self.embedding.weight)
            loss_ce = h_BSD.new_zeros(())
        else:
            logits_BSV = None
            loss_ce = tied_cross_entropy(h_BSD.flatten(0, 1), self.embedding.weight, targets_BS.flatten(), self.pad_id)
        loss = loss_ce + self.config.similarity_coef * -similarity + self.config.diversity_coef * diversity
        return ModelOutput(
            logits_BSV=logits_BSV,
            loss=loss,
            loss_ce=loss_ce,
            loss_similarity=-similarity,
            loss_diversity=diversity,
            avg_selected_similarity=similarity.detach(),
            selections=tuple(read.selection for read in reads),
        )

    def _run(self, layer: nn.Module, *inputs: Any) -> Any:
        """One layer; with gradient checkpointing backward computes it again, with the same noise."""
        if self.config.gradient_checkpointing and self.training:
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)

    def _memory_terms(self, reads: Sequence[MemoryRead], ids_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Mean similarity and diversity over layers and the positions that are not padding."""
        if not reads:
            zero = torch.zeros((), device=ids_BS.device)
            return zero, zero
        weight_BS = (ids_BS != self.pad_id).float()
        weight_BS = weight_BS / (weight_BS.sum().clamp(min=1) * len(reads))
        similarity = torch.stack([read.similarity_BS for read in reads]).sum(0)
        diversity = torch.stack([read.diversity_BS for read in reads]).sum(0)
        return (similarity * weight_BS).sum(), (diversity * weight_BS).sum()


def count_parameters(config: TrainConfig) -> int:
    """Trainable parameters of the model that `config` describes; the bank is none of them. Builds nothing."""
    with torch.device("meta"):
        return sum(p.numel() for p in ExplicitLM(config, pad_id=0).parameters())

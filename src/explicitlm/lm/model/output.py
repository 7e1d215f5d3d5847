"""What one forward pass hands on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from explicitlm.lm.memory.selection import Selection


@dataclass(frozen=True)
class ModelOutput:
    """Losses are 0-dim tensors on the model's device: reading them is the caller's host sync, not ours.

    logits_BSV: next-token logits; None when targets were given (the loss needs no [B, S, V] tensor).
    loss_tokens: a mean over positions: loss_ce, in the paper's form loss_ce + similarity_coef * loss_similarity
        + diversity_coef * loss_diversity; terms that a form does not have are 0.
    loss_routing: router_coef * loss_router, a mean over labelled positions.
    loss_ce: mean cross entropy over the targets that are not padding.
    loss_router: contrastive loss of the router over labelled positions.
    loss_similarity: mean over layers and positions of -(cosine of the query and what it read).
    loss_diversity: mean over layers and positions of the mean cosine between two candidates.
    avg_selected_similarity: -loss_similarity, without gradient.
    selections: one a layer that routes, detached; empty in the dense baseline.
    weights: the weight of each token of the row read [B, S, L], one a layer that reads (default form only).
    """

    logits_BSV: Tensor | None
    loss_tokens: Tensor
    loss_routing: Tensor
    loss_ce: Tensor
    loss_router: Tensor
    loss_similarity: Tensor
    loss_diversity: Tensor
    avg_selected_similarity: Tensor
    selections: tuple[Selection, ...]
    weights: tuple[Tensor, ...] = ()

    @property
    def loss(self) -> Tensor:
        """What one batch alone is trained with."""
        return self.loss_tokens + self.loss_routing

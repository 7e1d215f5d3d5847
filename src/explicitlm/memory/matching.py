"""Which candidate to read: cosine against the query, one row chosen by a straight-through Gumbel softmax."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_TINY = 1e-12  # squared length of a vector that counts as zero (an entry of padding only)


class Match(NamedTuple):
    """What the matching read, for each of T queries.

    read_TD: m = sum_c w_c e_c, the chosen entry's vector.
    similarity_T: sum_c w_c s_c, the cosine between the query and the chosen entry.
    diversity_T: mean cosine between two different candidates.
    choice_T: the chosen candidate's place among C.
    """

    read_TD: Tensor
    similarity_T: Tensor
    diversity_T: Tensor
    choice_T: Tensor


def match_entries(
    query_TD: Tensor, entry_TCD: Tensor, log_prior_TC: Tensor, temperature: float, sample: bool
) -> Match:
    """Fine matching (facts/explicitlm.md, step 5), the coarse log-probability added to the cosine.

    p = softmax((s + log_prior + g) / temperature); w is the one-hot of its largest entry, with p's gradient.

    Args:
        query_TD: memory queries.
        entry_TCD: candidate vectors.
        log_prior_TC: the router's scores; their gradient is what trains it.
        temperature: of the softmax.
        sample: draw Gumbel noise g from torch's global generator (training); otherwise g = 0.
    """
    candidates = entry_TCD.shape[1]
    entry_inverse_TC = entry_TCD.square().sum(-1).clamp(min=_TINY).rsqrt()
    query_inverse_T1 = query_TD.square().sum(-1, keepdim=True).clamp(min=_TINY).rsqrt()
    cosine_TC = torch.einsum("tcd,td->tc", entry_TCD, query_TD) * entry_inverse_TC * query_inverse_T1
    logits_TC = cosine_TC + log_prior_TC
    if sample:
        logits_TC = logits_TC + gumbel_like(logits_TC)
    p_TC = (logits_TC / temperature).softmax(-1)
    choice_T = p_TC.argmax(-1)
    hard_TC = torch.zeros_like(p_TC).scatter(1, choice_T.unsqueeze(1), 1.0)
    w_TC = hard_TC + p_TC - p_TC.detach()
    read_TD = torch.einsum("tc,tcd->td", w_TC, entry_TCD)
    # |sum of unit vectors|^2 holds each pair twice and each vector once with itself
    unit_sum_TD = torch.einsum("tc,tcd->td", entry_inverse_TC, entry_TCD)
    pairs_T = unit_sum_TD.square().sum(-1) - candidates
    return Match(
        read_TD, (w_TC * cosine_TC).sum(-1), pairs_T / max(candidates * (candidates - 1), 1), choice_T
    )


def gumbel_like(x: Tensor) -> Tensor:
    """Standard Gumbel noise: -log of a standard exponential draw."""
    return torch.empty_like(x).exponential_().clamp_(min=1e-20).log_().neg_()

"""Which candidate to read: cosine against the query, one row chosen by a straight-through Gumbel softmax."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from explicitlm.lm.memory.bags import Bags, chosen_row, sampled_dot, weighted_sum
from explicitlm.lm.memory.unit import unit_rows


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
    query_TD: Tensor, entry_UD: Tensor, bags: Bags, log_prior_TC: Tensor, temperature: float, noise_TC: Tensor | None
) -> Match:
    """Fine matching: one of the C retrieved entries by cosine similarity, plus the router's coarse log-probability.

    p = softmax((s + log_prior + g) / temperature); w is the one-hot of its largest entry, with p's gradient.

    Args:
        query_TD: memory queries.
        entry_UD: vectors of the entries retrieved by any query; same type as the queries.
        bags: the C entries of each query.
        log_prior_TC: the router's scores; their gradient is what trains it.
        temperature: of the softmax.
        noise_TC: Gumbel noise g (training, see `noise`); None for g = 0.
    """
    unit_UD = unit_rows(entry_UD)
    cosine_TC = sampled_dot(unit_rows(query_TD), unit_UD, bags).float()
    logits_TC = cosine_TC + log_prior_TC.float()
    if noise_TC is not None:
        logits_TC = logits_TC + noise_TC
    p_TC = (logits_TC / temperature).softmax(-1)
    choice_T1 = p_TC.argmax(-1, keepdim=True)
    w_TC = torch.zeros_like(p_TC).scatter_(1, choice_T1, 1.0) + (p_TC - p_TC.detach())
    return Match(
        read_TD=chosen_row(w_TC, entry_UD, bags, choice_T1),
        similarity_T=(w_TC * cosine_TC).sum(-1),
        diversity_T=mean_pair_cosine(unit_UD, bags),
        choice_T=choice_T1.squeeze(1),
    )


def mean_pair_cosine(unit_UD: Tensor, bags: Bags) -> Tensor:
    """Mean cosine [T] of two different entries of a bag, from unit vectors (or zeros).

    |sum of the bag|^2 holds every pair twice and every vector once with itself: no [T, C, C] is needed.
    """
    index_TC = bags.index_TC
    candidates = index_TC.shape[1]
    total_TD = weighted_sum(torch.ones_like(index_TC, dtype=unit_UD.dtype), unit_UD, bags).float()
    self_U = torch.linalg.vector_norm(unit_UD.detach().float(), dim=-1).round()  # 0 for an entry of padding only
    pairs_T = total_TD.square().sum(-1) - self_U[index_TC].sum(-1)
    mean_T: Tensor = pairs_T / max(candidates * (candidates - 1), 1)
    return mean_T

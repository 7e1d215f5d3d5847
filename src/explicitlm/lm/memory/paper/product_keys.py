"""Where to look: exact product-key search (Lample et al., arXiv 1907.05242) over N = side * side rows.

A row's key is the pair (K1_i, K2_j), its score the sum of two half scores, so the best C of N rows are
among the best C of each half: 2 * sqrt(N) products instead of N. Of the C * C pairs of ranks (a, b),
counted from 1, only those with a * b <= C can be among the best C, because a * b - 1 pairs are at least as
good: 50 of 256 for C = 16.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from explicitlm.lm.memory.bags import Bags, sampled_dot
from explicitlm.lm.memory.router import Candidates

_GROUP = 8  # values of which `largest` first looks at the maximum
_SCORES_AT_ONCE = 1 << 18  # of one half: 1 MiB in fp32 stays in cache where all [2, T, S] of them are 8 MiB and more


class ProductKeyRouter(nn.Module):
    """Free-parameter product keys: query [T, D] -> the C best rows of N.

    The scores are log-probabilities of the rows up to a constant a query, which the matching's softmax cancels, so it
    is never computed. They are what trains the router.

    Args:
        dim: width D of a query.
        rows: bank entries N, a perfect square.
        key_dim: d_k, split in two halves.
        candidates: C, at most sqrt(N).
    """

    pairs_2P: Tensor

    def __init__(self, dim: int, rows: int, key_dim: int, candidates: int) -> None:
        super().__init__()
        self.side = math.isqrt(rows)
        self.candidates = candidates
        self.scale = key_dim**-0.5  # a row's score has unit variance for queries and keys that have
        self.project = nn.Linear(dim, key_dim, bias=False)
        self.keys_2SH = nn.Parameter(torch.empty(2, self.side, key_dim // 2))
        self.register_buffer("pairs_2P", rank_pairs(candidates), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scores of unit variance for a normalised query: wide enough that different queries find different rows."""
        nn.init.normal_(self.project.weight, std=self.project.in_features**-0.5)
        nn.init.normal_(self.keys_2SH, std=1.0)

    def forward(self, query_TD: Tensor) -> Candidates:
        u_2TH = self.project(query_TD).unflatten(-1, (2, -1)).transpose(0, 1) * self.scale
        keys_2SH = self.keys_2SH.to(u_2TH.dtype)
        with torch.no_grad():
            found = [
                best_pairs(part_2QH @ keys_2SH.transpose(1, 2), self.pairs_2P, self.candidates)
                for part_2QH in u_2TH.split(queries_at_once(self.side, u_2TH.device), dim=1)
            ]
            score_2TC, place_2TC = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        # differentiable again for the chosen keys alone: no gradient ever takes the shape [2, T, S]
        half_2 = torch.tensor([0, self.side], device=place_2TC.device).view(2, 1, 1)
        bags = Bags.over((place_2TC + half_2).flatten(0, 1), 2 * self.side)
        score_2TC = sampled_dot(
            u_2TH.flatten(0, 1), keys_2SH.flatten(0, 1), bags, known_TC=score_2TC.flatten(0, 1)
        ).view_as(place_2TC)
        return Candidates(place_2TC[0] * self.side + place_2TC[1], score_2TC.sum(0))


def best_pairs(score_2TS: Tensor, pairs_2P: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
    """The C pairs (i, j) with the largest score[0, t, i] + score[1, t, j], exactly.

    Returns both halves' scores [2, T, C] of the pairs and their paths [2, T, C].
    """
    best_2TC, place_2TC = largest(score_2TS, candidates)
    first_P, second_P = pairs_2P
    sum_TP = best_2TC[0].index_select(1, first_P) + best_2TC[1].index_select(1, second_P)
    pair_TC = sum_TP.topk(candidates, dim=-1).indices
    rank_2TC = pairs_2P.index_select(1, pair_TC.flatten()).view(2, *pair_TC.shape)
    return best_2TC.gather(2, rank_2TC), place_2TC.gather(2, rank_2TC)


def largest(score_TS: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values of each row and their paths, exactly as topk, in falling order.

    The best C values lie in the C groups with the largest maxima. With groups of 8, topk sorts S/8 + 8 * C
    numbers instead of S: 5.1 ms instead of 6.0 for 2,048 rows of 1,024 on 2 cores.
    """
    size = score_TS.shape[-1]
    groups = size // _GROUP
    if size % _GROUP or groups < 2 * count:
        best = score_TS.topk(count, dim=-1)
        return best.values, best.indices
    # group n is the paths n, n + groups, n + 2 * groups, ...: maxima over whole vectors are fast
    group_TC = score_TS.unflatten(-1, (_GROUP, groups)).amax(-2).topk(count, dim=-1, sorted=False).indices
    step_G1 = torch.arange(0, size, groups, device=score_TS.device).unsqueeze(1)
    place_TM = (group_TC.unsqueeze(-2) + step_G1).flatten(-2)
    best_TC, among_TC = score_TS.gather(-1, place_TM).topk(count, dim=-1)
    return best_TC, place_TM.gather(-1, among_TC)


def queries_at_once(side: int, device: torch.device) -> int:
    """Queries whose scores are made and searched together. A GPU takes all: it wants few, large kernels."""
    return 1 << 62 if device.type == "cuda" else max(1, _SCORES_AT_ONCE // side)


def rank_pairs(candidates: int) -> Tensor:
    """Pairs of ranks [2, P] (from 0) whose sum can be among the best C: those with (a+1)(b+1) <= C."""
    ranks = range(candidates)
    pairs = [(a, b) for a in ranks for b in ranks if (a + 1) * (b + 1) <= candidates]
    return torch.tensor(pairs, dtype=torch.int64).T.contiguous()

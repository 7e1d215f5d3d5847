"""Where rows are found: a balanced tree over their addresses, searched with a beam.

Up to 65,536 rows the tree is sqrt(N) blocks of exactly sqrt(N) rows; above, blocks of blocks of rows. A search scores
all nodes of the first level, opens the best `BEAM`, scores what they hold, and so on down to rows: 64 + 4 * 64 products
for 4,096 rows, 256 + 4 * 64 + 4 * 64 for 1,048,576. Blocks are clusters of equal size (k-means whose clusters take only
as many as they may), so every level is one dense array and no block is ever long.

The addresses are those of the last refresh: row vectors move slowly, and only the search sees old ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explicitlm.lm.memory.bags import dots
from explicitlm.lm.memory.selected import from_first_rank

BEAM = 4  # nodes that stay open on each level; 8 finds 1 % more rows at twice the time
REFRESH_STEPS = 20  # optimizer steps between two refreshes of the addresses
_FIRST_ROUNDS, _ROUNDS = 6, 2  # of k-means: from nothing, and from the clusters of the last refresh
_TWO_LEVELS = 1 << 16  # rows up to which two levels suffice
_REGROUP_EVERY = 10  # refreshes between two regroupings of a larger tree: clustering a million rows takes seconds
_ROWS_AT_ONCE = 1 << 16  # whose scores against a level's nodes are held at a time


class RowIndex(nn.Module):
    """Addresses of all rows in the order of the tree's leaves.

    Nothing in here is trained or part of a checkpoint: it is made anew from the rows (`refresh`). A resume state holds
    it (`state`), because a running training searches among addresses of an earlier step.

    Args:
        rows: N.
        address_dim: d_k.
    """

    order_N: Tensor
    keys_NK: Tensor

    def __init__(self, rows: int, address_dim: int) -> None:
        super().__init__()
        self.widths = branching(rows)
        self.refreshes = 0
        self.register_buffer("order_N", torch.arange(rows), persistent=False)
        self.register_buffer("keys_NK", torch.zeros(rows, address_dim), persistent=False)

    @torch.no_grad()
    def refresh(self, addresses: Callable[[Tensor], Tensor]) -> None:
        """Takes the rows' present addresses, and groups them anew where it is time.

        Args:
            addresses: gives unit vectors [M, d_k] for row numbers [M].
        """
        rows = len(self.order_N)
        every_N = torch.arange(rows, device=self.order_N.device)
        keys_NK = torch.cat([addresses(part_M).float() for part_M in every_N.split(_ROWS_AT_ONCE)])
        if rows <= _TWO_LEVELS or self.refreshes % _REGROUP_EVERY == 0:
            self.order_N.copy_(from_first_rank(self._grouped(keys_NK)))
        self.keys_NK.copy_(keys_NK[self.order_N])
        self.refreshes += 1

    def centres(self, level: int) -> Tensor:
        """Unit vectors [nodes, d_k] of an inner level: the mean of what each node holds."""
        nodes = math.prod(self.widths[: level + 1])
        return F.normalize(self.keys_NK.view(nodes, -1, self.keys_NK.shape[1]).mean(1), dim=-1)

    def _grouped(self, keys_NK: Tensor) -> Tensor:
        """The leaves' order [N]: level by level, each group is split into clusters of equal size."""
        order_GM = torch.arange(len(keys_NK), device=keys_NK.device).unsqueeze(0)
        for level, width in enumerate(self.widths[:-1]):
            start_GWK = self.centres(level).view(len(order_GM), width, -1) if self.refreshes else None
            parts = [
                members_M[clusters(keys_NK[members_M], width, None if start_GWK is None else start_GWK[group])]
                for group, members_M in enumerate(order_GM)
            ]
            order_GM = torch.stack(parts).view(len(parts) * width, -1)
        return order_GM.flatten()

    @torch.no_grad()
    def search(self, query_TK: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The best `count` rows [T, C] for unit queries, and their cosines, in falling order."""
        query_TK = query_TK.float()
        score_TM = query_TK @ self.centres(0).T
        place_TM: Tensor | None = None  # the nodes of the scores; None: all of the first level
        for level, width in enumerate(self.widths[1:], start=1):
            open_TP = score_TM.topk(min(BEAM, score_TM.shape[1]), dim=1).indices
            if place_TM is not None:
                open_TP = place_TM.gather(1, open_TP)
            child_W = torch.arange(width, device=open_TP.device)
            place_TM = (open_TP.unsqueeze(2) * width + child_W).flatten(1)
            last = level == len(self.widths) - 1
            score_TM = dots(query_TK, self.keys_NK if last else self.centres(level), place_TM)
        assert place_TM is not None
        best = score_TM.topk(min(count, score_TM.shape[1]), dim=1)
        return self.order_N[place_TM.gather(1, best.indices)], best.values

    def state(self) -> dict[str, Tensor]:
        """What a resumed run searches with."""
        return {
            "index.order": self.order_N,
            "index.keys": self.keys_NK,
            "index.refreshes": torch.tensor(self.refreshes),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continues with what `state` gave."""
        self.order_N.copy_(state["index.order"])
        self.keys_NK.copy_(state["index.keys"])
        self.refreshes = int(state["index.refreshes"])


def branching(rows: int) -> tuple[int, ...]:
    """Children of a node on each level: sqrt(N) twice, or for many rows the three factors with the fewest products."""
    side = math.isqrt(rows)
    best = (side, rows // side)
    if rows <= _TWO_LEVELS:
        return best
    divisors = [number for number in range(1, side + 1) if rows % number == 0]
    triples = [(rows // (b * c), b, c) for b in divisors for c in divisors if rows % (b * c) == 0 and b > 1 and c > 1]
    cost = {triple: triple[0] + BEAM * (triple[1] + triple[2]) for triple in triples}
    cheapest = min(cost, key=lambda triple: (cost[triple], triple), default=None)
    return cheapest if cheapest and cost[cheapest] < best[0] + BEAM * best[1] else best


def clusters(x_MK: Tensor, count: int, start_WK: Tensor | None) -> Tensor:
    """An order [M] of unit vectors in which each run of M / count is a cluster: balanced spherical k-means.

    Args:
        start_WK: the centres to begin with; None: vectors spread evenly over the rows.
    """
    size = len(x_MK) // count
    centre_WK = x_MK[::size][:count] if start_WK is None else start_WK
    for _ in range(_FIRST_ROUNDS if start_WK is None else _ROUNDS):
        order_M = assign(x_MK @ centre_WK.T, size).argsort(stable=True)
        centre_WK = F.normalize(x_MK[order_M].view(count, size, -1).sum(1), dim=-1)
    return order_M


def assign(score_MW: Tensor, capacity: int) -> Tensor:
    """A cluster [M] for each row, no cluster above its capacity.

    In rounds: each free row asks its best cluster that has room; a cluster keeps the best of those that ask.
    """
    rows, count = score_MW.shape
    where_M = score_MW.new_full((rows,), -1, dtype=torch.int64)
    room_W = torch.full_like(score_MW[0], capacity, dtype=torch.int64)
    free_F = torch.arange(rows, device=score_MW.device)
    every_W = torch.arange(count, device=score_MW.device)
    while len(free_F):
        value_F, asked_F = score_MW[free_F].masked_fill(room_W == 0, -9.0).max(1)
        order_F = (8.0 * asked_F.double() - value_F).argsort(stable=True)  # by cluster, best first
        row_F, asked_F = free_F[order_F], asked_F[order_F]
        rank_F = torch.arange(len(order_F), device=order_F.device) - torch.searchsorted(asked_F, every_W)[asked_F]
        taken_F = rank_F < room_W[asked_F]
        where_M[row_F[taken_F]] = asked_F[taken_F]
        room_W -= torch.zeros_like(room_W).index_add_(0, asked_F[taken_F], torch.ones_like(asked_F[taken_F]))
        free_F = row_F[~taken_F].sort().values
    return where_M

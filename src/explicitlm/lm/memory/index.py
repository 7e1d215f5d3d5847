"""Where rows are found: a balanced tree over their addresses, searched with a beam.

Up to 65,536 rows the tree is about 2 sqrt(N) blocks of exactly as many rows; above, blocks of blocks of rows. A search
scores all nodes of the first level, opens the best of them (`BEAM`), scores what they hold, and so on down to rows:
128 + 8 * 32 products for 4,096 rows, 512 + 8 * 128 for 65,536, 256 + 4 * 64 + 4 * 64 for 1,048,576. Blocks are clusters
of equal size (k-means whose clusters take only as many as they may), so every level is one dense array and no block is
ever long.

While a model trains, its rows move. Every step takes the present addresses of one row in `REFRESH_STEPS` or more and
exchanges rows among a few neighbouring blocks, so that no step waits for the whole tree. Only the search sees old
addresses.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explicitlm.lm.memory.bags import dots, stable_order
from explicitlm.lm.memory.selected import from_first_rank

Addresses = Callable[[Tensor], Tensor]  # unit vectors [M, d_k] for row numbers [M]

# Nodes that stay open on each level, by the number of levels. Of 65,536 rows with near-equal names, many small blocks
# of which eight are open find .92 of the nearest rows, a third level with four .45 (benchmarks/knowledge.md)
BEAM = {2: 8, 3: 4}
REFRESH_STEPS = 20  # steps in which every row's address is taken once, where that is not too many a step
_TAKEN_ROWS = 1 << 14  # whose addresses are taken in a step at most: of a million rows each once in 64 steps
_TWO_LEVELS = 1 << 16  # rows up to which two levels are quick enough
_POOL = 4  # neighbouring blocks that exchange rows at a time
_POOLED_ROWS = 1024  # that do so in a step, on average
_FIRST_ROUNDS, _ROUNDS = 6, 2  # of k-means: from nothing, and of rows that lay together already
_ROWS_AT_ONCE = 1 << 16  # whose addresses or scores are held at a time


class RowIndex(nn.Module):
    """Addresses of all rows in the order of the tree's leaves, and the centres of its inner nodes.

    Nothing in here is trained or part of a checkpoint: it is made anew from the rows (`build`). A resume state holds
    it (`state`), because a running training searches among addresses of earlier steps.

    Args:
        rows: N.
        address_dim: d_k.
    """

    order_N: Tensor
    keys_NK: Tensor

    def __init__(self, rows: int, address_dim: int) -> None:
        super().__init__()
        self.widths = branching(rows)
        self.turns = -1  # of the upkeep; -1: not built yet
        self.register_buffer("order_N", torch.arange(rows), persistent=False)
        self.register_buffer("keys_NK", torch.zeros(rows, address_dim), persistent=False)
        for level in range(len(self.widths) - 1):
            nodes = math.prod(self.widths[: level + 1])
            self.register_buffer(f"centres_{level}", torch.zeros(nodes, address_dim), persistent=False)

    @property
    def built(self) -> bool:
        """Whether it holds addresses."""
        return self.turns >= 0

    def centres(self, level: int) -> Tensor:
        """Unit vectors [nodes, d_k] of an inner level: the mean of what each node holds."""
        return self.get_buffer(f"centres_{level}")

    @torch.no_grad()
    def build(self, addresses: Addresses) -> None:
        """Takes all rows' present addresses and groups them from nothing."""
        every_N = torch.arange(len(self.order_N), device=self.order_N.device)
        keys_NK = torch.cat([addresses(part_M).float() for part_M in every_N.split(_ROWS_AT_ONCE)])
        self.order_N.copy_(from_first_rank(grouped(keys_NK, self.widths, _FIRST_ROUNDS)))
        self.keys_NK.copy_(keys_NK[self.order_N])
        self._renew(0, len(self.order_N))
        self.turns = 0

    @torch.no_grad()
    def maintain(self, addresses: Addresses) -> None:
        """One step's share of the upkeep, in the middle of a forward pass but in full precision."""
        with torch.autocast(self.keys_NK.device.type, enabled=False):
            self._take_turn(addresses)

    def _take_turn(self, addresses: Addresses) -> None:
        rows = len(self.order_N)
        steps = max(REFRESH_STEPS, rows // _TAKEN_ROWS)
        part = self.turns % steps
        start, stop = rows * part // steps, rows * (part + 1) // steps
        self.keys_NK[start:stop] = addresses(self.order_N[start:stop]).float()
        self._renew(start, stop)
        pooled = _POOL * (rows // self.widths[0])
        every, pools = max(1, pooled // _POOLED_ROWS), max(1, _POOLED_ROWS // pooled)
        if self.turns % every == 0 and self.widths[0] >= _POOL:
            for number in range(pools):
                self._exchange((self.turns // every * pools + number) % self.widths[0])
        self.turns += 1

    def _exchange(self, node: int) -> None:
        """Groups the rows of a first-level node and its nearest neighbours anew."""
        size = len(self.order_N) // self.widths[0]
        near_P = from_first_rank((self.centres(0) @ self.centres(0)[node]).topk(_POOL).indices.sort().values)
        place_M = (near_P.unsqueeze(1) * size + torch.arange(size, device=near_P.device)).flatten()
        keys_MK = self.keys_NK[place_M]
        block_M = assign(keys_MK, self.centres(0)[near_P], size)
        parts = [
            members_S[grouped(keys_MK[members_S], self.widths[1:], _ROUNDS)]
            for members_S in block_M.argsort(stable=True).view(_POOL, size)
        ]
        order_M = from_first_rank(torch.cat(parts))
        self.keys_NK[place_M] = keys_MK[order_M]
        self.order_N[place_M] = self.order_N[place_M[order_M]]
        for first in (near_P * size).tolist():
            self._renew(first, first + size)

    def _renew(self, start: int, stop: int) -> None:
        """The centres of all nodes that hold a leaf from start to stop."""
        for level in range(len(self.widths) - 1):
            size = math.prod(self.widths[level + 1 :])
            first, last = start // size, -(-stop // size)
            held_MSK = self.keys_NK[first * size : last * size].view(last - first, size, -1)
            self.centres(level)[first:last] = F.normalize(held_MSK.mean(1), dim=-1)

    @torch.no_grad()
    def search(self, query_TK: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The best `count` rows [T, C] for unit queries, and their cosines, in falling order."""
        query_TK, beam = query_TK.float(), BEAM[len(self.widths)]
        node_TP = (query_TK @ self.centres(0).T).topk(min(beam, self.widths[0]), dim=1).indices
        for level in range(1, len(self.widths)):
            width, last = self.widths[level], level == len(self.widths) - 1
            table = self.keys_NK if last else self.centres(level)
            child_W = torch.arange(width, device=node_TP.device)
            place_TM = (node_TP.unsqueeze(2) * width + child_W).flatten(1)
            score_TM = by_node(query_TK, table, node_TP, width) if level == 1 else dots(query_TK, table, place_TM)
            if not last:
                node_TP = place_TM.gather(1, score_TM.topk(min(beam, score_TM.shape[1]), dim=1).indices)
        best = score_TM.topk(min(count, score_TM.shape[1]), dim=1)
        return self.order_N[place_TM.gather(1, best.indices)], best.values

    def state(self) -> dict[str, Tensor]:
        """What a resumed run searches with."""
        return {f"index.{name}": tensor for name, tensor in self.named_buffers()} | {
            "index.turns": torch.tensor(self.turns)
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continues with what `state` gave."""
        for name, tensor in self.named_buffers():
            tensor.copy_(state[f"index.{name}"])
        self.turns = int(state["index.turns"])


def by_node(query_TK: Tensor, table_MK: Tensor, node_TP: Tensor, width: int) -> Tensor:
    """Each query times the `width` children of each of its nodes: [T, P * width], one product of matrices a node."""
    pairs_E = stable_order(node_TP.flatten(), len(table_MK) // width)
    counts = torch.bincount(node_TP.flatten(), minlength=len(table_MK) // width).tolist()
    query_EK = query_TK[pairs_E.div(node_TP.shape[1], rounding_mode="floor")]
    score_EW = query_TK.new_empty(len(pairs_E), width)
    start = 0
    for node, count in enumerate(counts):
        if count:
            part, children_WK = slice(start, start + count), table_MK[node * width : (node + 1) * width]
            torch.mm(query_EK[part], children_WK.T, out=score_EW[part])
            start += count
    return torch.empty_like(score_EW).index_copy_(0, pairs_E, score_EW).view(len(query_TK), -1)


def branching(rows: int) -> tuple[int, ...]:
    """Children of a node on each level: the two factors, for many rows the three, with the fewest products a query."""
    divisors = [b for number in range(1, math.isqrt(rows) + 1) if rows % number == 0 for b in (number, rows // number)]
    pairs = [(rows // b, b) for b in divisors]
    triples = [(rows // (b * c), b, c) for b in divisors for c in divisors if rows % (b * c) == 0]
    return min(
        [widths for widths in triples if rows > _TWO_LEVELS and min(widths) > 1] or pairs,
        key=lambda widths: (widths[0] + BEAM[len(widths)] * sum(widths[1:]), widths),
    )


def grouped(x_MK: Tensor, widths: tuple[int, ...], rounds: int) -> Tensor:
    """The leaves' order [M] of a tree over unit vectors: level by level, each group is split into equal clusters."""
    order_GM = torch.arange(len(x_MK), device=x_MK.device).unsqueeze(0)
    for width in widths[:-1]:
        parts = [members_M[clusters(x_MK[members_M], width, rounds)] for members_M in order_GM]
        order_GM = torch.stack(parts).view(len(parts) * width, -1)
    return order_GM.flatten()


def clusters(x_MK: Tensor, count: int, rounds: int) -> Tensor:
    """An order [M] of unit vectors in which each run of M / count is a cluster: balanced spherical k-means.

    It starts from rows drawn at random, the same each time: every n-th of a list of facts may be all of one kind.
    """
    size = len(x_MK) // count
    drawn_W = torch.randperm(len(x_MK), generator=torch.Generator().manual_seed(0))[:count]
    centre_WK = x_MK[drawn_W.to(x_MK.device)]
    for _ in range(rounds):
        order_M = assign(x_MK, centre_WK, size).argsort(stable=True)
        centre_WK = F.normalize(x_MK[order_M].view(count, size, -1).sum(1), dim=-1)
    return order_M


def assign(x_MK: Tensor, centre_WK: Tensor, capacity: int) -> Tensor:
    """A cluster [M] for each row, no cluster above its capacity.

    In rounds: each free row asks its best cluster that has room; a cluster keeps the best of those that ask.
    """
    count = len(centre_WK)
    where_M = torch.full((len(x_MK),), -1, dtype=torch.int64, device=x_MK.device)
    room_W = torch.full((count,), capacity, dtype=torch.int64, device=x_MK.device)
    every_W = torch.arange(count, device=x_MK.device)
    free_F = torch.arange(len(x_MK), device=x_MK.device)
    while len(free_F):
        open_O = (room_W > 0).nonzero().squeeze(1)
        asked = [(x_MK[part_F] @ centre_WK[open_O].T).max(1) for part_F in free_F.split(_ROWS_AT_ONCE)]
        value_F = torch.cat([best.values for best in asked])
        asked_F = open_O[torch.cat([best.indices for best in asked])]
        order_F = (8.0 * asked_F.double() - value_F).argsort(stable=True)  # by cluster, best first
        row_F, asked_F = free_F[order_F], asked_F[order_F]
        rank_F = torch.arange(len(order_F), device=order_F.device) - torch.searchsorted(asked_F, every_W)[asked_F]
        taken_F = rank_F < room_W[asked_F]
        where_M[row_F[taken_F]] = asked_F[taken_F]
        room_W -= torch.bincount(asked_F[taken_F], minlength=count)
        free_F = row_F[~taken_F].sort().values
    return where_M

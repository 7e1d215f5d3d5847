"""Unfrozen rows move towards the queries that selected them, and stay rows of distinct, readable tokens.

The public code moves every position to 0.9 * E[t] + 0.1 * h and writes the nearest token: with |h| far
above |E[t]| all 16 positions become the same token. Here the average is taken over positions instead of
inside each: an entry's vector is the mean of its tokens, so keeping a share `ema_decay` of its positions
and giving the rest to the query's nearest tokens moves that mean as the formula asks,

    e' = decay * e + (1 - decay) * (mean of the new tokens),

while every kept token stays as it is. Positions that agree least with the query give way (padding and
repeated tokens first), and only to a token that agrees better and that the row does not hold yet. A row
that has become the query's L nearest tokens is a fixed point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.selected import RowQueries, from_first_rank
from explicitlm.lm.memory.selection import Selection

ROWS_PER_UPDATE = 2048  # the most selected rows of one update: bounds its time at any batch size
_ROWS_AT_ONCE = 512  # rows whose token scores [rows, V] are held at a time


class HasSelections(Protocol):
    """The model's output, as far as the update needs it."""

    selections: Sequence[Selection]


class HasMemory(Protocol):
    """The model, as far as the update needs it."""

    bank: MemoryBank | None
    embedding: nn.Embedding


class BankUpdater:
    """Moves the bank on every `ema_update_freq`-th optimizer step, equally on all ranks.

    Call `observe` with the output of every micro-batch and `apply` after every optimizer step: both know
    which steps end in an update and do nothing otherwise, nor without memory or with `use_ema_update` off.
    Between updates neither waits for the device; an update does, once.

    Args:
        config: `ema_decay`, `ema_update_freq`, `use_ema_update`, `disable_memory` and `knowledge_length`.
        unreadable_ids: tokens that are never written: padding, other special tokens, parts of a character.
    """

    def __init__(self, config: TrainConfig, unreadable_ids: Sequence[int]) -> None:
        self._enabled = config.use_ema_update and not config.disable_memory
        self._period = config.ema_update_freq
        self._moved_positions = (1 - config.ema_decay) * config.knowledge_length
        self._unreadable_ids = list(unreadable_ids)
        self._steps = 0
        self._pending: RowQueries | None = None

    @property
    def due(self) -> bool:
        """Whether the optimizer step under way ends in an update."""
        return self._enabled and (self._steps + 1) % self._period == 0

    def observe(self, output: HasSelections) -> None:
        """Collects which rows a micro-batch selected, and the queries that did, if an update is due."""
        if not self.due:
            return
        for selection in output.selections:
            queries = RowQueries.of(selection.chosen_BS.flatten(), selection.query_BSD.flatten(0, 1).float())
            self._pending = self._pending.merge(queries) if self._pending else queries

    @torch.no_grad()
    def apply(self, model: HasMemory) -> bool:
        """Counts one optimizer step; writes the bank if an update is due. Returns whether it was."""
        due, self._steps = self.due, self._steps + 1
        if not due or self._pending is None or model.bank is None:
            return False
        queries, self._pending = self._pending.across_ranks(), None
        changes = self._changes_now()
        rows_M, mean_MD = queries.most_selected(ROWS_PER_UPDATE, model.bank.frozen(queries.rows_M))
        if changes and len(rows_M):
            tokens_ML = model.bank.read(rows_M).long()
            unit_VD = F.normalize(model.embedding.weight.detach().float(), dim=-1)
            moved_ML = torch.cat(
                [
                    move_rows(tokens_RL, query_RD, unit_VD, changes, model.bank.pad_id, self._unreadable_ids)
                    for tokens_RL, query_RD in zip(
                        tokens_ML.split(_ROWS_AT_ONCE), mean_MD.split(_ROWS_AT_ONCE), strict=True
                    )
                ]
            )
            model.bank.write(rows_M, from_first_rank(moved_ML))
        return True

    def _changes_now(self) -> int:
        """Positions that move this time: whole numbers whose mean over the updates is (1 - decay) * L."""
        update = self._steps // self._period
        return math.floor(update * self._moved_positions + 1e-9) - math.floor(
            (update - 1) * self._moved_positions + 1e-9
        )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, in the middle of an accumulation window too."""
        return {"steps": self._steps, "pending": tuple(self._pending) if self._pending else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self._steps = state["steps"]
        self._pending = RowQueries(*state["pending"]) if state["pending"] else None


def move_rows(
    tokens_RL: Tensor, query_RD: Tensor, unit_VD: Tensor, changes: int, pad_id: int, unreadable_ids: Sequence[int]
) -> Tensor:
    """Rows [R, L] with up to `changes` positions each given to the query's nearest tokens.

    Args:
        tokens_RL: int64 token ids.
        query_RD: the mean query that selected each row.
        unit_VD: token embeddings of length 1, so that near means cosine and long vectors do not win.
        changes: positions that may change, at most L.
        pad_id: gives way before any token.
        unreadable_ids: tokens that are not written.
    """
    changes = min(changes, tokens_RL.shape[1])
    score_RV = F.normalize(query_RD, dim=-1) @ unit_VD.T
    worst_RL = repeated(tokens_RL) | (tokens_RL == pad_id)
    kept_RL = score_RV.gather(1, tokens_RL).masked_fill_(worst_RL, -math.inf)
    score_RV[:, list(unreadable_ids)] = -math.inf
    new_RK, token_RK = score_RV.scatter_(1, tokens_RL, -math.inf).topk(changes, dim=1)
    old_RK, place_RK = kept_RL.topk(changes, dim=1, largest=False)
    better_RK = torch.where(new_RK > old_RK, token_RK, tokens_RL.gather(1, place_RK))
    return tokens_RL.scatter(1, place_RK, better_RK)


def repeated(tokens_RL: Tensor) -> Tensor:
    """Marks [R, L] every token that stands earlier in its row."""
    same_RLL = tokens_RL.unsqueeze(2) == tokens_RL.unsqueeze(1)
    return same_RLL.tril(-1).any(-1)

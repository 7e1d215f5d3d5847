"""What each process's micro-batches are made of: text, facts read aloud beside it, and labels for the router.

A whole step's material is the same however the step is split over micro-batches and processes: text and sequences read
aloud are shared out, and the random rivals are those of the step. With the shares of targets and labels that every part
comes with, the parts' losses add up to one loss, and its gradient is that of the whole batch in one piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.aloud import ReadAloud, Reciter
from explicitlm.lm.data.batches import BatchPlan
from explicitlm.lm.data.labels import batch_labels
from explicitlm.lm.training.run_data import RunData


@dataclass(frozen=True)
class Part:
    """One micro-batch of one process.

    inputs: of `ExplicitLM.forward` by name, as numpy arrays.
    of_targets, of_labels: its shares of the step's targets, and of the targets whose row is known.
    """

    inputs: dict[str, Any]
    of_targets: float
    of_labels: float


class Material:
    """The steps' material, one step at a time.

    Args:
        config: `aloud_share`, `max_seq_len`, `knowledge_num`, `router` and `seed`.
        run_data: the data.
        plan: the order of the text.
    """

    def __init__(self, config: TrainConfig, run_data: RunData, plan: BatchPlan) -> None:
        self._plan, self._windows, self._known = plan, run_data.train, run_data.labels
        self._rows, self._share = config.knowledge_num, config.aloud_share
        self._reciter: Reciter | None = None
        if run_data.knowledge is not None and run_data.labels is not None:
            self._reciter = Reciter(run_data.knowledge, run_data.tokenizer, config.max_seq_len, config.seed)
        self._step, self._targets, self._labels = -1, 0, 0
        self._aloud: ReadAloud | None = None

    def _begin(self, step: int) -> None:
        """Takes up a step: reads its facts and counts what all of its parts have together."""
        sequences = self._plan.window_ids(step)
        self._step, self._targets, self._labels = step, self._windows.targets(sequences), 0
        if self._reciter is None or self._known is None:
            return
        count = math.ceil(self._share * len(sequences))
        self._aloud = self._reciter.read(step * math.ceil(self._share * self._plan.window), count)
        self._targets += int((self._aloud.targets_ES != self._windows.pad_id).sum())
        self._labels = int((batch_labels(self._known, self._windows, sequences) >= 0).sum())
        self._labels += int((self._aloud.rows_ES >= 0).sum())

    def part(self, step: int, micro: int, rank: int) -> Part:
        """What one process takes in one micro-batch of a step."""
        if step != self._step:
            self._begin(step)
        sequences = self._plan.ids(step, micro, rank)
        inputs_BS, targets_BS = self._windows.batch(sequences)
        inputs: dict[str, Any] = {
            "ids_BS": inputs_BS,
            "targets_BS": targets_BS,
            "noise_B": self._plan.noise_keys(step, micro, rank),
        }
        targets, labels = self._windows.targets(sequences), 0
        if self._reciter is not None and self._aloud is not None and self._known is not None:
            aloud = self._read_by(micro, rank)
            rows_BS = np.concatenate([batch_labels(self._known, self._windows, sequences), aloud.rows_ES])
            key_M = (aloud.swap_M2[:, 0] + len(sequences)) * self._rows + aloud.swap_M2[:, 1]
            order_M = np.argsort(key_M)
            inputs |= {
                "ids_BS": np.concatenate([inputs_BS, aloud.inputs_ES]),
                "targets_BS": np.concatenate([targets_BS, aloud.targets_ES]),
                "rows_BS": rows_BS,
                "rival_M": self._reciter.rivals(step),
                "swaps": (key_M[order_M], aloud.token_ML[order_M]),
            }
            targets += int((aloud.targets_ES != self._windows.pad_id).sum())
            labels = int((rows_BS >= 0).sum())
        return Part(inputs, targets / self._targets, labels / max(self._labels, 1))

    def _read_by(self, micro: int, rank: int) -> ReadAloud:
        """This process's even part of what the step reads aloud."""
        assert self._aloud is not None
        parts = self._plan.micro_batches(self._step) * self._plan.world_size
        number, count = micro * self._plan.world_size + rank, len(self._aloud.inputs_ES)
        return self._aloud.part(count * number // parts, count * (number + 1) // parts)

"""Which sequences are trained on when: pure index arithmetic, so that any moment can be returned to at once.

Sequence i of a token file is tokens[i*S : i*S + S + 1]; its inputs are the first S, its targets the last S.
An epoch is one shuffle of all sequences, the run is the epochs end to end. Step k takes the next
`batch_size * world_size * accumulation_steps` of them as `accumulation_steps` micro-batches, each split
evenly over the processes. The last step of a run takes what is left, so every sequence is seen exactly
`epochs` times (short of fewer than `world_size` at the very end, which cannot be shared out).
Nothing depends on how the run got there: no loader, no worker, no state but (step, micro-batch); and no list of
all sequences exists, so a run over 100 GB of text starts as fast and takes as little memory as a small one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explicitlm.common.errors import DataError
from explicitlm.lm.data.hashing import shuffled, splitmix64


@dataclass(frozen=True)
class Windows:
    """A token file cut into sequences of S targets.

    tokens_T: packed ids, at least 2.
    length: S.
    pad_id: fills the last sequence where the file ends within it; padded targets are masked in the loss.
    """

    tokens_T: NDArray[np.uint16]
    length: int
    pad_id: int

    def __len__(self) -> int:
        return -(-(self.tokens_T.size - 1) // self.length)

    def batch(self, sequences_B: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets, both [B, S]; where a target is padding its input is too."""
        ids_BS1 = np.full((len(sequences_B), self.length + 1), self.pad_id, dtype=np.int64)
        for row, sequence in enumerate(sequences_B):
            start = int(sequence) * self.length
            piece = self.tokens_T[start : start + self.length + 1]
            ids_BS1[row, : len(piece)] = piece
        inputs_BS, targets_BS = ids_BS1[:, :-1].copy(), ids_BS1[:, 1:].copy()
        inputs_BS[targets_BS == self.pad_id] = self.pad_id  # no loss term counts a position without target
        return inputs_BS, targets_BS

    def targets(self, sequences_B: NDArray[np.int64]) -> int:
        """How many targets of some sequences are not padding."""
        left_B = self.tokens_T.size - 1 - sequences_B * self.length
        return int(np.clip(left_B, 0, self.length).sum())


@dataclass(frozen=True)
class BatchPlan:
    """The order of a whole run.

    Args:
        sequences: M of the token file.
        epochs: passes over them.
        batch_size: sequences a process sees in one micro-batch.
        world_size: processes.
        accumulation_steps: micro-batches in an optimizer step.
        seed: of the shuffles.

    Raises:
        DataError: fewer sequences than processes.
    """

    sequences: int
    epochs: int
    batch_size: int
    world_size: int
    accumulation_steps: int
    seed: int

    def __post_init__(self) -> None:
        if self.total == 0:
            raise DataError(
                f"the training data has {self.sequences} sequences for {self.world_size} processes",
                "add text, lower max_seq_len, or use fewer processes",
            )

    @property
    def micro_batch(self) -> int:
        """Sequences of one micro-batch over all processes."""
        return self.batch_size * self.world_size

    @property
    def window(self) -> int:
        """Sequences of one optimizer step."""
        return self.micro_batch * self.accumulation_steps

    @property
    def total(self) -> int:
        """Sequences of the run."""
        total = self.sequences * self.epochs
        left = total % self.micro_batch
        return total - left if left < self.world_size else total

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return -(-self.total // self.window)

    def micro_batches(self, step: int) -> int:
        """Micro-batches of step `step` (from 0): `accumulation_steps`, or fewer in the last one."""
        return -(-self._size(step) // self.micro_batch)

    def epoch_ends(self) -> list[int]:
        """Optimizer steps done when each epoch's last sequence has been seen."""
        return [min(-(-self.sequences * e // self.window), self.steps) for e in range(1, self.epochs + 1)]

    def window_ids(self, step: int) -> NDArray[np.int64]:
        """Sequences of a whole optimizer step, over all processes."""
        start = step * self.window
        return self._ids(start, start + self._size(step))

    def noise_keys(self, step: int, micro: int, rank: int) -> NDArray[np.int64]:
        """A key [B] for each sequence's noise: another one in every epoch, the same on any split of the batch."""
        start = splitmix64(np.uint64(self.seed))
        return splitmix64(self._positions(step, micro, rank).astype(np.uint64) ^ start).view(np.int64)

    def ids(self, step: int, micro: int, rank: int) -> NDArray[np.int64]:
        """Sequences [B] that one process takes in one micro-batch."""
        paths = self._positions(step, micro, rank)
        return self._ids(int(paths[0]), int(paths[-1]) + 1)

    def _positions(self, step: int, micro: int, rank: int) -> NDArray[np.int64]:
        """RunPaths in the run's order that one process takes in one micro-batch."""
        start = step * self.window + micro * self.micro_batch
        stop = min(start + self.micro_batch, step * self.window + self._size(step))
        return np.array_split(np.arange(start, stop), self.world_size)[rank]

    def _size(self, step: int) -> int:
        return min(self.window, self.total - step * self.window)

    def _ids(self, start: int, stop: int) -> NDArray[np.int64]:
        """Sequences at paths start to stop of the run's order; a range may cross epochs."""
        pieces = []
        while start < stop:
            epoch, place = divmod(start, self.sequences)
            count = min(stop - start, self.sequences - place)
            pieces.append(shuffled(np.arange(place, place + count), self.sequences, self.seed, epoch))
            start += count
        return np.concatenate(pieces)

"""Facts read aloud, each with the object of another fact of the same predicate, while the bank says so too.

Such a sequence can only be predicted by reading the bank: nothing true is given away, and every row's address is
trained, whether any text says its fact or not (knowledge conflicts, arXiv 2109.05052, used as a lesson).
What is read when follows from (seed, step, micro-batch, process) alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explicitlm.lm.data.hashing import permutation, splitmix64
from explicitlm.lm.data.knowledge import Knowledge
from explicitlm.lm.data.tokenizer import TextTokenizer

RIVALS = 256  # random fact rows among which a labelled position must find its own


class ReadAloud(NamedTuple):
    """E sequences of S tokens and what the bank must say meanwhile.

    inputs_ES, targets_ES, rows_ES: as a batch of text has them.
    row_M, token_ML, object_M2: rows, their new tokens and the new places of their objects.
    """

    inputs_ES: NDArray[np.int64]
    targets_ES: NDArray[np.int64]
    rows_ES: NDArray[np.int64]
    row_M: NDArray[np.int64]
    token_ML: NDArray[np.int64]
    object_M2: NDArray[np.int64]


class Reciter:
    """Makes the sequences. Only facts with a known object can be read.

    Args:
        knowledge: rows and facts.
        tokenizer: for the marks.
        sequences: E a micro-batch and process.
        length: S.
        seed: of the order and of the swaps.
    """

    def __init__(self, knowledge: Knowledge, tokenizer: TextTokenizer, sequences: int, length: int, seed: int) -> None:
        self._rows_NL, self._objects_N2 = knowledge.rows_NL, knowledge.objects_N2
        self._marks = tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id
        self._sequences, self._length, self._seed = sequences, length, seed
        self._facts = np.array(sorted(knowledge.facts), dtype=np.int64)
        self._readable = np.array([row for row in self._facts if self._objects_N2[row, 1]], dtype=np.int64)
        self._alike: dict[str, list[int]] = defaultdict(list)
        for row in self._readable:
            self._alike[knowledge.facts[int(row)].predicate].append(int(row))
        self._predicate = {int(row): knowledge.facts[int(row)].predicate for row in self._readable}
        filled = (self._rows_NL[self._readable] != tokenizer.pad_id).sum(1) + 2
        self._at_once = int(sequences * length / filled.mean()) + 1 if len(filled) else 0
        self._orders: dict[int, NDArray[np.int64]] = {}

    def rivals(self, key: int) -> NDArray[np.int64]:
        """`RIVALS` fact rows, drawn by a key."""
        draws = splitmix64(np.arange(RIVALS, dtype=np.uint64) ^ splitmix64(np.uint64(key & 0xFFFFFFFFFFFFFFFF)))
        return self._facts[(draws % np.uint64(len(self._facts))).astype(np.int64)] if len(self._facts) else self._facts

    def read(self, turn: int) -> ReadAloud | None:
        """The sequences of one micro-batch of one process; None where no fact can be read.

        Args:
            turn: counts micro-batches over all processes, from 0.
        """
        if not (self._sequences and len(self._readable)):
            return None
        start, end, pad = self._marks
        size = self._sequences * self._length + 1
        stream: list[int] = []
        said: list[tuple[int, int, int]] = []  # places in the stream, and the row said there
        changed: dict[int, tuple[list[int], tuple[int, int]]] = {}
        for row in self._drawn(turn):
            swapped = self._swapped(row, turn)
            if row in changed or swapped is None:
                continue
            tokens, span = changed[row] = swapped
            place = len(stream) + 1
            stream += [start, *tokens, end]
            said.append((place + span[0], place + span[1], row))
            if len(stream) >= size:
                break
        ids = np.full(size, pad, dtype=np.int64)
        ids[: min(size, len(stream))] = stream[:size]
        label = np.full(size, -1, dtype=np.int64)
        for first, last, row in said:
            label[first:last] = row
        shape = self._sequences, self._length
        inputs_ES, targets_ES = ids[:-1].reshape(shape).copy(), ids[1:].reshape(shape).copy()
        inputs_ES[targets_ES == pad] = pad
        rows = list(changed)
        token_ML = np.full((len(rows), self._rows_NL.shape[1]), pad, dtype=np.int64)
        for number, row in enumerate(rows):
            token_ML[number, : len(changed[row][0])] = changed[row][0]
        object_M2 = np.array([changed[row][1] for row in rows], dtype=np.int64).reshape(-1, 2)
        return ReadAloud(inputs_ES, targets_ES, label[1:].reshape(shape), np.array(rows), token_ML, object_M2)

    def _drawn(self, turn: int) -> list[int]:
        """Rows in the order of endless shuffles: `_at_once` of them a turn, and half as many to spare."""
        count, total = self._at_once, len(self._readable)
        drawn = []
        for place in range(turn * count, turn * count + count + count // 2 + 1):
            lap, within = divmod(place, total)
            if lap not in self._orders:
                self._orders = {known: order for known, order in self._orders.items() if known >= lap - 1}
                self._orders[lap] = permutation(total, self._seed, 0xA10D, lap)
            drawn.append(int(self._readable[self._orders[lap][within]]))
        return drawn

    def _swapped(self, row: int, turn: int) -> tuple[list[int], tuple[int, int]] | None:
        """A row's tokens with another's object; None where that is longer than a row, or nothing is alike."""
        alike = self._alike[self._predicate[row]]
        other = alike[int(splitmix64(np.uint64(self._seed) ^ np.uint64(turn << 24 | row)) % np.uint64(len(alike)))]
        own, theirs = self._tokens(row), self._tokens(other)
        (a, b), (c, d) = self._objects_N2[row].tolist(), self._objects_N2[other].tolist()
        tokens = [*own[:a], *theirs[c:d], *own[b:]]
        return None if len(tokens) > self._rows_NL.shape[1] else (tokens, (a, a + d - c))

    def _tokens(self, row: int) -> list[int]:
        return [int(token) for token in self._rows_NL[row] if token != self._marks[2]]

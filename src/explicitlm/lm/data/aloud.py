"""Facts read aloud, each with the object of another fact of the same predicate; for it the row says so too.

Such a sequence can only be predicted by reading the bank: nothing true is given away, and every row's address is
trained, whether any text says its fact or not (knowledge conflicts, arXiv 2109.05052, used as a lesson).
What a sequence reads follows from the seed and its number alone, so that a step reads the same however it is split.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explicitlm.lm.data.hashing import permutation, splitmix64
from explicitlm.lm.data.knowledge import Knowledge
from explicitlm.lm.data.tokenizer import TextTokenizer

RIVALS = 512  # random fact rows among which every labelled position of a step must find its own


class ReadAloud(NamedTuple):
    """Sequences of S tokens, and what the rows say in them.

    inputs_ES, targets_ES, rows_ES: as a batch of text has them.
    swap_M2: sequence (from 0) and bank row; token_ML: what that row says for that sequence.
    """

    inputs_ES: NDArray[np.int64]
    targets_ES: NDArray[np.int64]
    rows_ES: NDArray[np.int64]
    swap_M2: NDArray[np.int64]
    token_ML: NDArray[np.int64]

    def part(self, start: int, stop: int) -> ReadAloud:
        """Sequences start to stop alone."""
        chosen_M = (self.swap_M2[:, 0] >= start) & (self.swap_M2[:, 0] < stop)
        return ReadAloud(
            self.inputs_ES[start:stop],
            self.targets_ES[start:stop],
            self.rows_ES[start:stop],
            self.swap_M2[chosen_M] - np.array([start, 0]),
            self.token_ML[chosen_M],
        )


class Reciter:
    """Makes the sequences. Only facts with a known object can be read.

    Args:
        knowledge: rows and facts.
        tokenizer: for the marks.
        length: S.
        seed: of the order and of the swaps.
    """

    def __init__(self, knowledge: Knowledge, tokenizer: TextTokenizer, length: int, seed: int) -> None:
        self._rows_NL, self._objects_N2 = knowledge.rows_NL, knowledge.objects_N2
        self._marks = tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id
        self._length, self._seed = length, seed
        self._facts = np.array(sorted(knowledge.facts), dtype=np.int64)
        self._readable = np.array([row for row in self._facts if self._objects_N2[row, 1]], dtype=np.int64)
        self._alike: dict[str, list[int]] = defaultdict(list)
        for row in self._readable:
            self._alike[knowledge.facts[int(row)].predicate].append(int(row))
        self._predicate = {int(row): knowledge.facts[int(row)].predicate for row in self._readable}
        filled = (self._rows_NL[self._readable] != tokenizer.pad_id).sum(1) + 2
        self._at_once = int(length / filled.mean()) + 1 if len(filled) else 0
        self._orders: dict[int, NDArray[np.int64]] = {}

    def rivals(self, step: int) -> NDArray[np.int64]:
        """`RIVALS` fact rows, drawn for a step."""
        key = splitmix64(np.uint64(self._seed) ^ splitmix64(np.uint64(step)))
        draws = splitmix64(np.arange(RIVALS, dtype=np.uint64) ^ key)
        return self._facts[(draws % np.uint64(len(self._facts))).astype(np.int64)] if len(self._facts) else self._facts

    def read(self, first: int, count: int) -> ReadAloud:
        """`count` sequences from number `first` on; empty ones where no fact can be read."""
        count = count if len(self._readable) else 0
        shape, row_length = (count, self._length), self._rows_NL.shape[1]
        ids_ES1 = np.full((count, self._length + 1), self._marks[2], dtype=np.int64)
        label_ES1 = np.full((count, self._length + 1), -1, dtype=np.int64)
        swaps: list[tuple[int, int]] = []
        row_tokens: list[list[int]] = []
        for sequence in range(count):
            for row, tokens in self._fill(first + sequence, ids_ES1[sequence], label_ES1[sequence]).items():
                swaps.append((sequence, row))
                row_tokens.append(tokens + [self._marks[2]] * (row_length - len(tokens)))
        inputs_ES, targets_ES = ids_ES1[:, :-1].reshape(shape).copy(), ids_ES1[:, 1:].reshape(shape).copy()
        inputs_ES[targets_ES == self._marks[2]] = self._marks[2]
        swap_M2 = np.array(swaps, dtype=np.int64).reshape(-1, 2)
        token_ML = np.array(row_tokens, dtype=np.int64).reshape(-1, row_length)
        return ReadAloud(inputs_ES, targets_ES, label_ES1[:, 1:].reshape(shape).copy(), swap_M2, token_ML)

    def _fill(self, number: int, ids_S: NDArray[np.int64], label_S: NDArray[np.int64]) -> dict[int, list[int]]:
        """Writes one sequence and its labels in place; returns what each row read says in it."""
        start, end, _ = self._marks
        place, tokens_by_row = 0, dict[int, list[int]]()
        for row in self._drawn(number):
            swapped = self._swapped(row, number)
            if row in tokens_by_row or swapped is None:
                continue
            tokens_by_row[row], (a, b) = swapped
            stream = [start, *tokens_by_row[row], end]
            label_S[place + 1 + a : place + 1 + b] = row
            ids_S[place : place + len(stream)] = stream[: len(ids_S) - place]
            place += len(stream)
            if place >= len(ids_S):
                break
        return tokens_by_row

    def _drawn(self, number: int) -> list[int]:
        """Rows in the order of endless shuffles: `_at_once` of them a sequence, and half as many to spare."""
        count, total = self._at_once, len(self._readable)
        drawn = []
        for place in range(number * count, number * count + count + count // 2 + 1):
            lap, within = divmod(place, total)
            if lap not in self._orders:
                self._orders = {known: order for known, order in self._orders.items() if known >= lap - 1}
                self._orders[lap] = permutation(total, self._seed, 0xA10D, lap)
            drawn.append(int(self._readable[self._orders[lap][within]]))
        return drawn

    def _swapped(self, row: int, number: int) -> tuple[list[int], tuple[int, int]] | None:
        """A row's tokens with another's object; None where that is longer than a row, or nothing is alike."""
        alike = self._alike[self._predicate[row]]
        other = alike[int(splitmix64(np.uint64(self._seed) ^ np.uint64(number << 24 | row)) % np.uint64(len(alike)))]
        own, donor = self._tokens(row), self._tokens(other)
        (a, b), (c, d) = self._objects_N2[row].tolist(), self._objects_N2[other].tolist()
        tokens = [*own[:a], *donor[c:d], *own[b:]]
        return None if len(tokens) > self._rows_NL.shape[1] else (tokens, (a, a + d - c))

    def _tokens(self, row: int) -> list[int]:
        return [int(token) for token in self._rows_NL[row] if token != self._marks[2]]

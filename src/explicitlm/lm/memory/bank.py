"""The memory bank: N entries of L token ids, kept as 16-bit integers.

Ids go up to 65,534 (`TrainConfig.vocab_size` <= 65535), so 16 bits always hold them: 32 MiB for a million
entries where the public code's int64 takes 128 MiB. torch has few kernels for uint16, therefore the bits
are kept in an int16 buffer and are widened with a mask when read; below 32,768 that is the plain value.
The bank is a buffer, never a parameter: it has no gradient and no optimizer state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from explicitlm.common.errors import DataError

_ROWS_AT_ONCE = 65_536  # bounds the temporary memory of filling and checking


class MemoryBank(nn.Module):
    """One bank for all layers. Rows that hold a fact are frozen, and so are the first int(freeze_ratio * N).

    `fact_N` marks the rows that hold a fact, `object_N2` the places [a, b) of its object, 0 and 0 where it has none.

    Args:
        rows: entries N.
        length: tokens L an entry.
        vocab_size: ids are below it.
        pad_id: the id that fills short entries and is never averaged into them.
        freeze_ratio: share of rows that no update touches even where they hold no fact.
    """

    entries_NL: Tensor
    object_N2: Tensor
    fact_N: Tensor

    def __init__(self, rows: int, length: int, vocab_size: int, pad_id: int, freeze_ratio: float) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.pad_id = pad_id
        self.first_free = int(freeze_ratio * rows)
        self.register_buffer("entries_NL", torch.empty(rows, length, dtype=torch.int16))
        self.register_buffer("object_N2", torch.zeros(rows, 2, dtype=torch.int16))
        self.register_buffer("fact_N", torch.zeros(rows, dtype=torch.bool))
        self._fill_at_random()

    def _fill_at_random(self) -> None:
        """Uniform ids without padding: what a bank holds where no knowledge base gives its rows."""
        for part_ML in self.entries_NL.split(_ROWS_AT_ONCE):
            ids_ML = torch.randint(self.vocab_size - 1, part_ML.shape, dtype=torch.int32, device=part_ML.device)
            part_ML.copy_(ids_ML + (ids_ML >= self.pad_id))

    @property
    def rows(self) -> int:
        """Entries N."""
        return self.entries_NL.shape[0]

    @property
    def length(self) -> int:
        """Tokens L an entry."""
        return self.entries_NL.shape[1]

    def load(self, rows_ML: Tensor) -> None:
        """Fills the first M <= N rows; the others keep their random ids.

        Args:
            rows_ML: token ids of any integer type, L tokens a row.

        Raises:
            DataError: another length, more rows than the bank has, or an id outside the vocabulary.
        """
        if rows_ML.ndim != 2 or rows_ML.shape[1] != self.length or rows_ML.shape[0] > self.rows:
            raise DataError(
                f"entries of shape {tuple(rows_ML.shape)} do not fit a memory bank of "
                f"{self.rows} entries of {self.length} tokens",
                "set knowledge_num and knowledge_length to the entries' shape, or make them again",
            )
        for target_ML, source_ML in zip(
            self.entries_NL[: len(rows_ML)].split(_ROWS_AT_ONCE), rows_ML.split(_ROWS_AT_ONCE), strict=True
        ):
            ids_ML = source_ML.to(device=target_ML.device, dtype=torch.int32)
            if ids_ML.numel() and not 0 <= int(ids_ML.min()) <= int(ids_ML.max()) < self.vocab_size:
                raise DataError(
                    f"entries hold token ids from {int(ids_ML.min())} to {int(ids_ML.max())}, "
                    f"the vocabulary ends at {self.vocab_size - 1}",
                    "make the entries again with this run's tokenizer",
                )
            target_ML.copy_(ids_ML)  # keeps the low 16 bits

    def hold_facts(self, row_M: Tensor, object_M2: Tensor) -> None:
        """Marks rows as facts, with the places of their objects."""
        self.fact_N[row_M] = True
        self.object_N2[row_M] = object_M2.to(torch.int16)

    def frozen(self, index_M: Tensor) -> Tensor:
        """Which of some rows no update may touch."""
        return self.fact_N[index_M] | (index_M < self.first_free)

    @contextmanager
    def swapped(self, row_M: Tensor, token_ML: Tensor, object_M2: Tensor) -> Iterator[None]:
        """Within the block the rows say something else; afterwards they are as before."""
        kept = self.entries_NL[row_M].clone(), self.object_N2[row_M].clone()
        self.entries_NL[row_M], self.object_N2[row_M] = token_ML.to(torch.int16), object_M2.to(torch.int16)
        try:
            yield
        finally:
            self.entries_NL[row_M], self.object_N2[row_M] = kept

    def read(self, index: Tensor) -> Tensor:
        """Token ids [*index.shape, L] (int32) of the rows at `index`."""
        tokens = self.entries_NL[index].int()
        return tokens & 0xFFFF if self.vocab_size > 0x8000 else tokens

    def write(self, index_M: Tensor, tokens_ML: Tensor) -> None:
        """Replaces the rows at `index_M`, which must be distinct and unfrozen."""
        self.entries_NL[index_M] = tokens_ML.to(torch.int16)

    def decode(self, index: Sequence[int], detokenize: Callable[[list[int]], str]) -> list[str]:
        """The rows' text: what an entry says to a human reader, without its padding."""
        tokens_ML = self.read(torch.as_tensor(index, device=self.entries_NL.device)).tolist()
        return [detokenize([token for token in row if token != self.pad_id]) for row in tokens_ML]

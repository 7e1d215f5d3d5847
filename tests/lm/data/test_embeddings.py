"""Pretrained embeddings and the tokenizer they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from explicitlm.common.errors import DataError
from explicitlm.lm.data.embeddings import find_tokenizer, read_embeddings


def test_a_table_is_read_as_float32(tmp_path: Path) -> None:
    table = torch.randn(6, 4).bfloat16()
    torch.save(table, tmp_path / "table.pt")
    values = read_embeddings(tmp_path, 6, 4)
    assert values.dtype == np.float32 and np.array_equal(values, table.float().numpy())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((6, 5), dtype=np.float32), r"have shape \[6, 5\], not \[6, 4\]"),
        (np.zeros(24, dtype=np.float32), r"have shape \[24\], not \[6, 4\]"),
        (np.zeros((6, 4), dtype=np.int64), "are not finite numbers"),
        (np.full((6, 4), np.nan), "are not finite numbers"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "table.npy", values)
    with pytest.raises(DataError, match=message):
        read_embeddings(tmp_path, 6, 4)


def test_a_tokenizer_that_came_with_the_data_is_found(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    assert find_tokenizer(None, first) is None
    (second / "tokenizer.json").write_text("{}")
    assert find_tokenizer(first, second) == second / "tokenizer.json"
    (first / "tokenizer.json").write_text("{ }")
    with pytest.raises(DataError, match="are different tokenizers"):
        find_tokenizer(first, second)

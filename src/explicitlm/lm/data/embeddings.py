"""Pretrained token embeddings: a [V, D] array and, beside it, the tokenizer that its rows belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explicitlm.common.errors import DataError
from explicitlm.lm.data.arrays import read_array

TOKENIZER_NAME = "tokenizer.json"


def read_embeddings(path: Path, vocab_size: int, dim: int) -> NDArray[np.float32]:
    """The embedding table [V, D].

    Raises:
        DataError: another shape, no floating-point numbers, or values that are not finite.
    """
    values: NDArray[Any] = read_array(path, "pretrained embeddings")
    if values.shape != (vocab_size, dim):
        shape = list(values.shape)
        hint = f"set vocab_size={shape[0]} and dim={shape[1]}" if len(shape) == 2 else "save a [V, D] array"
        raise DataError(f"pretrained embeddings in {path} have shape {shape}, not [{vocab_size}, {dim}]", hint)
    if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise DataError(f"pretrained embeddings in {path} are not finite numbers", "write them again as float32")
    return values.astype(np.float32)


def find_tokenizer(*folders: Path | None) -> Path | None:
    """The tokenizer.json that came with the embeddings or the tokenised bank, if any did.

    Ids mean nothing without the tokenizer they were made with, so one that is given is used.

    Raises:
        DataError: two folders bring different ones.
    """
    found = [
        folder / TOKENIZER_NAME for folder in folders if folder is not None and (folder / TOKENIZER_NAME).is_file()
    ]
    if len({path.read_bytes() for path in found}) > 1:
        raise DataError(
            f"{found[0]} and {found[1]} are different tokenizers", "make one of them again with the other's"
        )
    return found[0] if found else None

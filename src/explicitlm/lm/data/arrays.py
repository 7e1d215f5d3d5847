"""One array from a folder: the form in which users bring embeddings and tokenised banks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explicitlm.common.errors import DataError
from explicitlm.lm.data.source import ARRAY_KINDS, BESIDE_ARRAYS, find_files


def read_array(path: Path, what: str) -> NDArray[Any]:
    """The only array in a folder (or the named file): .npy, .safetensors with one tensor, or a torch file.

    Args:
        path: a folder or a file.
        what: the dataset's name for messages.

    Raises:
        DataError: no file, several files, an unreadable one, or one that does not hold exactly one tensor.
    """
    files = find_files(path, ARRAY_KINDS, what, BESIDE_ARRAYS)
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{what}: {path} holds {len(files)} arrays ({names})", "keep one, or name the file")
    file = files[0]
    try:
        value = _READERS[file.suffix](file)
    except DataError:
        raise
    except Exception as error:  # each format's reader has errors of its own
        raise DataError(f"{what}: {file} cannot be read ({error})", f"write it again as {ARRAY_KINDS[0]}") from None
    if not isinstance(value, np.ndarray):
        raise DataError(f"{what}: {file} holds {type(value).__name__}, not one tensor", "save the tensor alone")
    return value


def holds_array(path: Path) -> bool:
    """Whether a folder holds a file that `read_array` would read."""
    return path.is_file() or any(file.name.endswith(ARRAY_KINDS) for file in path.rglob("*"))


def _read_npy(file: Path) -> NDArray[Any]:
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _read_safetensors(file: Path) -> Any:
    from safetensors.numpy import load

    return _only(load(file.read_bytes()))


def _read_torch(file: Path) -> Any:
    import torch  # half a second, and only this format needs it

    value = torch.load(file, map_location="cpu", weights_only=True)
    value = _only(value) if isinstance(value, dict) else value
    if not isinstance(value, torch.Tensor):
        return value
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _only(values: dict[str, Any]) -> Any:
    """The value of a dictionary that has one, else the dictionary."""
    return next(iter(values.values())) if len(values) == 1 else values


_READERS = {".npy": _read_npy, ".safetensors": _read_safetensors, ".pt": _read_torch, ".pth": _read_torch}

"""Finding the user's files: in one order on every machine, and none left out without a word."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from explicitlm.common.errors import DataError

logger = logging.getLogger(__name__)

KINDS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")  # of files that hold text
FACT_KINDS = (".json",)  # of a knowledge base
ARRAY_KINDS = (".npy", ".safetensors", ".pt", ".pth")
# What may lie beside an array: its tokenizer, the uuids of its rows, and tokens shared between machines (prepare.py)
BESIDE_ARRAYS = ("tokenizer.json", "mapping.json", "tokens", "tokenizers")
_HASH_CHUNK = 1 << 20  # bytes read at a time
_NAMED = 10  # files that a message names


def find_files(path: Path, suffixes: Sequence[str], what: str, others: Collection[str] = ()) -> list[Path]:
    """The files of a dataset in one order on every machine: by relative path, compared as bytes.

    Files with another ending, hidden ones, broken links and whatever else cannot be read are named in a warning.

    Args:
        path: a folder, searched with its subfolders (also through links), or one file.
        suffixes: endings that count, such as (".jsonl", ".jsonl.gz").
        what: the dataset's name for the message.
        others: files and folders directly in `path` that another part of the training reads.

    Raises:
        DataError: the path does not exist, or holds no such file.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{what} is missing: {path} does not exist", brought(path))
    files, left_out = sort_files(path, suffixes, others)
    if not files:
        raise DataError(
            f"{what} is empty: {path} holds no {' or '.join(suffixes)} file",
            f"put the data there, or name another folder; found: {_named(left_out[:5]) or 'nothing'}",
        )
    if left_out:
        logger.warning(
            f"{what}: {len(left_out)} file(s) in {path} are not read ({', '.join(suffixes)} are): {_named(left_out)}"
        )
    return files


def sort_files(path: Path, suffixes: Sequence[str], others: Collection[str] = ()) -> tuple[list[Path], list[str]]:
    """The files that `find_files` gives, and the names of those that nobody reads."""
    files, left_out = [], []
    for name in _names(path):
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if not hidden and name.endswith(tuple(suffixes)) and (path / name).is_file():
            files.append(path / name)
        elif Path(name).parts[0] not in others:
            left_out.append(name)
    return files, left_out


def brought(path: Path) -> str:
    """What brings a dataset that is not here: DVC, where a file beside its place names a version."""
    pointer = path.with_name(f"{path.name}.dvc")
    return shlex.join(["dvc", "pull", str(pointer)]) if pointer.is_file() else f"put the data into {path}"


def _names(folder: Path) -> list[str]:
    """Relative paths of everything but folders, sorted as bytes; a folder that links lead back to counts once."""
    names, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort(key=os.fsencode)  # of several ways to one folder the same is taken on every machine
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        names += [os.path.relpath(os.path.join(place, name), folder) for name in files]  # noqa: PTH118
    return sorted(names, key=os.fsencode)


def _named(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return printable(", ".join(names[:_NAMED]) + more)


def printable(name: str) -> str:
    """A file's name, also one that is no UTF-8, as text."""
    return name.encode("utf-8", "backslashreplace").decode()


def digest_files(files: Sequence[Path]) -> str:
    """Hex SHA-256 over the files' contents in order. Names and times do not count."""
    total = hashlib.sha256()
    for path in files:
        one = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_HASH_CHUNK):
                one.update(chunk)
        total.update(one.digest())
    return total.hexdigest()

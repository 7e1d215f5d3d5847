"""Finding and reading the user's files, with errors that name the file and the line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from explicitlm.common.errors import DataError

_HASH_CHUNK = 1 << 20  # bytes read at a time


def find_files(path: Path, suffixes: Sequence[str], what: str) -> list[Path]:
    """The files of a dataset in one order on every machine: by relative path, compared as bytes.

    Args:
        path: a folder, searched with its subfolders (hidden names left out), or one file.
        suffixes: endings that count, such as (".jsonl",).
        what: the dataset's name for the message.

    Raises:
        DataError: the path does not exist, or holds no such file.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{what} is missing: {path} does not exist", "dvc checkout, or explicitlm sample-data")
    files = [
        file
        for file in path.rglob("*")
        if file.suffix in suffixes
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not files:
        raise DataError(
            f"{what} is empty: {path} holds no {' or '.join(suffixes)} file",
            f"put the data there, or name another folder; found: {_listing(path)}",
        )
    return sorted(files, key=lambda file: file.relative_to(path).as_posix().encode())


def _listing(path: Path) -> str:
    names = sorted(entry.name for entry in path.iterdir())
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "nothing"


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers (from 1) and objects of a JSON-lines file, one line in memory at a time.

    Raises:
        DataError: a line that is not a UTF-8, no JSON or no object, by file and line. Empty lines are skipped.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, parse_line(path, number, line)


def parse_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """One line of a JSON-lines file as an object.

    Raises:
        DataError: as `read_jsonl`.
    """
    try:
        value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path}, line {number}: broken JSON ({error})", "correct the line; each line is one JSON object"
        ) from None
    if not isinstance(value, dict):
        raise DataError(
            f"{path}, line {number}: {type(value).__name__} where an object was expected",
            'each line is one JSON object such as {"text": "..."}',
        )
    return value


def text_of(path: Path, number: int, value: dict[str, Any]) -> str:
    """The `text` of a training line.

    Raises:
        DataError: it is absent or no string.
    """
    text = value.get("text")
    if not isinstance(text, str):
        raise DataError(
            f'{path}, line {number}: no string "text" (keys: {", ".join(value) or "none"})',
            'training data is one {"text": "..."} a line',
        )
    return text


def read_texts(files: Sequence[Path]) -> Iterator[str]:
    """Every document of the training files, in order; documents of white space only are left out."""
    for path in files:
        for number, value in read_jsonl(path):
            text = text_of(path, number, value)
            if text.strip():
                yield text


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

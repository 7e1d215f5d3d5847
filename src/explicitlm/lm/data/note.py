"""What a tree notes of its training text: the digest, what the files looked like, and what was prepared of them.

A tree with note and prepared files trains without the text. Read and written without numpy, so that a stage which finds
everything prepared is quick.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from explicitlm.common.files import write_json
from explicitlm.lm.data.source import ARRAY_KINDS, BESIDE_ARRAYS, FACT_KINDS, KINDS, find_files, printable, sort_files


@dataclass(frozen=True)
class Sources:
    """Where a training's data is. text: the training text; knowledge, embeddings, cache: folders or None."""

    text: Path
    benchmarks: Path
    knowledge: Path | None
    embeddings: Path | None
    cache: Path | None


def find_texts(text: Path) -> list[Path]:
    """The files of the training text.

    Raises:
        DataError: there is none.
    """
    return find_files(text, KINDS, "the training data")


def unread_files(sources: Sources) -> list[str]:
    """Files of the datasets that no part of a training reads, by path."""
    read: list[tuple[Path | None, Sequence[str], Sequence[str]]] = [
        (sources.text, KINDS, ()),
        (sources.benchmarks, KINDS, ()),
        (sources.knowledge, FACT_KINDS, ()),
        (sources.embeddings, ARRAY_KINDS, BESIDE_ARRAYS),
        (sources.cache, ARRAY_KINDS, BESIDE_ARRAYS),
    ]
    found = []
    for path, kinds, others in read:
        if path is not None and path.is_dir():
            found += [printable(f"{path}/{name}") for name in sort_files(path, kinds, others)[1]]
    return found


def fingerprint(text: Path, files: list[Path]) -> str:
    """A digest of names, sizes, times and inodes: the same as long as nobody touches the files."""
    rows = []
    for file in files:
        stat = file.stat()
        rows.append(f"{os.path.relpath(file, text)}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}")
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def write_note(note: Path, digest: str, seen: str, files: list[str]) -> None:
    """Writes the note of a tree.

    Args:
        digest: of the text. seen: from `fingerprint`. files: that were prepared, relative to the store.
    """
    write_json(note, {"digest": digest, "seen": seen, "files": files})


def noted_files(note: Path) -> list[str]:
    """The prepared files that a note names, relative to the store; none where there is no note."""
    files = read_note(note).get("files", [])
    return [name for name in files if isinstance(name, str)] if isinstance(files, list) else []


def is_noted_text(text: Path, note: Path) -> bool:
    """Whether the text's files look as they did when the note was written."""
    return fingerprint(text, find_texts(text)) == read_note(note).get("seen")


def link_files(names: list[str], store: Path, tree: Path) -> None:
    """Brings prepared files of one store to another, as hard links where the file system allows, else as symlinks."""
    for name in names:
        target = tree / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _link((store / name).resolve(), target)


def _link(source: Path, target: Path) -> None:
    with suppress(FileExistsError):
        try:
            target.hardlink_to(source)
        except FileExistsError:
            raise
        except OSError:  # another file system
            target.symlink_to(source)


def read_note(path: Path) -> dict[str, object]:
    """A note, or another small file of the store; empty where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}

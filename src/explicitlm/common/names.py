"""Names of files that someone else wrote down: none may lead out of the folder to which it belongs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def is_inside(name: str) -> bool:
    """Whether a name is a plain relative path: no '..', nothing empty or absolute, and something a disk can hold."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def inside(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: it would lead out of its folder.
    """
    if not is_inside(name):
        raise ValueError(f"{name!r} is not the name of a file inside the project")
    return name


def linked_folders(root: Path, names: Iterable[str]) -> list[str]:
    """Folders below `root` on the way to these names that are symbolic links, and so may lead anywhere."""
    folders: set[str] = set()
    for name in names:
        parent = name.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(folder for folder in folders if (root / folder).is_symlink())

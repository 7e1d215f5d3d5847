"""The command that puts something aside: what a hint asks for instead of removing it, since nothing is lost by it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path, PurePosixPath

from explicitlm.common.layout import ASIDE


def put_aside(path: str, root: Path | None = None) -> str:
    """Moves a file or folder to a name beside it that nothing has yet, so that an earlier one stays as well.

    Args:
        path: as the command shall name it.
        root: what it is relative to; None: the current folder.
    """
    return shlex.join(["mv", path, _free(f"{path.rstrip('/')}.aside", root)])


def put_away(path: str, root: Path | None = None) -> str:
    """The same for what would be in the way beside itself, such as a run's folder: it goes to a folder of such things.

    Args:
        path: as the command shall name it.
        root: what it is relative to; None: the current folder.
    """
    target = _free(f"{ASIDE}/{PurePosixPath(path).name}", root)
    return f"mkdir -p {ASIDE} && {shlex.join(['mv', path, target])}"


def take_back(source: str, root: Path | None = None) -> str:
    """What mends a broken file that git may have: it is put aside, and the committed one comes in its place.

    Args:
        source: its path, or `commit:path` of one in a commit, which nobody can mend.
        root: what it is relative to; None: the current folder.
    """
    _, in_commit, path = source.rpartition(":")
    shown = shlex.quote(path)
    if in_commit:
        return f"git log -p -- {shown} shows who wrote that"
    return f"put it aside: {put_aside(source, root)}; if git has it: git checkout HEAD -- {shown}"


def _free(name: str, root: Path | None) -> str:
    found, number = name, 1
    while os.path.lexists((root or Path()) / found):
        number += 1
        found = f"{name}-{number}"
    return found

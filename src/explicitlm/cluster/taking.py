"""A second name for what a training has left, while DVC takes it into the cache.

`dvc commit` moves each file into the cache and then puts a link in its place. Killed between the two it leaves a tree
that lacks the file, which no check of what came back would accept any more; and where login and compute node share
their files, there is no other copy to fetch. A hard link costs no space, and the next `post` puts it back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from explicitlm.common import layout
from explicitlm.vcs.pipeline_file import PipelineFile

FOLDER = f"{layout.LOCAL}/taking"


@contextmanager
def second_names(tree: Path, files: Iterable[str]) -> Iterator[None]:
    """Keeps a second name of files while the context lasts; if that does not end well, until `put_back`.

    Args:
        tree: of an experiment. files: what came back, as it was just checked.
    """
    _remove(tree / FOLDER)
    for name in _outs(tree, files):
        kept = tree / FOLDER / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # a disk without hard links
            os.link((tree / name).resolve(), kept)
    yield
    _remove(tree / FOLDER)


def put_back(tree: Path, files: Iterable[str]) -> None:
    """Gives files their place in the tree again, where DVC was killed in the middle; their content is checked later.

    Args:
        tree: whose folders are known to be no links. files: what came back.
    """
    for name in _outs(tree, files):
        kept, path = tree / FOLDER / name, tree / name
        is_own = kept.resolve() == tree.resolve() / FOLDER / name  # no link that a compute node has made
        if is_own and kept.is_file() and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a link to nothing
            os.link(kept, path)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _outs(tree: Path, files: Iterable[str]) -> list[str]:
    """Of some files those that DVC takes: what a training declares."""
    outs = PipelineFile(tree).outputs("train")
    return [name for name in files if name in outs or name.startswith(tuple(f"{out}/" for out in outs))]

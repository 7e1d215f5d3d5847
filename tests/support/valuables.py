"""What nobody may lose by following a hint: every file's content, every commit, every object of cache and remote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Made anew by the stages and by DVC, or notes about processes
TRANSIENT = (".git/", ".dvc/tmp/", ".dvc/config", "logs/", "experiments/run/", "dvc.lock", ".explicitlm/owners/")


def valuables(box: Any) -> dict[str, str]:
    """All contents that can be had here, by git's hash of them, and the commits that a reference leads to, with a name.

    A file counts wherever it lies: in the tree, the index, a commit, DVC's cache or the remote's folder.
    """
    contents = {_blob(path): str(path) for path in _files(box.root, box.root.parent / "explicitlm-storage")}
    stashed = box.run("git", "log", "--walk-reflogs", "--format=%H", "refs/stash", "--", check=False).stdout.split()
    reachable = box.git("rev-list", "--objects", "--no-object-names", "--all", *stashed).split()
    indexed = [line.split()[1] for line in box.git("ls-files", "--stage").splitlines()]
    return dict.fromkeys((*reachable, *indexed), "in git") | contents


def _files(root: Path, store: Path) -> Iterator[Path]:
    for folder in (root, store):
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            report = name.startswith(".explicitlm/runs/") and "/states/" not in name  # a run writes its own anew
            if (
                path.is_file()
                and not path.is_symlink()
                and "__pycache__" not in path.parts
                and not name.startswith(TRANSIENT)
                and not report
            ):
                yield path


def _blob(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

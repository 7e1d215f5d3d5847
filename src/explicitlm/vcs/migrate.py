"""`explicitlm migrate`: brings a project of an older layout to the present one, without touching data or records.

Until now `checkpoints/` was a folder that DVC walked through at every command, and each published experiment cost every
later run 20 ms and more. Now it is a link to a folder that DVC's walk skips; names such as checkpoints/exp_003.dvc mean
the same as before.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from explicitlm.common import layout
from explicitlm.common.aside import put_aside
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.vcs.git import Git

logger = logging.getLogger(__name__)

HIDDEN = f"/{layout.POINTERS}/"  # the line in .dvcignore
MESSAGE = "chore: pointers of published experiments move out of DVC's walk"
IGNORED = "# The weights belong to DVC; <id>.dvc points to those of a published experiment\n/*\n!/*.dvc\n!/.gitignore\n"


def migrate(main: Path) -> bool:
    """Moves pointers and weights to where the present layout has them, and commits that; can be repeated.

    In the middle of a merge (of the commit that brought this layout) the result is staged for the merge's own commit.

    Returns:
        whether anything was to be done.

    Raises:
        UsageError: a pointer stands in both places with different content.
    """
    git = _Index(main)
    link, folder = main / layout.CHECKPOINTS, main / layout.POINTERS
    merging = git.is_merging()
    if not merging:
        git.check_committable()
    aside = [path.name for path in main.glob(f"{layout.CHECKPOINTS}~*") if path.is_symlink()]  # git's, in a merge
    if link.is_symlink() and not aside and not git.has_conflict():
        return False
    known = git.pointers()  # those of unpublished runs are moved too, but not committed
    if not link.is_symlink():
        _move(link, folder)
        link.symlink_to(layout.POINTERS)
    pointers = [path.name for path in sorted(folder.glob("*.dvc")) if path.name in known]
    for name in aside:
        (main / name).unlink()
    write_text(folder / ".gitignore", IGNORED)
    ignore = main / ".dvcignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    if HIDDEN not in lines:
        write_text(ignore, "\n".join([*lines, HIDDEN, ""]))
    files = [layout.CHECKPOINTS, ".dvcignore", *(f"{layout.POINTERS}/{name}" for name in (".gitignore", *pointers))]
    git.replace([layout.CHECKPOINTS, *aside], files)
    if not merging:
        git.commit_replaced(MESSAGE, [layout.CHECKPOINTS], files)
    logger.info(f"{len(pointers)} pointers are in {layout.POINTERS} now, and {layout.CHECKPOINTS} is a link to it")
    return True


class _Index(Git):
    """Changes of the index that replace a folder by a link: something that no file's own line can say."""

    def is_merging(self) -> bool:
        return self.resolve("MERGE_HEAD") is not None

    def pointers(self) -> set[str]:
        """Names of all pointers that git tracks, in either place, those in conflict too."""
        names = self._run("ls-files", "-z", "--", layout.CHECKPOINTS, layout.POINTERS).split("\0")
        return {Path(name).name for name in names if name.endswith(".dvc")}

    def has_conflict(self) -> bool:
        """Whether a merge that brought the layout left pointers to be settled."""
        return bool(self._run("ls-files", "--unmerged", "--", layout.CHECKPOINTS, layout.POINTERS))

    def replace(self, old: list[str], new: list[str], index: Mapping[str, str] | None = None) -> None:
        self._write("rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *old, more=index)
        self._write("add", "--force", "--", *new, more=index)

    def commit_replaced(self, message: str, old: list[str], new: list[str]) -> None:
        """Commits just this replacement, whatever else is staged."""
        with tempfile.TemporaryDirectory(prefix="explicitlm-index-") as folder:
            own = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._run("read-tree", "HEAD", more=own)
            self.replace(old, new, own)
            commit = self._commit_tree(self._run("write-tree", more=own), message, self.head)
        self._write("update-ref", "-m", f"commit: {message}", "HEAD", commit, self.head)


def _move(old: Path, new: Path) -> None:
    """Moves what a folder holds into another one.

    Raises:
        UsageError: a file stands in both with different content; then nothing was moved.
    """
    entries = sorted(old.iterdir()) if old.is_dir() else []
    pointers = [path.name for path in entries if path.suffix == ".dvc"]
    both = [name for name in pointers if (new / name).exists()]
    if other := [name for name in both if (new / name).read_bytes() != (old / name).read_bytes()]:
        first, second = str(old / other[0]), str(new / other[0])
        raise UsageError(f"{', '.join(other)}: {old} and {new} have different pointers of this name",
                         f"{shlex.join(['diff', first, second])} shows how they differ; "
                         f"put the wrong one aside: {put_aside(first)}, or {put_aside(second)}")  # fmt: skip
    new.mkdir(parents=True, exist_ok=True)
    for path in entries:
        if path.name == ".gitignore" or (new / path.name).exists():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        else:
            path.rename(new / path.name)
    if old.is_dir():
        old.rmdir()

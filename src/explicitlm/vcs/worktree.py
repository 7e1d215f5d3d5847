"""A git worktree for one experiment: a checkout of its own, on the commit that the experiment starts from.

Its index, files and params.yaml are its own, its commits and references are the project's. So several experiments can
be pending at once and finish in any order, whatever happens to the main checkout meanwhile.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from explicitlm.common import layout
from explicitlm.vcs.git import Git

# With core.autocrlf, or a filter in the person's attributes, the code would have other bytes here than in its commit
AS_IT_IS = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.autocrlf", "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "core.attributesFile", "GIT_CONFIG_VALUE_1": os.devnull,
}  # fmt: skip
NOT_COPIED = ("checkpoints/", "experiments/", layout.PIPELINE_LOCK)  # what another run left


def add(main: Path, folder: Path) -> None:
    """Makes a worktree on the commit of the main checkout's HEAD, with its uncommitted changes to tracked files.

    Untracked files stay behind, as with `dvc exp run --temp`, except new .dvc files of data.

    Raises:
        UsageError: in git's words.
    """
    repository = _Main(main)
    repository.add_worktree(folder)
    changed = [name for name in repository.changed(()) if not name.startswith(NOT_COPIED)]
    new = [name for name in repository.untracked(()) if name.startswith("data/") and name.endswith(".dvc")]
    for name in (*changed, *new):
        (folder / name).unlink(missing_ok=True)
        if (main / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(main / name, folder / name, follow_symlinks=False)


def add_at(main: Path, folder: Path, commit: str) -> None:
    """Makes a worktree on another commit.

    Raises:
        UsageError: in git's words.
    """
    _Main(main).add_worktree(folder, commit)


def remove(main: Path, folder: Path) -> None:
    """Removes a worktree and everything in it."""
    _Main(main).remove_worktree(folder)


class _Main(Git):
    def add_worktree(self, folder: Path, commit: str = "HEAD") -> None:
        self._try("worktree", "unlock", str(folder))  # killed while it was added, and removed by hand
        self._write("worktree", "prune")  # of folders that were removed by hand
        self._write("worktree", "add", "--quiet", "--detach", str(folder), commit, more=AS_IT_IS)

    def remove_worktree(self, folder: Path) -> None:
        # Forced twice: one that was killed while git added it is locked ("initializing").
        if self._try("worktree", "remove", "--force", "--force", str(folder)) is None:
            shutil.rmtree(folder, ignore_errors=True)
            self._try("worktree", "unlock", str(folder))
            self._write("worktree", "prune")


class Worktree(Git):
    """The repository as seen from such a worktree."""

    def tracked(self) -> list[str]:
        """Files of the worktree that git tracks."""
        names = self._run("ls-files", "-z").split("\0")
        return [name for name in names if name and (self.root / name).exists()]

    def save_experiment(self, name: str) -> str:
        """Makes the worktree's content the DVC experiment `name`, replacing an earlier one of that name and baseline.

        What `dvc exp save -f -n` does, with two differences: it needs no data of other experiments' pointers,
        and touches neither HEAD nor DVC's scratch references, so that two may be saved at once.

        Returns:
            the experiment's commit, whose parent is the commit it started from.
        """
        self._write("add", "--all", "--", ".", more=AS_IT_IS)
        tree = self._run("write-tree")
        commit = self._run("commit-tree", tree, "-p", self.head, "-m", f"dvc: commit experiment {name}")
        self._write("update-ref", f"refs/exps/{self.head[:2]}/{self.head[2:]}/{name}", commit)
        return commit

"""What the project asks of git. Steps that write are plumbing: no hook, editor or filter has a part in them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from explicitlm.common.errors import UsageError
from explicitlm.vcs import git_locks
from explicitlm.vcs.git_command import GitError, run_git
from explicitlm.vcs.git_reading import GitReading

IN_PROGRESS = {  # by the file that git keeps meanwhile: what it is, and how it ends
    "MERGE_HEAD": ("a merge", "git merge --continue"),
    "rebase-merge": ("a rebase", "git rebase --continue"),
    "rebase-apply": ("a rebase", "git rebase --continue"),
    "CHERRY_PICK_HEAD": ("a cherry-pick", "git cherry-pick --continue"),
    "REVERT_HEAD": ("a revert", "git revert --continue"),
}
SIGNING_S = 120  # for a person who types a pass phrase
TRIES = 5  # to put a commit on a branch that others move at the same time


class Git(GitReading):
    """The git repository that holds a folder; what is only read is in `GitReading`.

    Raises:
        UsageError: the folder is in no git repository, or in one without a commit.
    """

    # -- before a commit -------------------------------------------------------------------------

    def check_committable(self) -> None:
        """Checks that a commit could be made here: before hours of training, not after them.

        Raises:
            UsageError: a merge or rebase is going on, HEAD is on no branch, DVC cannot read the index, git does not
                know who commits, or commits are to be signed and cannot be.
        """
        self._check_state()
        if self._try("var", "GIT_COMMITTER_IDENT") is None or self._try("var", "GIT_AUTHOR_IDENT") is None:
            raise UsageError(
                "git does not know who commits",
                'git config user.name "Your Name" && git config user.email you@example.org',
            )
        if self._signs():
            try:
                self._commit_tree(f"{self.head}^{{tree}}", "a signature, tried before it is needed")
            except GitError as error:
                raise UsageError(
                    f"commits are to be signed here (commit.gpgsign), and git cannot: {error.message.splitlines()[0]}",
                    "correct the key (git config user.signingkey), or for this clone: git config commit.gpgsign false",
                ) from None

    def _check_state(self) -> None:
        folder = Path(self._run("rev-parse", "--absolute-git-dir"))
        for name, (what, proceed) in IN_PROGRESS.items():
            if (folder / name).exists():
                raise UsageError(f"{what} is going on in {self.root}: the record would become a part of it",
                                 f"finish it (git status, then {proceed}), then the same command")  # fmt: skip
        if locks := git_locks.left_behind(folder, self.root):
            listed = ", ".join(map(str, locks))
            raise UsageError(f"a git that was killed left {listed}: nothing can be committed", git_locks.removal(locks))
        if self._run("rev-parse", "--shared-index-path"):
            raise UsageError("git's index is split in two files here (core.splitIndex), which DVC cannot read",
                             "git config core.splitIndex false && git update-index --no-split-index")  # fmt: skip
        if self.branch() is None:
            raise UsageError("HEAD is detached: the record would be on no branch",
                             f"git switch {self._switch_target()}, then the same command")  # fmt: skip

    def _switch_target(self) -> str:
        """What `git switch` leaves a detached HEAD by: an old branch, or a new one that keeps what only HEAD holds."""
        names = self.branches()
        kept = self._run("for-each-ref", "--count=1", "--contains", "HEAD", "refs/heads", "refs/remotes", "refs/tags")
        if kept and names:
            return shlex.quote(next((name for name in ("main", "master") if name in names), names[0]))
        return f"-c {next(name for name in ('main', 'detached', f'detached-{self.head[:8]}') if name not in names)}"

    def _signs(self) -> bool:
        return self._try("config", "--type=bool", "--get", "commit.gpgsign") == "true"

    # -- writing ---------------------------------------------------------------------------------

    def stage(self, *paths: str) -> None:
        """Adds files to the index as they are, byte for byte: ignored ones too, through no filter."""
        self._write("update-index", "--add", "--index-info", text=self._index_lines(paths))

    def tag(self, name: str, commit: str, message: str) -> None:
        """Names a commit for good, by an annotated tag: `git tag -n` shows its message.

        Raises:
            UsageError: the tag exists, or a tag `name/...` or a tag that `name` lies under.
        """
        by = self._run("var", "GIT_COMMITTER_IDENT")
        content = f"object {commit}\ntype commit\ntag {name}\ntagger {by}\n\n{message}\n"
        self._write("update-ref", f"refs/tags/{name}", self._write("mktag", text=content), "0" * len(commit))

    def commit_only(self, message: str, *paths: str) -> str | None:
        """Commits just these paths on the current branch, whatever else is staged; None when they hold nothing new.

        Raises:
            UsageError: in git's words.
        """
        lines = self._index_lines(paths)
        self._write("update-index", "--add", "--index-info", text=lines)
        for _ in range(TRIES):
            parent = self._run("rev-parse", "--verify", "HEAD^{commit}")
            tree = self._tree_with(parent, lines)
            if tree == self._run("rev-parse", f"{parent}^{{tree}}"):
                return None
            try:
                commit = self._commit_tree(tree, message, parent)
                self._run("update-ref", "-m", f"commit: {message.splitlines()[0]}", "HEAD", commit, parent)
            except GitError as error:
                if self._try("rev-parse", "--verify", "HEAD^{commit}") != parent:
                    continue  # another commit was made meanwhile: this one goes on top of it
                raise UsageError(f"git commit failed: {error.message}", self._next_after(error.message)) from None
            return commit
        raise UsageError("the branch is moved by others all the time", "the same command again")

    def _tree_with(self, parent: str, lines: str) -> str:
        """The tree of a commit with these index lines changed, made in an index of its own."""
        with tempfile.TemporaryDirectory(prefix="explicitlm-index-") as folder:
            own = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._run("read-tree", parent, more=own)
            self._run("update-index", "--add", "--index-info", text=lines, more=own)
            return self._run("write-tree", more=own)

    def _commit_tree(self, tree: str, message: str, parent: str | None = None) -> str:
        args = ["commit-tree", tree, *(["-p", parent] if parent else []), *(["-S"] if self._signs() else []), "-F", "-"]
        try:
            return run_git(self.root, *args, text=message.rstrip("\n") + "\n", seconds=SIGNING_S).strip()
        except subprocess.TimeoutExpired:
            raise GitError(f"signing took longer than {SIGNING_S} s (a pass phrase that nobody typed?)", 1) from None

    def _index_lines(self, paths: tuple[str, ...]) -> str:
        """What `update-index --index-info` reads, for files as they lie in the folder."""
        prefix = self._run("rev-parse", "--show-prefix")
        # One path a line, none of ours has a line break; a relative one would count from the top of the repository
        files = "".join(f"{self.root.absolute() / path}\n" for path in paths)
        hashes = self._write("hash-object", "-w", "--no-filters", "--stdin-paths", text=files)
        return "".join(f"{_mode(self.root / path)} {blob}\t{prefix}{path}\n"
                       for path, blob in zip(paths, hashes.split(), strict=True))  # fmt: skip

    def _write(self, *args: str, text: str | None = None, more: Mapping[str, str] | None = None) -> str:
        try:
            return self._run(*args, text=text, more=more)
        except GitError as error:
            raise UsageError(f"git {args[0]} failed: {error.message}", self._next_after(error.message)) from None

    def _next_after(self, message: str) -> str:
        if lock := re.search(r"Unable to create '(.+\.lock)': File exists", message):
            return git_locks.remedy(Path(lock[1]), self.root)
        return _next_after(message)


def _mode(path: Path) -> str:
    return "100755" if os.access(path, os.X_OK) else "100644"


def _next_after(message: str) -> str:
    if any(phrase in message for phrase in ("No space left", "Out of diskspace", "unable to write")):
        return "df -h .; free space there, then the same command"
    if "ermission denied" in message or "insufficient permission" in message:
        return "ls -ld .git .git/objects; they must be writable for you, then the same command"
    if "exists; cannot create" in message or "already exists" in message:
        return "git tag -l shows the names in use; rename the other one, then the same command"
    return "git fsck tells whether the repository is whole"

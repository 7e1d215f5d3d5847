"""What a DVC or a git that was killed has left in the checkout: all of it at once, and one command that mends it.

While `dvc exp run` starts an experiment it puts the user's changes into git's stash, detaches HEAD, stages a file of
its own and keeps the experiment in a stash of its own, and it takes git's locks by itself. Killed between two of these
steps it leaves several things at a time. Each of them ends the next `dvc exp run` in DVC's or libgit2's own words,
before any stage of ours runs, and mending one alone only uncovers the next.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from explicitlm.common import layout
from explicitlm.common.errors import UsageError
from explicitlm.common.ids import is_id
from explicitlm.vcs import git_locks, workspace_run
from explicitlm.vcs.dvc_config import dvc_config
from explicitlm.vcs.git import IN_PROGRESS, Git

STARTED_FROM = "refs/exps/exec/EXEC_HEAD"  # DVC's note of the commit on which it detached HEAD
STASHED = "refs/exps/stash"  # where DVC keeps an experiment from `exp run` to its start, a moment later
ARGUMENTS = ".dvc/tmp/repro.dat"  # what DVC stages meanwhile
RWLOCKS = (".dvc/tmp/rwlock", f"{workspace_run.EXPERIMENTS}/rwlock")
HARDLINK_LOCKS = (".dvc/tmp/lock", ".dvc/tmp/rwlock.lock", f"{workspace_run.EXPERIMENTS}/rwlock.lock")
# HEAD's newest moves, the last first: detached where it was, and perhaps back again
DETACHED = re.compile(
    r"(?:HEAD@\{\d+\} dvc: Restore HEAD .*\n)?HEAD@\{(\d+)\} checkout: moving from .* to [0-9a-f]{40,}$", re.MULTILINE
)
SAME_MOMENT_S = 2  # between DVC's stash of the user's changes and its next step


class Leftover(NamedTuple):
    """What was left, and the command that mends it and loses nothing."""

    what: str
    mend: str


def check(main: Path) -> None:
    """Checks that nothing was left in the main checkout, and that no plain `dvc exp run` has HEAD there.

    Raises:
        UsageError: with everything that was left, and one command for all of it.
    """
    git = _Checkout(main)
    found = [
        *_git_locks(git),
        *_dvc_locks(main),
        *_head(git),
        *_staged(git),
        *_users_changes(git),
        *_stashed(git),
    ]
    if found:
        raise UsageError(f"a dvc exp run or a git was killed here and left {'; '.join(each.what for each in found)}",
                         f"{' && '.join(each.mend for each in found)} (loses nothing; git status shows what is yours), "
                         "then the same command")  # fmt: skip


def _git_locks(git: _Checkout) -> Iterator[Leftover]:
    if locks := git_locks.left_behind(git.folder(), git.root):
        yield Leftover(f"locks ({', '.join(map(str, locks))})", f"rm -f {git_locks.quoted(locks)}")


def _dvc_locks(main: Path) -> Iterator[Leftover]:
    """Lists of DVC's locks that it cannot read, or that name a process which is none of its own any more."""
    always = dvc_config(main).get("core", {}).get("hardlink_lock")  # else the files stay, and are no locks

    def left() -> list[Path]:
        locks = [main / name for name in HARDLINK_LOCKS if always and (main / name).exists()]
        return [path for name in RWLOCKS if workspace_run.is_stale(path := main / name)] + locks

    # Read again once nobody is at work: DVC writes the lists in place, where they are empty for a moment
    if left() and git_locks.at_work(main, git_locks.DVC) is None and (locks := left()):
        yield Leftover(f"DVC's locks ({', '.join(map(str, locks))})", f"rm -f {git_locks.quoted(locks)}")


def _head(git: _Checkout) -> Iterator[Leftover]:
    """HEAD as DVC leaves it: detached where the experiment started, or on a commit that was made there.

    Raises:
        UsageError: the run is alive.
    """
    if git.branch() is not None or git.is_in_progress():
        return
    branch = git.branch_left()
    at_tip = branch is not None and git.resolve(f"refs/heads/{branch}") == git.head
    checked_out = git.is_tagged()  # by the user, as an experiment's id; DVC's own commits have no tag before publishing
    if not (git.is_on(STARTED_FROM) and not checked_out) and not (at_tip and _has_run_experiments(git)):
        return
    workspace_run.check_free(git.root)
    branch = branch or "main"
    back = f"git symbolic-ref HEAD {shlex.quote(f'refs/heads/{branch}')} && git reset --quiet"
    if not git.is_held():
        back = f"{_keep(git)} && {back}"
    yield Leftover(f"HEAD detached (it was started on branch {branch})", back)


def _staged(git: _Checkout) -> Iterator[Leftover]:
    """DVC's own file in the index, over which it cannot apply its stash; a detached HEAD's way back resets it too."""
    if git.branch() is not None and git.is_staged(ARGUMENTS) and _no_dvc(git):
        yield Leftover(f"{ARGUMENTS} staged", f"git reset --quiet -- {ARGUMENTS}")


def _users_changes(git: _Checkout) -> Iterator[Leftover]:
    """What was uncommitted when the run began, where DVC has put it aside: given back if none of it is in the files."""
    if not git.has_put_aside() or not _no_dvc(git):
        return
    if not git.is_changed_here("refs/stash"):
        yield Leftover("what was uncommitted in git's stash", "git stash pop --quiet")
    elif git.branch() is None:  # else it would be told for ever
        yield Leftover("what was uncommitted in git's stash, too", "git stash list")


def _stashed(git: _Checkout) -> Iterator[Leftover]:
    """Experiments that were about to start: the next `dvc exp run` would run them too, whatever it was asked for."""
    if not git.stashed() or not _no_dvc(git):
        return
    if entries := git.stashed():  # else whoever put it there has taken it meanwhile
        moved = [f"git stash store --message {shlex.quote(f'dvc exp run {name}, killed')} {commit}"
                 for commit, name in reversed(entries)]  # fmt: skip
        names = ", ".join(name for _, name in entries)
        yield Leftover(f"what the next run would train as well ({names}; it goes to git's stash)",
                       " && ".join([*moved, f"git update-ref -d {STASHED}"]))  # fmt: skip


def _keep(git: _Checkout) -> str:
    """The command that names a commit which only HEAD holds: an experiment's as DVC was about to, else the user's."""
    added = git.added(layout.RECORDS)
    if len(added) == 1 and is_id(name := Path(added[0]).stem):
        baseline = git.resolve("HEAD^") or ""
        return f"git update-ref refs/exps/{baseline[:2]}/{baseline[2:]}/{name} HEAD"
    return f"git branch left-{git.head[:8]}"


def _has_run_experiments(git: _Checkout) -> bool:
    return (git.root / workspace_run.EXPERIMENTS).is_dir()


def _no_dvc(git: _Checkout) -> bool:
    return git_locks.at_work(git.root, git_locks.DVC) is None


class _Checkout(Git):
    """The main checkout, and what git knows of how DVC left it."""

    def folder(self) -> Path:
        """Git's own folder."""
        return Path(self._run("rev-parse", "--absolute-git-dir"))

    def is_on(self, reference: str) -> bool:
        """Whether HEAD is what a reference names, or was made on it."""
        return self._try("merge-base", "--is-ancestor", reference, "HEAD") is not None

    def is_in_progress(self) -> bool:
        """Whether git itself keeps HEAD detached for a while, as for a rebase."""
        return any((self.folder() / name).exists() for name in (*IN_PROGRESS, "BISECT_LOG"))

    def is_tagged(self) -> bool:
        """Whether a tag names HEAD's commit."""
        return bool(self._run("tag", "--points-at", "HEAD"))

    def added(self, folder: str) -> list[str]:
        """Files of a folder that HEAD's commit has brought."""
        return (self._try("diff", "--name-only", "--diff-filter=A", "HEAD^", "HEAD", "--", folder) or "").splitlines()

    def is_staged(self, path: str) -> bool:
        """Whether the index has another version of a file than HEAD."""
        return bool(self._run("diff", "--cached", "--name-only", "HEAD", "--", path))

    def stashed(self) -> list[tuple[str, str]]:
        """Commits and names of the experiments that DVC keeps until it starts them, the newest first."""
        kept = self._try("log", "--walk-reflogs", "--format=%H %gs", STASHED, "--") or ""
        entries = [line.partition(" ") for line in kept.splitlines()]  # commit: dvc-exp:COMMIT:BASELINE:NAME
        return [(commit, subject.split(":")[4]) for commit, _, subject in entries if subject.count(":") >= 4]

    def has_put_aside(self) -> bool:
        """Whether DVC made the newest entry of git's stash: on a detached HEAD, or just before it detached that."""
        entry = self._try("log", "--walk-reflogs", "-1", "--format=%ct %gs", "refs/stash", "--") or "0 "
        made, _, subject = entry.partition(" ")
        moves = self._run("log", "--walk-reflogs", "-2", "--date=unix", "--format=%gd %gs", "HEAD", "--")
        detached = DETACHED.match(moves)
        return (subject.startswith("WIP on (no branch)") and self.branch() is None) or (
            detached is not None and 0 <= int(detached[1]) - int(made) <= SAME_MOMENT_S
        )

    def is_changed_here(self, stash: str) -> bool:
        """Whether a file that a stash has changed differs from HEAD here as well."""
        files = self._run("diff", "--name-only", "-z", f"{stash}^1", stash).strip("\0").split("\0")
        return bool(self._run("diff", "--name-only", "HEAD", "--", *files))

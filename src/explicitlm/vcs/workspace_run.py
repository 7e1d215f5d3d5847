"""A plain `dvc exp run` works in the user's own checkout, on a detached HEAD: one at a time, and nobody commits there.

DVC takes a lock named "workspace" only while it starts an experiment (dvc.rwlock, in .dvc/tmp/exps). A second
`dvc exp run` in the middle of the first would stash the first one's parameters away and train with them. So our first
stage takes this very lock in DVC's name and keeps it until DVC ends: the second is refused by DVC before it has touched
anything. `--temp` and `--queue` are refused as well for that time, since they would inherit the parameters.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from zc.lockfile import LockError, LockFile

from explicitlm.common.aside import put_aside
from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.vcs.git_command import GitError, run_git

LOCK = "workspace"
EXPERIMENTS = ".dvc/tmp/exps"
TRIES, PAUSE_S = 7, 0.5  # for DVC's guard of its list, as DVC itself waits for it
BRANCH = "refs/exps/exec/EXEC_BRANCH"  # the experiment that DVC commits to, if it goes on with one


def hold(main: Path, runner: psutil.Process) -> None:
    """Takes the lock for the DVC that runs this stage, and gives it back when that ends, however it does.

    Raises:
        UsageError: another plain run holds it.
    """
    info = {"pid": runner.pid, "cmd": " ".join(runner.cmdline()[1:])}
    with _locks(main) as locks:
        holder = locks["write"].get(LOCK)
        if holder and holder != info and psutil.pid_exists(holder["pid"]):
            raise _busy(holder["pid"], holder["cmd"])
        locks["write"][LOCK] = info
    if os.fork() == 0:  # a process of its own, because no stage lives as long as DVC
        _release_after(main, runner, info)


def forget_removed_branch(main: Path) -> None:
    """Drops DVC's note of an experiment that is gone, which one killed before its end has left.

    DVC takes a note that leads nowhere for none when it begins, and for the branch to commit to when all has been
    trained; then it fails.
    """
    with suppress(GitError):  # there is no note, as always else
        noted = run_git(main, "symbolic-ref", "--quiet", BRANCH).strip()
        if not run_git(main, "for-each-ref", noted):
            run_git(main, "symbolic-ref", "--delete", BRANCH)


def check_free(main: Path) -> None:
    """Checks that no plain run is at work here.

    Raises:
        UsageError: one is.
    """
    holder = (_holders(main / EXPERIMENTS / "rwlock") or {}).get(LOCK)
    if holder and _lives(holder):
        raise _busy(holder["pid"], holder["cmd"])


def is_stale(rwlock: Path) -> bool:
    """Whether DVC refuses to work because of a list of its locks, and nobody is there whom it could wait for.

    DVC writes the list in place, so that a kill or a full disk cuts it short; and it takes every process that has got
    the number of a killed one for that.
    """
    holders = _holders(rwlock)
    return holders is None or any(
        psutil.pid_exists(holder["pid"]) and not _lives(holder) for holder in holders.values()
    )


def _holders(rwlock: Path) -> dict[str, dict[str, Any]] | None:
    """Who writes, and who reads, by what is locked; None where DVC cannot read the list."""
    try:
        locks = json.loads(rwlock.read_text(encoding="utf-8"))
        holders = {f"{name} {number}": holder for name, each in locks.get("read", {}).items()
                   for number, holder in enumerate(each)} | locks.get("write", {})  # fmt: skip
        whole = all(isinstance(holder["pid"], int) and isinstance(holder["cmd"], str) for holder in holders.values())
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError, KeyError):  # cut short, or another form than DVC's
        return None
    return holders if whole else None


def _lives(holder: dict[str, Any]) -> bool:
    """Whether the process that was noted is there still, and not another one that has got its number."""
    try:
        args = psutil.Process(holder["pid"]).cmdline()
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
    return any(name in arg for name in ("dvc", "explicitlm") for arg in args)


def _busy(pid: int, command: str) -> UsageError:
    return UsageError(f"a dvc exp run is at work in this checkout (process {pid}: {command})",
                      "wait until it has ended, then the same command")  # fmt: skip


def _release_after(main: Path, runner: psutil.Process, info: dict[str, Any]) -> None:
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        with suppress(psutil.NoSuchProcess):
            runner.wait()
        with _locks(main) as locks:
            if locks["write"].get(LOCK) == info:
                del locks["write"][LOCK]
    finally:
        os._exit(0)


@contextmanager
def _locks(main: Path) -> Iterator[dict[str, Any]]:
    """DVC's list, to be changed, under DVC's own guard.

    As `dvc.rwlock` does it, of which the public part would hold the lock in our own name; to import it takes 0.14 s, as
    long as all else that the first stage loads.
    """
    folder = main / EXPERIMENTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rwlock"
    with closing(_guard(folder / "rwlock.lock")):
        if _holders(path) is None:
            raise UsageError(f"{path} is not DVC's list of locks", f"{put_aside(str(path))}, then the same command")
        locks = {"write": {}, "read": {}} | (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
        yield locks
        write_text(path, json.dumps(locks))  # as DVC: words that are no UTF-8 are escaped


def _guard(path: Path) -> LockFile:
    for left in reversed(range(TRIES)):
        try:
            return LockFile(str(path))
        except LockError:
            if left:
                time.sleep(PAUSE_S)
    raise UsageError(f"another dvc holds {path}", "wait until it has ended, then the same command")

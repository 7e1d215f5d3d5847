"""A training held still (SIGSTOP) once it has a state to continue from, so that it cannot end before what comes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
from processes import wait_for

from explicitlm.common.layout import run_dir


def _is_stopped(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


@contextmanager
def held(tree: Path, among: Callable[[], Iterable[psutil.Process]] | None = None) -> Iterator[list[psutil.Process]]:
    """Holds a training still; at the end it goes on, if it still lives.

    Args:
        tree: in which it trains.
        among: gives the processes of another host, where the tree has another path; else those in the tree count.

    Yields:
        its own processes, without launchers.
    """
    wait_for(lambda: any((tree / run_dir(tree.name) / "states").glob("step-*")))
    candidates = psutil.process_iter() if among is None else among()
    found = [one for one in candidates if _trains(one, tree, look_in=among is None)]
    for process in found:
        process.suspend()
        wait_for(partial(_is_stopped, process))
    try:
        yield found
    finally:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def is_told(process: psutil.Process) -> bool:
    """Whether USR1 or TERM has reached a process that is held; before TERM, Slurm wakes it up."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        awake = process.status() != psutil.STATUS_STOPPED
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return True
    waiting = next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))
    return awake or any(waiting >> (number - 1) & 1 for number in (signal.SIGUSR1, signal.SIGTERM))


def _trains(process: psutil.Process, tree: Path, look_in: bool) -> bool:
    with suppress(psutil.Error):
        words = process.cmdline()
        launches = any(word.endswith("/accelerate") or "torch.distributed" in word for word in words)
        works = not launches and any(word.endswith("1_pretrain.py") for word in words)
        ours = works and process.environ().get("EXPLICITLM_RUN_ID") == tree.name
        return ours and (not look_in or process.cwd() == str(tree))
    return False

"""Long-running commands in tests: starting them as a terminal does, watching them, waiting for what they do."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def start(box, *words: str) -> subprocess.Popen[str]:
    """Starts a command as a terminal does: in a process group of its own, which Ctrl-C reaches as a whole."""
    return subprocess.Popen(
        list(words), cwd=box.root, env=box.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def descendants(process: subprocess.Popen[str], part: str) -> list[psutil.Process]:
    """Processes below a command whose own command line holds a word."""
    return [
        child for child in psutil.Process(process.pid).children(recursive=True) if part in " ".join(child.cmdline())
    ]


def kill_all(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a command and everything below it, as at the failure of a machine."""
    for each in (*psutil.Process(process.pid).children(recursive=True), process):
        each.kill()
    process.communicate(timeout=60)


def steps_in(log: Path) -> int:
    """Training steps that a log tells of."""
    return len(re.findall(r"^step ", log.read_text(), re.MULTILINE)) if log.exists() else 0


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    """Waits for something real to happen.

    Raises:
        TimeoutError: it did not.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} did not come true within {seconds} s")
        time.sleep(0.02)

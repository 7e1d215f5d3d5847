"""Long-running commands in tests: starting them as a terminal does, watching them, waiting for what they do."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

# Only against a test that would wait for ever: what is waited for takes seconds, or a minute on a busy machine.
PATIENCE_S = 600
CELERY = ".dvc/tmp/exps/celery"  # where DVC's workers note how they end


# A suite that runs in the background, or under nohup, hands on signals that are ignored: a terminal's commands do not
AS_FROM_A_TERMINAL = ("env", "--default-signal=INT,QUIT,HUP")


def start(box, *words: str) -> subprocess.Popen[str]:
    """Starts a command as a terminal does: in a process group of its own, which Ctrl-C reaches as a whole.

    Always for real, also where the other commands of a test are forked: it is started to be watched or stopped.
    """
    return subprocess.Popen(
        [*AS_FROM_A_TERMINAL, *words], cwd=box.root, env=(box.real or box).env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def work_off_the_queue(box, workers: int, is_done: Callable[[], object]) -> None:
    """Runs what is in DVC's queue, until something has come of it.

    A worker may end before: it takes a message of its own from a file that is still being written (kombu's transport by
    files) and stops after the experiment at hand. The rest stays in the queue, for whoever starts another.
    """
    begin = ("queue", "start", "-j", str(workers))
    box.dvc(*begin)

    def came() -> bool:
        notes = list((box.root / CELERY).glob("dvc-exp-worker-*.json"))
        ended = bool(notes) and all(json.loads(note.read_text())["returncode"] is not None for note in notes)
        if ended and not is_done():
            for note in notes:
                note.unlink()
            box.dvc(*begin)
        return bool(is_done())

    wait_for(came)


def descendants(process: subprocess.Popen[str], part: str) -> list[psutil.Process]:
    """Processes below a command whose own command line holds a word."""
    return [
        child for child in psutil.Process(process.pid).children(recursive=True) if part in " ".join(child.cmdline())
    ]


def kill_all(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a command and everything below it, as at the failure of a machine."""
    for each in (*psutil.Process(process.pid).children(recursive=True), process):
        each.kill()
    process.communicate()


def steps_in(log: Path) -> int:
    """Training steps that a log tells of."""
    return len(re.findall(r"^step ", log.read_text(), re.MULTILINE)) if log.exists() else 0


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Waits for something real to happen.

    Args:
        condition: asked again and again.
        process: what makes it happen; once it has ended nobody needs to wait any longer.

    Raises:
        TimeoutError: it did not, within a time that a machine far slower than ours would not need.
        RuntimeError: the process has ended without it.
    """
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            output = process.communicate()[0] if process.stdout else ""
            raise RuntimeError(f"the process ended with {process.returncode} before it\n{output}")
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} did not come true within {PATIENCE_S} s")
        time.sleep(0.02)

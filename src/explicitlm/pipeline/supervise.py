"""Runs a command as a researcher would want to watch it: every line in the log, progress on the terminal.

The training runs in a session of its own, so that Ctrl-C reaches only this process; it passes the signal on to the
training processes themselves (not to the launcher, which would die at once and leave them alone) and waits until they
have saved. A second Ctrl-C ends them hard; a scheduler's second signal does not, it may only be the next reminder.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from explicitlm.pipeline.launcher import training_lines

STEP = re.compile(rb"^step (\d+)/(\d+)\s*(.*)")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        exit_code: the command's own; negative when a signal killed it.
        signal: name of the first signal that this process was asked to pass on.
        tail: the last lines of its output.
        log_error: why lines of the log are missing, if any are.
        overdue: whether it was ended because its time was over.
    """

    exit_code: int = 0
    signal: str | None = None
    tail: list[str] = field(default_factory=list)
    log_error: str | None = None
    overdue: bool = False


def run_logged(
    command: list[str],
    log: Path,
    environment: Mapping[str, str],
    script: str,
    append: bool,
    folder: Path | None = None,
    limit_s: float | None = None,
) -> Outcome:
    """Runs a command to its end.

    Args:
        command: what it runs.
        log: file that receives its whole output; opened before anything starts, so a full disk stops it here.
        environment: its environment.
        script: word of the command line by which the processes that do the work are known.
        append: keep what the log holds (a resumed run).
        folder: where it runs, if not here; off a terminal its lines then go to the log only.
        limit_s: seconds after which all its processes are ended; None lets it run.
    """
    outcome = Outcome()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab" if append else "wb", buffering=0) as file:
        lines = _Log(file)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_the_parent,
        )

        def pass_on(number: int, _frame: FrameType | None) -> None:
            again = number == signal.SIGINT and outcome.signal is not None
            outcome.signal = outcome.signal or signal.Signals(number).name
            _signal_workers(process.pid, script, signal.SIGKILL if again else signal.Signals(number))

        # nohup ignores HUP
        forwarded = [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
        earlier = {number: signal.signal(number, pass_on) for number in forwarded}
        overdue = threading.Timer(limit_s or 0.0, _end_overdue, (process, outcome))
        if limit_s is not None:
            overdue.start()
        try:
            assert process.stdout is not None
            outcome.tail = _copy(process.stdout, lines, shown=folder is None)
            outcome.exit_code = process.wait()
            outcome.log_error = lines.error
        except BaseException:
            _end_session(process)
            raise
        finally:
            overdue.cancel()
            for number, handler in earlier.items():
                signal.signal(number, handler)
    return outcome


class _Log:
    """The log of a training, which a full disk must not end: lines that it does not take are counted, and said."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lost = 0
        self.error: str | None = None

    def write(self, line: bytes) -> None:
        try:
            if self._lost:
                self._file.write(f"[{self._lost} lines are missing here: {self.error}]\n".encode())
                self._lost = 0
            self._file.write(line)
        except OSError as error:
            self._lost += 1
            self.error = error.strerror or str(error)


def _die_with_the_parent() -> None:
    """The launcher ends with this process, and the training with the launcher, after it has saved."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _signal_workers(launcher: int, script: str, number: signal.Signals) -> None:
    with suppress(psutil.Error):
        children = psutil.Process(launcher).children(recursive=True)
        workers = [process for process in children if _runs(process, script)]
        for process in workers or [psutil.Process(launcher)]:
            with suppress(psutil.Error):
                process.send_signal(number)


def _runs(process: psutil.Process, script: str) -> bool:
    with suppress(psutil.Error):
        return any(arg.endswith(script) for arg in process.cmdline())
    return False


def _end_overdue(process: subprocess.Popen[bytes], outcome: Outcome) -> None:
    outcome.overdue = True
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _copy(source: IO[bytes], log: _Log, keep: int = 20, shown: bool = True) -> list[str]:
    """Copies lines to log and terminal; on a terminal the step lines become one progress bar.

    Neither a full disk nor a terminal that was closed ends the training.
    """
    tail: list[str] = []
    with _on_terminal() if sys.stderr.isatty() else nullcontext(_write_stdout if shown else None) as show:
        for line in training_lines(source):
            log.write(line)
            tail = [*tail[1 - keep :], line.decode("utf-8", "replace").rstrip()]
            if show:
                show(line)
    return tail


def _write_stdout(line: bytes) -> None:
    with suppress(OSError):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


@contextmanager
def _on_terminal() -> Iterator[Callable[[bytes], None]]:
    """A progress bar below the lines; rich takes 0.05 s to load, which logs need not pay."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
               TextColumn("{task.fields[values]}"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def show(line: bytes) -> None:
            step = STEP.match(line)
            if step is None:
                progress.console.print(line.decode("utf-8", "replace").rstrip(), markup=False, highlight=False)
                return
            task = progress.task_ids[0] if progress.task_ids else progress.add_task("train", values="")
            values = step[3].decode("utf-8", "replace")
            progress.update(task, completed=int(step[1]), total=int(step[2]), values=values)

        yield show

"""What a person sees of a training: a bar on a terminal, plain lines in a log. Only the first process speaks."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from explicitlm.common import logs


class _ToDisplay(logging.Handler):
    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.show(record.getMessage())


class Display:
    """Lines and progress of one process.

    Args:
        is_main: whether this is the first process.
    """

    def __init__(self, is_main: bool) -> None:
        self._is_main = is_main
        self._bar: Progress | None = None
        self._total = 0
        logger = logging.getLogger(logs.ROOT)  # what the modules of the training log is shown here
        logger.handlers, logger.propagate = [_ToDisplay(self)], False
        logger.setLevel(logging.INFO)

    def show(self, line: str) -> None:
        """One line, above the bar where there is one."""
        if not self._is_main:
            return
        with suppress(OSError):  # a terminal that was closed does not end a training
            if self._bar:
                self._bar.console.print(line, markup=False, highlight=False)
            else:
                print(line, flush=True)

    def start(self, done: int, total: int) -> None:
        """Shows the bar if standard error is a terminal."""
        self._total = total
        if self._is_main and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.add_task("training", total=total, completed=done)
            self._bar.start()

    def advance(self, step: int) -> None:
        """Moves the bar to `step`."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=step)

    def numbers(self, step: int, loss: float, rate: float, tokens_per_second: float) -> None:
        """The loop's regular report."""
        text = f"loss {loss:.4f} lr {rate:.2e} tok/s {tokens_per_second:.0f}"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], description=text)
        else:
            self.show(f"step {step}/{self._total} {text}")

    def stop(self) -> None:
        """Removes the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None
